"""What the page says of particles: how they were picked, how many of each condition, why others are none, and which to look at."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.tables import legible
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.wording import count, counted, number
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.particles import particle_axes
from smlmbatch.work import Campaign, FieldResult

_STAGE = "pick"
_COLUMNS = ("condition", "channel", "key", "n_locs", "radius_nm", "centre_by")
_CENTRED = {"circle": "a fitted circle", "sphere": "a fitted sphere", "area": "the centroid of the hull", "given": "the file of centres"}
_OFFERED = {"cluster": ("n_clusters", "cluster"), "group": ("n_groups", "group"), "file": ("n_picks", "centre")}  # source → attribute, word
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is said of one field: its attributes, how many axes its particles have, and the names of those that are wildly larger."""

    name: str
    attrs: Mapping[str, Any]
    axes: int
    outsized: tuple[str, ...]


def show_particles(campaign: Campaign, *, titles_of: Mapping[int, str]) -> Markup | None:
    """A heading, words and a table; None where nothing was to be picked, or no field is that far.

    Parameters
    ----------
    titles_of : what channels are called, where there are several
    """
    units = [_unit(result) for result in campaign.fields if _STAGE in result.units]
    if campaign.config.pick.source == "none" or not units:
        return None
    return join([element("h3", "Particles"), *_words(units, campaign), _table(_particles(campaign), titles_of)])


def _unit(result: FieldResult) -> _Unit:
    with UnitReader(result.units[_STAGE]) as unit:
        numbers = unit.attrs.get("outsized", ())
        name = next((name for name in ("group", "pick") if unit.has(name)), "")
        called = unit.read(name) if numbers and name else ()
        shown = {"group": "group {}", "pick": "centre {}"}.get(name, "")
        outsized = tuple(shown.format(called[one] + (name == "pick")) for one in numbers)  # people count rows from 1
        return _Unit(legible(result.field.name), unit.attrs, particle_axes(unit), outsized)


def _words(units: Sequence[_Unit], campaign: Campaign) -> Iterator[Markup]:
    attributes = [unit.attrs for unit in units]
    offered, word = _OFFERED[campaign.config.pick.source]
    particles = sum(sum(own["n_particles"]) for own in attributes)
    dropped = sum((Counter(own["dropped"]) for own in attributes), Counter())
    reasons = ", ".join(f"{count(n)} {reason}" for reason, n in dropped.items() if n)
    others = f" The others: {reasons}." if reasons else ""
    all_of_them = counted(sum(own[offered] for own in attributes), word)
    yield element("p", f"{count(particles)} of {all_of_them} are particles, copies of one structure.{others}")
    yield from (element("p", text) for text in _remarks(units, campaign))
    yield element("p", "Every one: tables/particles.parquet; its localisations: the stage pick in the store.", class_="note")


def _remarks(units: Sequence[_Unit], campaign: Campaign) -> Iterator[str]:
    pick = campaign.config.pick
    if pick.source == "group":
        columns = sorted({unit.attrs["group_column"] for unit in units if unit.attrs["group_column"]})
        none = sum(unit.attrs["n_in_no_group"] for unit in units)
        yield f"A group is what the files\u2019 column {', '.join(columns)} says; {counted(none, 'localisation')} are in none."
    if pick.source == "file":
        yield f"A centre is one of {pick.picks} (sha256 {pick.picks_sha256[:12]}), counted once for each channel that it is looked for in."
        yield from _named("Without a centre in it", [unit.name for unit in units if not unit.attrs["n_picks"]])
    outsized = [f"{name} of {unit.name}" for unit in units for name in unit.outsized]
    mend = "look at them, or leave them out (--most-gyration-nm, --most-locs)"
    yield from _named("More than 3 times as large as the median particle of their field and channel, or 10 times the locs", outsized, mend)
    axes = Counter(unit.axes for unit in units if sum(unit.attrs["n_particles"]))
    if len(axes) > 1:
        flat, deep = (counted(axes[n], "field") for n in (2, 3))
        yield f"Particles of {flat} lie in the plane, those of {deep} in space: what looks at all of them takes x and y."


def _named(what: str, names: Sequence[str], mend: str = "") -> Iterator[str]:
    if names:
        more = f" and {count(len(names) - _MOST_NAMED)} more" if names[_MOST_NAMED:] else ""
        yield f"{what}: {', '.join(names[:_MOST_NAMED])}{more}{f'; {mend}' if mend else ''}."


def _particles(campaign: Campaign) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.ParquetFile(table_path(campaign.output, "particles")).read(columns=list(_COLUMNS)).to_pylist()
    return rows


def _table(rows: Sequence[Mapping[str, Any]], titles_of: Mapping[int, str]) -> Markup:
    """A row per condition and channel."""
    groups: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["condition"], row["channel"]].append(row)
    header = ["Particles by condition", "Particles", "Fields with some", "Locs of one, median", "Radius, median (nm)", "Centred by"]
    body = []
    for (condition, channel), own in sorted(groups.items(), key=lambda item: (natural_key(item[0][0]), item[0][1])):
        ways = Counter(row["centre_by"] for row in own)
        head = join([breakable(condition), f", {titles_of[channel]}" if channel in titles_of else None])
        median = [number(float(np.median([row[name] for row in own]))) for name in ("n_locs", "radius_nm")]
        by = ", ".join(f"{_CENTRED[way]} ({count(n)})" for way, n in ways.most_common())
        body.append([head, count(len(own)), count(len({row["key"] for row in own})), *median, by])
    return table(header, body, numeric=range(1, 5), class_="few") if body else element("p", "Nothing is a particle.")
