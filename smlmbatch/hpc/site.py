"""The site profile: how one cluster wants its jobs, as TOML → frozen dataclasses; an unknown key is an error.

Nothing here changes a result. Values end up in generated shell, so whatever could end a line is refused, the rest
is quoted where it is written, and only `scratch` is expanded on the node, for `$NAME` and `${NAME}` alone.
`jobs/site.example.toml` documents every key.
"""

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from smlmbatch.errors import ConfigError

STAGES = ("ingest", "tile", "quality", "measure", "embed", "cluster", "pick", "order", "register", "report")  # in the order of the chain
SHARED = ("embed", "cluster")  # those whose tasks may be several ranks

# Options of sbatch that the chain itself gives: two of one kind and SLURM quietly takes the last.
_OURS = {
    "--array": "nothing: it follows from the campaign",
    "--chdir": "nothing: jobs don't depend on it",
    "--cpus-per-task": "stage.NAME.cpus",
    "--dependency": "nothing: stages wait for one another",
    "--error": "nothing: logs lie in OUTPUT/logs/slurm",
    "--export": "software.setup",
    "--gres": "stage.NAME.gres",
    "--job-name": "nothing: earlier jobs are found by it",
    "--mem": "stage.NAME.memory",
    "--mem-per-cpu": "stage.NAME.memory",
    "--no-requeue": "slurm.max_requeues",
    "--nodes": "nothing: a task stays on one node, and for ranks there is --ntasks-per-node",
    "--ntasks": "stage.NAME.cpus, or stage.NAME.ranks (embed, cluster)",
    "--open-mode": "nothing: logs are appended to",
    "--output": "nothing: logs lie in OUTPUT/logs/slurm",
    "--parsable": "nothing: it is given",
    "--partition": "slurm.partition",
    "--account": "slurm.account",
    "--qos": "slurm.qos",
    "--requeue": "nothing: it is given",
    "--signal": "slurm.signal_s",
    "--test-only": "nothing: nothing would be submitted",
    "--time": "stage.NAME.time",
    "--wait": "nothing: stages wait for one another",
    "--wrap": "software.setup",
}
_SHORT = {
    "-a": "--array",
    "-c": "--cpus-per-task",
    "-d": "--dependency",
    "-D": "--chdir",
    "-e": "--error",
    "-J": "--job-name",
    "-N": "--nodes",
    "-n": "--ntasks",
    "-o": "--output",
    "-p": "--partition",
    "-A": "--account",
    "-q": "--qos",
    "-t": "--time",
    "-W": "--wait",
}
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_TIME = re.compile(r"(?:(?P<days>\d+)-(?P<of_day>\d+(?::\d+){0,2})|(?P<clock>\d+(?::\d+){0,2}))")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([MGT])(?:i?B)?")
_MIB_OF = {"M": 1, "G": 1 << 10, "T": 1 << 20}
_LONGEST_S = 365 * 86400


