"""From campaigns to array jobs: what is left to do, what it will cost, and the scripts that the host submits.

One campaign (`submit INPUT OUTPUT`) or many under one root (`--campaigns list.csv`, `--new-in ARCHIVE`): then one
submission holds them all, so that one throttle rules them, and ROOT/campaigns.csv remembers which there are.
"""

import contextlib
import csv
import io
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smlmbatch.campaign import CONFIG, FAILED, RECORD, SAMPLES, Plan, plan_campaign
from smlmbatch.config import Config
from smlmbatch.errors import ConfigError, Interrupted, SmlmbatchError
from smlmbatch.hpc.costs import Costs, costs_of
from smlmbatch.hpc.packing import Load
from smlmbatch.hpc.records import read_records
from smlmbatch.hpc.site import Site
from smlmbatch.methods.chosen import choose
from smlmbatch.ordering import CAMPAIGN_STAGES, ORDER, REGISTER, OrderState, is_ordering, most_bins, order_state
from smlmbatch.run import ALL_STAGES
from smlmbatch.samples import Field
from smlmbatch.stages import FIELD_STAGES
from smlmbatch.store.units import write_whole
from smlmbatch.upkeep import standing

CAMPAIGNS = "campaigns.csv"
END = "report"  # the chain's last job
_PARTICLE_LOCS = 1000  # of a particle, where nothing is known of them: many
_NAME = re.compile(r"[\w][\w .+-]{0,99}")
_TAKEN = {"jobs", "logs", "store", "tables", "report", "models", "picks", CAMPAIGNS, RECORD, SAMPLES, CONFIG.lower(), FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One campaign of a list: its folder under the root, its INPUT, and what its plan needs besides."""

    campaign: str
    input_path: Path
    sheet: Path | None = None
    config: Path | None = None


# ---- lists of campaigns


def read_list(file: Path) -> tuple[Entry, ...]:
    """Read `campaign,input[,sheet,config]`; paths are relative to the list's folder.

    Raises
    ------
    ConfigError
        a missing column or value, a name that is no folder name, the same name twice
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            rows = list(csv.DictReader(opened, strict=True))
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read as a list of campaigns ({error})") from error
    known = {"campaign", "input", "sheet", "config"}
    names = {name for row in rows for name in row}
    if not rows or not {"campaign", "input"} <= names <= known:
        found = ", ".join(map(str, sorted(map(str, names)))) or "nothing"
        raise ConfigError(f"{file}: wanted the columns campaign, input and maybe sheet, config, and a line per campaign; found {found}")
    entries = tuple(_entry(file, number, row) for number, row in enumerate(rows, start=2))
    seen: dict[str, Path] = {}
    for entry in entries:
        if seen.setdefault(entry.campaign, entry.input_path) != entry.input_path:
            raise ConfigError(f"{file}: two campaigns are called {entry.campaign!r}: each needs a folder of its own")
    return tuple({entry.campaign: entry for entry in entries}.values())


def _entry(file: Path, number: int, row: dict[str, str]) -> Entry:
    campaign, source = (row["campaign"] or "").strip(), (row["input"] or "").strip()
    _check_name(f"{file}, line {number}", campaign)
    if not source:
        raise ConfigError(f"{file}, line {number}: no input for campaign {campaign!r}")
    folder = file.absolute().parent
    sheet, config = ((folder / value) if value else None for value in (row.get("sheet"), row.get("config")))
    return Entry(campaign=campaign, input_path=folder / source, sheet=sheet, config=config)


def _check_name(where: str, campaign: str) -> None:
    if not _NAME.fullmatch(campaign) or campaign.lower() in _TAKEN:
        raise ConfigError(f"{where}: {campaign!r} is no name for a campaign's folder: letters, digits, space, and . + - _ only")


def find_new(archive: Path, root: Path, *, settled_s: float, talk: Callable[[str], None]) -> tuple[Entry, ...]:
    """Folders of `archive` that are no campaign of `root` yet and in which nothing has changed for `settled_s`.

    What is left waiting, or can't be looked through, is told by name. A folder that holds the root is left out.
    """
    if not archive.is_dir():
        raise ConfigError(f"--new-in {archive} is no folder")
    names = known_campaigns(root)
    known, home = {os.path.realpath(path) for path in names.values()}, Path(os.path.realpath(root))
    entries = []
    for folder in sorted(archive.iterdir()):
        place = os.path.realpath(folder)
        if not folder.is_dir() or folder.name.startswith(".") or place in known or Path(place) in (home, *home.parents):
            continue
        try:
            newest = _newest_change(folder)
        except OSError as error:
            talk(f"{folder}: can't be looked through ({error.strerror}): left out")
            continue
        if newest < time.time() - settled_s:
            name = _campaign_name(folder, names)
            names[name] = folder
            entries.append(Entry(campaign=name, input_path=folder.absolute()))
        else:
            future = ", which lies in the future: correct the clock or `touch` the files" if newest > time.time() + settled_s else ""
            talk(f"{folder}: waits, last changed {time.strftime('%Y-%m-%d %H:%M', time.localtime(newest))}{future}")
    return tuple(entries)


def _campaign_name(folder: Path, taken: Mapping[str, Path]) -> str:
    name = re.sub(r"[^\w .+-]", "_", folder.name)[:80].strip(" .") or "campaign"
    name = name if _NAME.fullmatch(name) and name.lower() not in _TAKEN else f"c_{name}"
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)


