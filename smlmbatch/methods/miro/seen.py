"""A part of a channel with as much around it as the network needs, so that its own locs get what the uncut field would give them.

Of each own loc the network sees the locs within as many edges as it has steps (16: about 0.7 um in a dense field, 3 um in a sparse one; at
most 16 x 300 nm). Each of these must have the edges and features of the whole field, for which it must lie `HALO_NM` (500 nm) or more
inside of what was loaded. That is looked at, not assumed: a side on which it fails is loaded farther out, and the graph built again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.features import Columns, columns_for, medians_of, with_features
from smlmbatch.methods.miro.graph import HALO_NM, LONGEST_EDGE_NM, Graph, build_graph, cut_graph, hops_around
from smlmbatch.methods.miro.infer import side_by_side
from smlmbatch.store.field_locs import FieldLocs

Floats = NDArray[np.float64]
_HOP_SPACINGS = 2.8  # how far a hop leads at most, in mean distances of locs: a guess, and mostly enough in clustered fields
_OUTWARDS = np.array([-1.0, -1.0, 1.0, 1.0])  # of the sides x0, y0, x1, y1
_OUTWARDS.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """The m locs that the network sees for one part, side by side.

    Attributes
    ----------
    xy_nm : (m, 2) f8, nm, the field's coordinates
    graph : of these
    own : (m,) bool, those of the part itself, n of them
    index, row : (n,) i8, of its own: place in the field's order, and number in the source
    """

    xy_nm: Floats
    graph: Graph
    own: NDArray[np.bool_]
    index: NDArray[np.int64]
    row: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Loaded:
    xy_nm: Floats
    index: NDArray[np.int64]
    row: NDArray[np.int64]
    columns: Columns


class ChannelLocs:
    """The locs of one channel, by rectangle.

    Parameters
    ----------
    extent : (4,), nm, bounding box of the channel's locs
    """

    def __init__(self, field: FieldLocs, channel: int, extent: Floats, *, features: Sequence[str] = ()) -> None:
        self._field, self._channel, self._extent, self._features = field, channel, extent, tuple(features)

    @cached_property
    def _medians(self) -> dict[str, float]:
        names = columns_for(self._features)
        pieces = [piece.take(piece.channel == self._channel) for piece in self._field.pieces()] if names else []
        own = {name: [getattr(piece, name) for piece in pieces] for name in names}
        return medians_of(self._features, {name: np.concatenate(of) for name, of in own.items() if of and of[0] is not None})

    def see(self, box: Floats, *, hops: int) -> Seen:
        """The locs of a rectangle (x0, y0, x1, y1) and all that are so many edges away."""
        farthest_nm = hops * LONGEST_EDGE_NM + HALO_NM
        halo_nm = np.full(4, min(farthest_nm, HALO_NM + self._guess_nm(box, hops)))
        while True:
            reach = box + halo_nm * _OUTWARDS
            loaded = self._load(reach)
            graph = with_features(build_graph(loaded.xy_nm, loaded.row), self._features, loaded.columns, self._medians)
            own = _within(loaded.xy_nm, box)
            kept = hops_around(graph, own, hops=hops)
            short = self._too_short(loaded.xy_nm[kept], reach)
            if not short.any():
                seen = graph if kept.all() else cut_graph(graph, kept)
                return Seen(loaded.xy_nm[kept], seen, own[kept], loaded.index[own], loaded.row[own])
            # bounded: from `farthest_nm` on no side can be too short
            halo_nm = np.where(short, np.minimum(2 * halo_nm, farthest_nm), halo_nm)

    def places(self, box: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Places (n, 2) in nm and rows (n,) of the locs of a rectangle."""
        loaded = self._load(box)
        return loaded.xy_nm, loaded.row

    def _guess_nm(self, box: Floats, hops: int) -> float:
        n_own = max(1, len(self._load(box).row))
        return float(hops * _HOP_SPACINGS * np.sqrt((box[2:] - box[:2]).prod() / n_own))

    def _load(self, box: Floats) -> _Loaded:
        """This channel's locs of a rectangle, side by side."""
        index, locs = self._field.placed(*box.tolist())
        own = np.flatnonzero(locs.channel == self._channel)
        xy_nm = np.column_stack([locs.x_nm[own], locs.y_nm[own]]).astype(np.float64)
        row = locs.row[own]
        order = side_by_side(xy_nm, row)
        values = {name: getattr(locs, name) for name in columns_for(self._features)}
        columns = {name: None if column is None else column[own][order] for name, column in values.items()}
        return _Loaded(xy_nm[order], index[own][order], row[order], columns)

    def _too_short(self, needed_nm: Floats, reach: Floats) -> NDArray[np.bool_]:
        """Sides (x0, y0, x1, y1) on which a needed loc lies too near to the end of what was loaded, and locs may lie beyond."""
        ends = np.concatenate([needed_nm.min(axis=0), needed_nm.max(axis=0)])
        room_nm = (reach - ends) * _OUTWARDS
        beyond_nm = (self._extent - reach) * _OUTWARDS
        short: NDArray[np.bool_] = (room_nm < HALO_NM) & (beyond_nm >= 0)
        return short


def _within(xy_nm: Floats, box: Floats) -> NDArray[np.bool_]:
    return np.asarray(((xy_nm >= box[:2]) & (xy_nm < box[2:])).all(axis=1))
