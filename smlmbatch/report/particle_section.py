"""What the page says of particles: how they were picked, how many of each condition, and why other clusters are none."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from smlmbatch.analyse.compare import natural_key
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.report.page import Markup, breakable, element, join, table
from smlmbatch.report.wording import count, counted, number
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign

_STAGE = "pick"
_COLUMNS = ("condition", "channel", "key", "n_locs", "radius_nm", "centre_by")
_CENTRED = {"circle": "a fitted circle", "sphere": "a fitted sphere", "area": "the centroid of the hull"}


def show_particles(campaign: Campaign, *, titles_of: Mapping[int, str]) -> Markup | None:
    """A heading, words and a table; None where nothing was to be picked, or no field is that far.

    Parameters
    ----------
    titles_of : what channels are called, where there are several
    """
    attributes = [_attributes(result.units[_STAGE]) for result in campaign.fields if _STAGE in result.units]
    if campaign.config.pick.source == "none" or not attributes:
        return None
    return join([element("h3", "Particles"), *_words(attributes), _table(_particles(campaign), titles_of)])


def _attributes(path: Any) -> Mapping[str, Any]:
    with UnitReader(path) as unit:
        return unit.attrs


def _words(attributes: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    particles = sum(sum(own["n_particles"]) for own in attributes)
    clusters = sum(own["n_clusters"] for own in attributes)
    dropped = sum((Counter(own["dropped"]) for own in attributes), Counter())
    reasons = ", ".join(f"{count(n)} {reason}" for reason, n in dropped.items() if n)
    others = f" The others: {reasons}." if reasons else ""
    yield element("p", f"{count(particles)} of {counted(clusters, 'cluster')} are particles, copies of one structure.{others}")
    yield element("p", "Every one: tables/particles.parquet; its localisations: the stage pick in the store.", class_="note")


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
    return table(header, body, numeric=range(1, 5), class_="few") if body else element("p", "No cluster is a particle.")
