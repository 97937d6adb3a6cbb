"""The fuzzer: damaged files through recognise, open and clean, as `validate` reads them, in child processes.

A damaged file must give a sane report or an InputError. Anything else is a finding: another exception, a warning, more
than 10 s, more than 1 GiB beyond what the libraries take, a dead process, a file written, a program run. A child tells
the number it is at before it reads, so a death has a number too, and a new child goes on behind it.

    python -m tests.ingest.fuzz picasso 1234 [FOLDER]      makes that file, keeps it in FOLDER, and reads it
    python -m tests.ingest.fuzz --all 10000                every reader, and a line for each
"""

import json
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 10
MEMORY_BYTES = 1 << 30
MOST_FINDINGS = 20  # of one child; more of the same help nobody
_AT = struct.Struct("<q")
# What an audit hook sees of content that is run, and of files that are made, through Python.
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class")
_FORBIDDEN += (
    "socket.connect",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.copyfile",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Outcome:
    """What became of a range of files. `findings`: sentences with reader and number."""

    counts: Counter = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    cpu_s: float = 0.0

    def add(self, other: "Outcome") -> None:
        self.counts += other.counts
        self.findings += other.findings
        self.cpu_s += other.cpu_s


# ---- parent


def fuzz(readers, n: int, *, processes: int = 1, folder: Path) -> dict[str, Outcome]:
    """The first `n` damaged files of each reader."""
    step = -(-n // processes)
    shares = [[(reader, k * step, min((k + 1) * step, n)) for reader in readers] for k in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        done = list(pool.map(lambda share: _all_of(share, Path(tempfile.mkdtemp(dir=folder))), shares))
    found: dict[str, Outcome] = {reader: Outcome() for reader in readers}
    for outcomes in done:
        for reader, outcome in outcomes.items():
            found[reader].add(outcome)
    return found


def _all_of(jobs, folder: Path) -> dict[str, Outcome]:
    """Children one after the other until every range is through."""
    found: dict[str, Outcome] = {reader: Outcome() for reader, _, _ in jobs}
    jobs = list(jobs)
    while jobs:
        told = folder / "told.jsonl"
        told.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.ingest.fuzz", "--child", str(folder), json.dumps(jobs)]
        with (folder / "stderr").open("wb") as stderr:
            ended = subprocess.run(command, cwd=ROOT, stderr=stderr, env=_environment(), check=False).returncode
        for line in told.read_text().splitlines() if told.exists() else []:
            reader, counts, findings, cpu_s = json.loads(line)
            found[reader].add(Outcome(Counter(counts), findings, cpu_s))
        if not ended:
            return found
        if not (folder / "at").exists():
            raise RuntimeError((folder / "stderr").read_text())  # died before the first file: the harness's own fault
        place, number = divmod(_AT.unpack((folder / "at").read_bytes())[0], 1 << 40)
        reader, _, stop = jobs[place]
        found[reader].findings.append(f"{reader} {number}: {_death(ended)}")
        jobs = [(reader, number + 1, stop), *jobs[place + 1 :]]
        if len(found[reader].findings) >= MOST_FINDINGS:
            del jobs[0]
        (folder / "at").unlink()
    return found


def _environment() -> dict[str, str]:
    """mimalloc, Arrow's own allocator, takes a gigabyte of addresses at once, which would count as memory."""
    return os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


def _death(code: int) -> str:
    if code == -signal.SIGALRM:
        return f"more than {SECONDS} s"
    return f"the process died ({signal.Signals(-code).name})" if code < 0 else f"the process ended with {code}"


# ---- child


def child(folder: Path, jobs) -> None:
    """Read the files of these ranges; one line of JSON per range, and whatever was found before a death."""
    judge = Judge(folder)
    with (folder / "told.jsonl").open("a") as told:
        for place, (reader, start, stop) in enumerate(jobs):
            began, outcome = time.process_time(), Outcome()
            for number in range(start, stop):
                judge.at(place, number)
                finding = judge.read(reader, number, outcome.counts)
                if finding:  # told at once: a later file may kill this process
                    told.write(json.dumps([reader, {}, [finding], 0]) + "\n")
                    told.flush()
                    outcome.findings.append(finding)
                if len(outcome.findings) >= MOST_FINDINGS:
                    break
            told.write(json.dumps([reader, outcome.counts, [], time.process_time() - began]) + "\n")
            told.flush()


class Judge:
    """Reads damaged files within limits, and looks at what they leave behind."""

    def __init__(self, folder: Path) -> None:
        from tests.ingest.fuzz_seeds import all_seeds

        self.folder = folder / "deep" / "er" / "files"  # deep enough for a path with ../../.. to stay below `folder`
        self.folder.mkdir(parents=True, exist_ok=True)
        self._at = os.open(folder / "at", os.O_WRONLY | os.O_CREAT)
        self._seen: list[str] = []
        self._armed = False
        os.chdir(self.folder)
        all_seeds()
        self._warm()
        self._tree = self._listing()
        warnings.simplefilter("error")
        sys.dont_write_bytecode = True
        sys.addaudithook(self._audit)
        _limit_memory()

    def _warm(self) -> None:
        """Everything that is imported late is there before limits and the hook are."""
        import contextlib

        from smlmbatch.errors import InputError
        from tests.ingest.fuzz_mutations import Mutant
        from tests.ingest.fuzz_seeds import all_seeds

        for seeds in all_seeds().values():
            for seed in seeds:
                with contextlib.suppress(InputError):
                    self._report(Mutant(seed.name, seed.content, seed.row, seed.sidecar))

    def at(self, place: int, number: int) -> None:
        os.pwrite(self._at, _AT.pack((place << 40) + number), 0)

    def read(self, reader: str, number: int, counts: Counter, *, keep: Path | None = None) -> str:
        """A sentence about what is wrong, "" if nothing is."""
        from smlmbatch.errors import InputError
        from tests.ingest.fuzz_mutations import mutant

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the damaged file's making
            made = mutant(reader, number)
        if keep is not None:
            for name, content in filter(None, ((made.name, made.content), made.sidecar)):
                (keep / name).write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            report = self._report(made)
            counts["read"] += 1
            finding = insane(report)
        except InputError as error:
            counts["refused"] += 1
            finding = (
                "" if str(error).isprintable() and len(str(error)) < 3000 else f"a message of {len(str(error))} characters: {error!r:.200}"
            )
        except BaseException as error:  # noqa: BLE001 - that any of them comes through is what is looked for
            finding = f"{type(error).__name__}: {str(error)[:300]} ({traceback.extract_tb(error.__traceback__)[-1]})"
            if keep is not None:
                traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finding = self._left_behind() or finding
        return f"{reader} {number}: {finding}" if finding else ""

    def _report(self, made):
        from smlmbatch.config import Config
        from smlmbatch.ingest.validate import validate_file
        from smlmbatch.samples import field_of_row

        path = self.folder / made.name
        path.write_bytes(made.content)
        if made.sidecar is not None:
            (self.folder / made.sidecar[0]).write_bytes(made.sidecar[1])
        try:
            self._armed = True
            return validate_file(path, field=field_of_row(made.row, path=made.name, format_name=""), config=Config())
        finally:
            self._armed = False
            path.unlink()
            if made.sidecar is not None:
                (self.folder / made.sidecar[0]).unlink()

    def _audit(self, event: str, arguments) -> None:
        if not self._armed:
            return
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self._seen.append(f"opened {arguments[0]!r} for writing")
        elif event in _FORBIDDEN:
            self._seen.append(f"{event} {arguments!r:.200}")

    def _left_behind(self) -> str:
        found, self._seen = self._seen, []
        more = self._listing() - self._tree
        for path in more:
            Path(path).unlink()
        return "; ".join(found + [f"made {path}" for path in sorted(more)])

    def _listing(self) -> set[str]:
        return {entry.path for folder in (self.folder, *list(self.folder.parents)[:2]) for entry in os.scandir(folder)}


def _limit_memory() -> None:
    """Addresses, beyond those that the libraries have by now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def insane(report) -> str:
    """What can't be true of a file that was read; "" for a sane report."""
    numbers = [*report.extent_nm[0], *report.extent_nm[1], *(report.z_extent_nm or ())]
    shares = (report.share_without_precision, report.share_of_outliers or 0.0, report.share_of_copies)
    low, high = report.extent_nm
    checks = {
        "no locs": report.n > 0,
        "records that are unaccounted for": report.n + sum(report.dropped.values()) == report.n_read,
        "positions beyond 10 m": all(math.isfinite(value) and abs(value) <= 1e10 for value in numbers),
        "an extent that is turned round": low[0] <= high[0] and low[1] <= high[1],
        "channels that don't add up": sum(report.n_per_channel.values()) == report.n,
        "a share outside 0 to 1": all(0 <= share <= 1 for share in shares),
        "frames that are turned round": report.frame_extent is None or 0 <= report.frame_extent[0] <= report.frame_extent[1],
        "a precision that is none": report.precision_median_nm is None or 0 < report.precision_median_nm < math.inf,
        "no text": report.path in report.path and bool(report.to_text()),
    }
    import dataclasses

    json.dumps(dataclasses.asdict(report), allow_nan=False)
    return "; ".join(what for what, holds in checks.items() if not holds)


# ---- command line


def _one(reader: str, number: int, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _say(Judge(Path(folder)).read(reader, number, Counter(), keep=keep.resolve()) or "nothing wrong")


def _every(n: int) -> None:
    from tests.ingest.fuzz_seeds import all_seeds

    with tempfile.TemporaryDirectory() as folder:
        for reader in all_seeds():
            began = time.perf_counter()
            outcome = fuzz([reader], n, processes=2, folder=Path(folder))[reader]
            told = ", ".join(f"{count:,} {what}" for what, count in sorted(outcome.counts.items()))
            _say(f"{reader}: {told}; {outcome.cpu_s:.0f} s of CPU, {time.perf_counter() - began:.0f} s", *outcome.findings)


def _say(*lines: str) -> None:
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(Path(sys.argv[2]), json.loads(sys.argv[3]))
    elif sys.argv[1] == "--all":
        _every(int(sys.argv[2]))
    else:
        _one(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) > 3 else "."))