def _newest_change(folder: Path) -> float:
    """Time of the last change of anything in a folder; new and removed names change their folder.

    Raises
    ------
    OSError
        a folder in it can't be read
    """

    def refuse(error: OSError) -> None:
        raise error

    newest = folder.stat().st_mtime
    for at, _, files in os.walk(folder, onerror=refuse):
        for path in (at, *(os.path.join(at, name) for name in files)):
            with contextlib.suppress(FileNotFoundError):  # removed this moment, which changed its folder
                newest = max(newest, os.lstat(path).st_mtime)
    return newest


def known_campaigns(root: Path) -> dict[str, Path]:
    """INPUT of every campaign ever submitted under `root`, by its folder's name."""
    try:
        with (root / CAMPAIGNS).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return {row["campaign"]: Path(row["input"]) for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}


def campaigns_under(output: Path) -> list[tuple[str, Path]]:
    """(name, folder) of what OUTPUT holds: itself, or the campaigns of a root.

    Raises
    ------
    ConfigError
        it holds neither
    """
    if (output / RECORD).is_file() or not (output / CAMPAIGNS).is_file():
        return [("", output)]
    return [(name, output / name) for name in known_campaigns(output)]


def remember(root: Path, entries: Sequence[Entry]) -> None:
    """Add campaigns to ROOT/campaigns.csv."""
    known = known_campaigns(root) | {entry.campaign: entry.input_path for entry in entries}
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["campaign", "input"])
    writer.writerows([name, str(path)] for name, path in sorted(known.items()))
    write_whole(root / CAMPAIGNS, out.getvalue().encode("utf-8", "surrogateescape"))


def plan_entries(
    entries: Sequence[Entry], root: Path, *, config_of: Callable[[Entry], Config], update: bool, freeze: bool, talk: Callable[[str], None]
) -> dict[str, Plan]:
    """Plan every campaign of a list; one that can't be planned is named, and the others go on."""
    if (root / RECORD).exists():
        raise ConfigError(f"OUTPUT {root} is a campaign itself: choose a folder that is to hold campaigns")
    plans: dict[str, Plan] = {}
    for entry in entries:
        try:
            plans[entry.campaign] = plan_campaign(
                entry.input_path, root / entry.campaign, sheet=entry.sheet, config=config_of(entry), update=update, freeze=freeze
            )
        except Interrupted:
            raise
        except (SmlmbatchError, OSError) as error:
            talk(f"campaign {entry.campaign} is left out: {error}")
    if freeze and plans:
        remember(root, [entry for entry in entries if entry.campaign in plans])
    return plans