@dataclass(frozen=True, kw_only=True, slots=True)
class Software:
    """What a node must do before `smlmbatch` can be called, and how it is called."""

    sif: str = ""
    environment: str = ""
    modules: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    scratch: str = ""
    setup: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(not (self.sif and self.environment), "sif", self.sif, "an image or an environment, not both")
        for name in ("sif", "environment"):
            _require_absolute(name, getattr(self, name))
        for name in ("modules", "binds"):
            _require_words(name, getattr(self, name))
        _require(self.sif != "" or not self.binds, "binds", list(self.binds), "an image (software.sif) to bind them into")
        if not self.scratch.startswith("$"):
            _require_absolute("scratch", self.scratch)
        if "$" in _VARIABLE.sub("", self.scratch):
            raise ConfigError(f"scratch = {self.scratch!r}: wanted a folder in which $ begins $NAME or ${{NAME}}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Slurm:
    """The cluster's limits, and what all jobs ask alike."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    max_array_size: int = 1001
    max_submit_jobs: int = 0
    throttle: int = 0
    signal_s: int = 120
    task_minutes: float = 30.0
    max_requeues: int = 20
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos"):
            _require_word(name, getattr(self, name))
        _require(self.max_array_size >= 2, "max_array_size", self.max_array_size, "2 or more (SLURM's own default is 1001)")
        few = f"0 (no limit), or {len(STAGES)} or more, one task per stage"
        _require(self.max_submit_jobs == 0 or self.max_submit_jobs >= len(STAGES), "max_submit_jobs", self.max_submit_jobs, few)
        _require(self.throttle >= 0, "throttle", self.throttle, "0 (no limit) or more")
        _require(0 < self.signal_s <= 65535, "signal_s", self.signal_s, "seconds from 1 to 65535, as SLURM allows")
        _require(0 < self.task_minutes <= 60 * 24 * 30, "task_minutes", self.task_minutes, "minutes above 0, up to 30 days")
        _require(self.max_requeues >= 0, "max_requeues", self.max_requeues, "0 or more")
        _require_options(self.options)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageAsk:
    """What one stage's array asks for. `time` is the most that may be asked; memory "" is estimated. Of several ranks, memory and cpus are
    each one's."""

    time: str = "04:00:00"
    memory: str = ""
    cpus: int = 1
    ranks: int = 1
    partition: str = ""
    gres: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        minute_s = 60
        _require(minute_s <= self.time_s <= _LONGEST_S, "time", self.time, "a minute to a year, as MM, MM:SS, HH:MM:SS, D-HH or D-HH:MM")
        _require(self.memory == "" or self.memory_mib >= 256, "memory", self.memory, '256MiB or more, such as "4GiB"')
        _require(1 <= self.cpus <= 4096, "cpus", self.cpus, "1 to 4096")
        _require(1 <= self.ranks <= 4096, "ranks", self.ranks, "1 to 4096")
        for name in ("partition", "gres"):
            _require_word(name, getattr(self, name))
        _require_options(self.options)

    @property
    def time_s(self) -> int:
        return parse_time_s(self.time)

    @property
    def memory_mib(self) -> int:
        """What is asked for a whole task (with several ranks: for each); 0 = by estimate."""
        return parse_memory_mib(self.memory)

    @property
    def wants_gpu(self) -> bool:
        by_option = any(option.startswith("--gpus") for option in self.options)
        return by_option or any(kind.strip().startswith("gpu") for kind in self.gres.split(","))


@dataclass(frozen=True, kw_only=True, slots=True)
class StageAsks:
    """One StageAsk per stage of the chain."""

    ingest: StageAsk = field(default_factory=StageAsk)
    tile: StageAsk = field(default_factory=StageAsk)
    quality: StageAsk = field(default_factory=StageAsk)
    measure: StageAsk = field(default_factory=StageAsk)
    embed: StageAsk = field(default_factory=StageAsk)
    cluster: StageAsk = field(default_factory=StageAsk)
    pick: StageAsk = field(default_factory=StageAsk)
    order: StageAsk = field(default_factory=StageAsk)
    register: StageAsk = field(default_factory=StageAsk)
    report: StageAsk = field(default_factory=StageAsk)

    def __post_init__(self) -> None:
        for stage in STAGES:
            ranks, want = getattr(self, stage).ranks, f"1: several ranks can share fields of {' and '.join(SHARED)} only"
            _require(ranks == 1 or stage in SHARED, f"{stage}.ranks", ranks, want)


@dataclass(frozen=True, kw_only=True, slots=True)
class DaskAsk:
    """What `submit --dask` asks for: one job of many workers, a core each. `time` is the most that may be asked, memory is one worker's."""

    workers: int = 8
    nodes: int = 0
    time: str = "04:00:00"
    memory: str = ""
    partition: str = ""
    interface: str = ""
    tls: bool = True
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        StageAsk(time=self.time, memory=self.memory, partition=self.partition, options=self.options)  # raises by the same rules
        _require(1 <= self.workers <= 100_000, "workers", self.workers, "1 to 100000")
        _require(
            0 <= self.nodes <= self.workers + 1, "nodes", self.nodes, "0 (as SLURM likes), or at most one for each worker and the scheduler"
        )
        _require_word("interface", self.interface)

    @property
    def time_s(self) -> int:
        return parse_time_s(self.time)

    @property
    def memory_mib(self) -> int:
        """What is asked for one worker; 0 = by estimate."""
        return parse_memory_mib(self.memory)


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A site profile; the defaults suit a cluster that needs to be told nothing."""

    software: Software = field(default_factory=Software)
    slurm: Slurm = field(default_factory=Slurm)
    stage: StageAsks = field(default_factory=StageAsks)
    dask: DaskAsk = field(default_factory=DaskAsk)

    def of(self, stage: str) -> StageAsk:
        """What is asked for one of STAGES."""
        ask: StageAsk = getattr(self.stage, stage)
        return ask


# ---- reading


def load_site(path: Path) -> Site:
    """Read a site profile.

    Raises
    ------
    ConfigError
        unknown section or key, wrong type, impossible value, broken TOML; names the file, the key and what is known
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from error
    return site_from_dict(raw, source=str(path))


def site_from_dict(raw: dict[str, Any], *, source: str = "site profile") -> Site:
    """Build a Site of nested tables, checking every name, type and value."""
    return _section(Site, raw, where="", source=source)


_Kind = TypeVar("_Kind")


def _section(kind: type[_Kind], table: dict[str, Any], *, where: str, source: str) -> _Kind:
    known = {f.name: f.type for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{where}{key}"
        if key not in known:
            raise ConfigError(f"{source}: unknown key {name}; known are {', '.join(where + other for other in known)}")
        wanted = known[key]
        if not dataclasses.is_dataclass(wanted):
            values[key] = _value(wanted, value, f"{source}: {name}")
        elif isinstance(value, dict):
            values[key] = _section(wanted, value, where=f"{name}.", source=source)  # type: ignore[arg-type]
        else:
            raise ConfigError(f"{source}: {name} = {value!r}: wanted a section [{name}]")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {where}{error}") from error


def _value(wanted: Any, value: object, what: str) -> Any:
    if wanted == tuple[str, ...]:
        if not isinstance(value, list):
            raise ConfigError(f'{what} = {value!r}: wanted a list of texts, such as ["one", "two"]')
        return tuple(_value(str, item, what) for item in value)
    if wanted is float and type(value) is int:
        value = float(value) if abs(value) < 1 << 53 else float("inf")
    if type(value) is not wanted:
        raise ConfigError(f"{what} = {value!r}: wanted a {wanted.__name__}")
    if isinstance(value, str) and not value.isprintable():
        raise ConfigError(f"{what} = {value!r}: wanted printable text on one line")
    return value


def parse_time_s(text: str) -> int:
    """Seconds of a time limit as sbatch takes it; -1 where it is none.

    >>> [parse_time_s(text) for text in ("90", "90:30", "4:00:00", "2-12", "1-0:30", "soon")]
    [5400, 5430, 14400, 216000, 88200, -1]
    """
    found = _TIME.fullmatch(text)
    if found is None or len(text) > 20:
        return -1
    parts = [int(number) for number in (found["of_day"] or found["clock"]).split(":")]
    if found["days"] is not None:  # D-HH[:MM[:SS]]
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return int(found["days"]) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + sum(parts[1:])  # minutes, or MM:SS


def format_time(seconds: int) -> str:
    """HH:MM:SS, or D-HH:MM:SS from a day on; the form that sbatch takes without a doubt.

    >>> format_time(5400), format_time(90000)
    ('01:30:00', '1-01:00:00')
    """
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def parse_memory_mib(text: str) -> int:
    """MiB of "4G", "4GiB", "512M"; 0 for "" and -1 where it is no amount. SLURM's G are GiB, so GB is read as GiB too."""
    found = _MEMORY.fullmatch(text.strip())
    if found is None or len(text) > 20:
        return 0 if text == "" else -1
    return int(float(found[1]) * _MIB_OF[found[2]])


def split_variables(text: str) -> list[tuple[str, str]]:
    """`scratch` cut into ("text", literal) and ("variable", NAME), in order.

    >>> split_variables("$TMPDIR/a b")
    [('variable', 'TMPDIR'), ('text', '/a b')]
    """
    pieces: list[tuple[str, str]] = []
    at = 0
    for found in _VARIABLE.finditer(text):
        pieces += [("text", text[at : found.start()]), ("variable", found[1] or found[2])]
        at = found.end()
    return [piece for piece in [*pieces, ("text", text[at:])] if piece[1]]


# ---- checks


def _require(condition: bool, key: str, found: object, want: str) -> None:
    if not condition:
        raise ConfigError(f"{key} = {found!r}: wanted {want}")


def _require_absolute(key: str, value: str) -> None:
    _require(value == "" or value.startswith("/"), key, value, "an absolute path: a job does not start in your folder")


def _require_word(key: str, value: str) -> None:
    _require(not any(c.isspace() for c in value) and not value.startswith("-"), key, value, "one word as sbatch takes it")


def _require_words(key: str, values: tuple[str, ...]) -> None:
    for value in values:
        _require(value != "" and not value.startswith("-"), key, value, "names, none empty and none beginning with -")


def _require_options(options: tuple[str, ...]) -> None:
    for option in options:
        _require(re.fullmatch(r"--?[A-Za-z].*", option) is not None, "options", option, 'options of sbatch such as "--constraint=avx2"')
        name = option.split("=")[0].split()[0]
        long = _SHORT.get(name[:2], name) if not name.startswith("--") else name
        if long in _OURS:
            raise ConfigError(f"options = {option!r}: {long} is given already; use {_OURS[long]}")
        _require(" " not in option.split("=")[0], "options", option, 'a name and its value joined by "=", one option per entry')
