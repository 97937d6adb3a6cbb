"""Stage pick: the copies of a structure in a field, each with its centre and its locs about it.

Particles come of clusters, of the file's own groups, or of what lies about given centres (`[pick] source`). A source gives for each
particle its channel and its locs (`Picks`); centres, points and what is written are the same for all. Every point keeps its place in the
ingest unit, so it goes back to its row in the file; none is cut, whatever its number. With `source = "none"` the unit has no rows and says
why.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PickConfig, pick_settings
from smlmbatch.pick.about import picks_of_file
from smlmbatch.pick.centring import AREA, GIVEN, WAYS, find_centres
from smlmbatch.pick.choice import REASONS, ClusterTable, check_shape, judge, owners
from smlmbatch.pick.gather import Floats, Gathered, axes_of, gather_around, gather_own
from smlmbatch.pick.groups import picks_of_groups
from smlmbatch.pick.picks import Picks
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.work import Work


def run(work: Work) -> None:
    """Pick the field's particles.

    Raises
    ------
    InputError
        a shape is wanted that isn't told of the field's clusters; the file has no groups; given centres that can't be of the field
    """
    config, ingest = work.config.pick, work.upstream["ingest"]
    channels = [int(channel) for channel in ingest.attrs["channels"]]
    picks = _SOURCES[config.source](work, config)
    ways = _write(work.out, picks, channels, way=config.centre, axes=axes_of(ingest))
    work.out.attrs |= {
        "source": config.source,
        "why_none": _WHY_NONE if config.source == "none" else "",
        "settings": pick_settings(config),
        "channels": channels,
        "centres": [*WAYS, *(() if picks.given_nm is None else (GIVEN,))],
        "centred_by": ways,
        "n_particles": [int((picks.channel == channel).sum()) for channel in channels],
        "dropped": dict(picks.dropped),
        **picks.facts,
    }


# ---- sources


def _no_picks(work: Work, config: PickConfig) -> Picks:
    nobody = Gathered(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, axes_of(work.upstream["ingest"]))))
    return Picks(np.empty(0, np.uint8), nobody, nobody, {}, {"n_clusters": 0})


def _picks_of_clusters(work: Work, config: PickConfig) -> Picks:
    ingest, cluster = work.upstream["ingest"], work.upstream["cluster"]
    table = _read_table(cluster)
    check_shape(table, config, field=work.field.path)
    reason = judge(table, config)
    rows = np.flatnonzero(reason == 0)
    number = np.full(len(table) + 1, -1, np.int64)  # the last: of no cluster
    number[rows] = np.arange(len(rows))

    def labels(start: int, stop: int) -> NDArray[np.int32]:
        return cluster.read("label", start, stop)

    own = gather_own(ingest, labels, number[owners(table.parent, reason == 0)])
    channel = table.channel[rows]
    points = gather_around(ingest, labels, own, channel, margin_nm=config.margin_nm) if config.margin_nm else own
    counts = Counter(REASONS[code] for code in reason.tolist())
    dropped = {name: counts[name] for name in REASONS[1:]}
    return Picks(channel, own, points, dropped, {"n_clusters": len(table)}, {"cluster": rows.astype(np.int32)})


def _read_table(cluster: UnitReader) -> ClusterTable:
    return ClusterTable(
        channel=cluster.read("cluster_channel"),
        n_locs=cluster.read("n_locs"),
        gyration_nm=cluster.read("radius_of_gyration_nm"),
        nearest_nm=cluster.read("nearest_nm"),
        shape=cluster.read("shape"),
        parent=cluster.read("parent"),
        n_children=cluster.read("n_children"),
        shapes=tuple(cluster.attrs["shapes"]),
        with_parents=bool(cluster.attrs["with_parents"]),
    )


_SOURCES: Final[Mapping[str, Callable[[Work, PickConfig], Picks]]] = {
    "none": _no_picks,
    "cluster": _picks_of_clusters,
    "group": picks_of_groups,
    "file": picks_of_file,
}
_WHY_NONE: Final = 'No particles were wanted (pick.source = "none").'


# ---- centres and points


def _write(out: UnitWriter, picks: Picks, channels: list[int], *, way: str, axes: int) -> list[str]:
    """Write particles and points; how each channel's were centred. What a given centre doesn't say (z) is the hull's."""
    count = len(picks.channel)
    _, own_nm = picks.own.split(count)
    _, core_nm = (picks.own if picks.core is None else picks.core).split(count)
    centre_nm, by, ways = np.full((count, axes), np.nan), np.zeros(count, np.uint8), []
    for channel in channels:
        of_channel = np.flatnonzero(picks.channel == channel)
        found = find_centres([core_nm[number] for number in of_channel], way=way if picks.given_nm is None else AREA, axes=axes)
        centre_nm[of_channel], by[of_channel] = found.centre_nm, found.by
        ways.append(found.way if picks.given_nm is None else GIVEN)
    if picks.given_nm is not None:
        centre_nm[:, : picks.given_nm.shape[1]], by[:] = picks.given_nm, len(WAYS)
    start, places_nm = picks.points.split(count)
    _write_particles(out, picks, centre_nm, by, own_nm)
    out.write("start", start)
    out.write("loc", picks.points.loc)
    away = [places - centre for places, centre in zip(places_nm, centre_nm, strict=True)]
    out.write("point_nm", np.concatenate([np.empty((0, axes)), *away]))
    return ways


def _write_particles(out: UnitWriter, picks: Picks, centre_nm: Floats, by: NDArray[np.uint8], own_nm: list[Floats]) -> None:
    nan = np.full(len(centre_nm), np.nan)
    distances = [np.sqrt(((own - centre) ** 2).sum(axis=1)) for own, centre in zip(own_nm, centre_nm, strict=True)]
    out.write("channel", picks.channel)
    for name, numbers in ({"cluster": np.full(len(centre_nm), -1, np.int32)} | dict(picks.numbers)).items():
        out.write(name, numbers)
    out.write("n_locs", np.array([len(own) for own in own_nm], dtype=np.int64))
    for axis, name in enumerate(("x_nm", "y_nm", "z_nm")):
        out.write(name, centre_nm[:, axis] if axis < centre_nm.shape[1] else nan)
    out.write("centre_by", by)
    out.write("radius_nm", np.array([np.median(distance) for distance in distances]).reshape(-1))