# ---- what is to do, and its cost


def gpu_warning(plans: Iterable[Plan], site: Site) -> str:
    """What to mend where campaigns want to embed on a GPU and the profile asks for none; "" = nothing."""
    wanted = any(plan.config.embed.device == "cuda" and not choose(plan.config).why_none for plan in plans)
    if not wanted or site.of("embed").wants_gpu:
        return ""
    return 'warning: embed.device = "cuda", but the profile asks for no GPU: set stage.embed.gres, such as "gpu:1", or embed.device = "cpu"'


def loads_of(plans: dict[str, Plan]) -> dict[str, list[Load]]:
    """What every stage has to do in every campaign (folder relative to the root → plan), the end included."""
    loads: dict[str, list[Load]] = {stage: [] for stage in (*ALL_STAGES, *CAMPAIGN_STAGES, END)}
    for campaign, plan in plans.items():
        costs = costs_of(read_records(plan.output / "logs"))
        for stage, load in _loads_of_campaign(campaign, plan, costs).items():
            loads[stage].append(load)
    return loads


def _loads_of_campaign(campaign: str, plan: Plan, costs: Costs) -> dict[str, Load]:
    outcomes = standing(plan)
    paths = [field.path for field in plan.fields]
    locs = [costs.locs(field.key, format_name=field.format, size_bytes=_size(plan, field)) for field in plan.fields]
    stands = [bool(o.keys) and o.failure is not None and o.failure.kind == "input" for o in outcomes]
    loads = {}
    for before, stage in zip(("", *ALL_STAGES), FIELD_STAGES, strict=False):
        cost = costs.stages[stage.name]
        along = stage.idle(plan.config)  # with the stage before, where that is to be made: an array less
        missing = [stage.name not in o.fresh and not (along and before not in o.fresh) for o in outcomes]
        busy = [lacks and not stood for lacks, stood in zip(missing, stands, strict=True)]
        seconds = [cost.seconds(n) if todo else 0.0 for n, todo in zip(locs, busy, strict=True)]
        peak = max((cost.peak_mib(n) for n, todo in zip(locs, busy, strict=True) if todo), default=0.0)
        loads[stage.name] = Load(campaign=campaign, fields=paths, seconds=seconds, peak_mib=peak)
    loads |= _loads_of_order(campaign, plan, costs, order_state(plan, outcomes), sum(locs))
    end, n = costs.stages[END], len(plan.fields)
    loads[END] = Load(campaign=campaign, fields=[END], seconds=[end.seconds(n)], peak_mib=end.peak_mib(n))
    return loads


def _loads_of_order(campaign: str, plan: Plan, costs: Costs, state: OrderState, locs: float) -> dict[str, Load]:
    """The units of the whole campaign. How many locs lie in particles isn't known before they are picked: as if all did."""
    if not is_ordering(plan.config):
        return {}
    config = plan.config.order
    in_bin = min(locs / config.bins, config.most_registered * _PARTICLE_LOCS)
    ordered = state.order is not None and state.order.fingerprint in state.fresh
    names = [f"{one.name} {one.number}" for one in state.bins] if ordered else [f"bin {n + 1}" for n in range(most_bins(plan.config))]
    done = [one.key.fingerprint in state.fresh for one in state.bins] if ordered else [False] * len(names)
    order, register = (costs.stages[stage] for stage in CAMPAIGN_STAGES)
    seconds = [0.0 if made else register.seconds(in_bin) for made in done]
    return {
        ORDER: Load(campaign=campaign, fields=[ORDER], seconds=[0.0 if ordered else order.seconds(locs)], peak_mib=order.peak_mib(locs)),
        REGISTER: Load(campaign=campaign, fields=names, seconds=seconds, peak_mib=register.peak_mib(in_bin)),
    }


def _size(plan: Plan, field: Field) -> int:
    try:
        return (plan.root / field.path).stat().st_size
    except OSError:  # its ingest will say so
        return 0
