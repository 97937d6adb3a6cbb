"""The graph of a field: locs joined to their neighbours by Delaunay triangles, the same however the field is cut.

Three decisions make it independent of cuts. Only triangles whose circumcircle is small give edges: whether such a triangle exists is
decided by the locs in its circle alone, so a block with a halo of twice the largest radius has the whole field's edges. Coordinates rounded
to 1 nm make many quadruples of locs cocircular, and which diagonal is drawn then hangs on the order of the input: each loc is moved by some
pm that hang on its row, for triangulation only. And distances to neighbours are capped, so what lies beyond the halo doesn't matter.

Edges go both ways and are sorted by destination, then by source: a loc's incoming edges are one stretch.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LONGEST_EDGE_NM: Final = 300.0
LARGEST_CIRCLE_NM: Final = 250.0
HALO_NM: Final = 2 * LARGEST_CIRCLE_NM  # of locs around a block, for its own locs to have the edges and features of the whole field
NEIGHBOURS: Final = (1, 2, 4, 8, 16, 32)
UNIT_NM: Final = 50.0  # what lengths are divided by before the network sees them
N_LOCAL: Final = len(NEIGHBOURS) + 2  # features
_JITTER_NM: Final = 0.01  # below what float32 holds across a field; wide enough for qhull, whose circles are good to 1e-6 nm² there
_NEAREST_NM: Final = 1.0  # shorter distances mean nothing, and their logarithms would shout
_FARTHEST_NM: Final = HALO_NM
_ASKED: Final = 1 << 14  # locs whose neighbours are looked for at a time


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges and local features of n locs.

    Attributes
    ----------
    source : (e,) i8, where each edge comes from
    start : (n + 1,) i8, first incoming edge of each loc; edges start[i] ... start[i + 1] - 1 end at loc i
    local : (n, N_LOCAL) f4: logarithms of the distances to the k-th neighbours and of the mean edge, degree; and what `features` adds
    """

    source: Ints
    start: Ints
    local: NDArray[np.float32]

    @property
    def target(self) -> Ints:
        """(e,) i8, where each edge ends."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def build_graph(xy_nm: NDArray[np.floating], row: NDArray[np.integer] | None = None) -> Graph:
    """The graph of locs at (n, 2) nm; `row` (n,) is what jitter is keyed by, 0 ... n - 1 where it isn't given.

    Any number of locs, in any position: duplicates are joined, isolated and collinear locs have no edges.
    """
    places_nm: NDArray[np.float64] = np.ascontiguousarray(xy_nm, dtype=np.float64)
    row = np.arange(len(places_nm)) if row is None else row
    pairs = delaunay_pairs(places_nm + row_jitter(row), largest_circle_nm=LARGEST_CIRCLE_NM, longest_nm=LONGEST_EDGE_NM)
    source, start = directed_edges(pairs, len(places_nm))
    return Graph(source, start, local_features(places_nm, source, start))


def delaunay_pairs(xy: NDArray[np.float64], *, largest_circle_nm: float, longest_nm: float) -> Ints:
    """Pairs of locs that share a side of a Delaunay triangle with a small enough circumcircle, and are near enough: (p, 2), each once."""
    from scipy.spatial import Delaunay, QhullError

    if len(xy) < 3:
        return np.empty((0, 2), dtype=np.int64)
    try:
        found = Delaunay(xy)
    except QhullError:  # all on a line
        return np.empty((0, 2), dtype=np.int64)
    return _short_sides(xy, found.simplices, found.neighbors, largest_circle_nm, longest_nm)


@njit(cache=True)
def _short_sides(
    xy: NDArray[np.float64], corners: NDArray[np.int32], neighbours: NDArray[np.int32], largest_circle_nm: float, longest_nm: float
) -> Ints:
    """Short sides of triangles with small circumcircles, each once: of two triangles that share one, the first gives it."""
    small = np.empty(len(corners), np.bool_)
    for t in range(len(corners)):
        a, b, c = corners[t]
        sides = _apart(xy, a, b) * _apart(xy, b, c) * _apart(xy, c, a)
        area2 = abs((xy[b, 0] - xy[a, 0]) * (xy[c, 1] - xy[a, 1]) - (xy[c, 0] - xy[a, 0]) * (xy[b, 1] - xy[a, 1]))  # twice the area
        small[t] = sides <= 2.0 * largest_circle_nm * area2  # R = abc / (4 area), without dividing by the area of a sliver
    pairs, n = np.empty((3 * len(corners), 2), np.int64), 0
    for t in range(len(corners)):
        for k in range(3):
            beside = neighbours[t, k]  # behind the side that lies across from corner k; -1 = none
            if small[t] and not (0 <= beside < t and small[beside]):
                i, j = corners[t, (k + 1) % 3], corners[t, (k + 2) % 3]
                if _apart(xy, i, j) <= longest_nm:
                    pairs[n] = i, j
                    n += 1
    return pairs[:n].copy()


@njit(cache=True)
def _apart(xy: NDArray[np.float64], i: int, j: int) -> float:
    apart: float = np.hypot(xy[i, 0] - xy[j, 0], xy[i, 1] - xy[j, 1])
    return apart


def directed_edges(pairs: Ints, n: int) -> tuple[Ints, Ints]:
    """Both directions of each pair, by destination and then source: (source, start)."""
    start = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs.ravel(), minlength=n), out=start[1:])
    return _by_destination(pairs, start), start


@njit(cache=True)
def _by_destination(pairs: Ints, start: Ints) -> Ints:
    """Sources of all edges, each loc's in rising order."""
    source, filled = np.empty(2 * len(pairs), np.int64), start[:-1].copy()
    for p in range(len(pairs)):
        i, j = pairs[p]
        source[filled[i]], source[filled[j]] = j, i
        filled[i] += 1
        filled[j] += 1
    for i in range(len(start) - 1):
        source[start[i] : start[i + 1]].sort()
    return source


def local_features(xy_nm: NDArray[np.float64], source: Ints, start: Ints) -> NDArray[np.float32]:
    """What a loc knows of its neighbourhood: (n, N_LOCAL) f4, numbers around 1."""
    degree, mean_nm = _edge_means(xy_nm, source, start)
    near_nm = neighbour_distances(xy_nm)
    columns = [log_length(near_nm), degree[:, None] / 6.0, log_length(np.where(degree > 0, mean_nm, _FARTHEST_NM))[:, None]]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def log_length(nm: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logarithm of lengths in units of the network, capped on both sides."""
    return np.log(np.clip(np.asarray(nm, dtype=np.float64), _NEAREST_NM, _FARTHEST_NM) / UNIT_NM)


def neighbour_distances(
    xy_nm: NDArray[np.float64], *, of: NDArray[np.integer] | None = None, neighbours: tuple[int, ...] = NEIGHBOURS
) -> NDArray[np.float64]:
    """Distances of n locs, or of those at `of`, to their k-th neighbours among all, nm; infinite where there are fewer: (n, neighbours)."""
    from scipy.spatial import cKDTree

    if len(xy_nm) == 0:
        return np.empty((0, len(neighbours)))
    tree = cKDTree(xy_nm, leafsize=24, balanced_tree=False, compact_nodes=False)
    asked = xy_nm if of is None else xy_nm[of]
    wanted, near_nm = [k + 1 for k in neighbours], np.empty((len(asked), len(neighbours)))
    for first in range(0, len(asked), _ASKED):  # each answer holds all neighbours up to the farthest: 0.5 kB a loc
        near_nm[first : first + _ASKED], _ = tree.query(asked[first : first + _ASKED], k=wanted, distance_upper_bound=_FARTHEST_NM)
    return near_nm


@njit(cache=True)
def _edge_means(xy_nm: NDArray[np.float64], source: Ints, start: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Degree and mean edge length of each loc, nm."""
    n = len(start) - 1
    degree, mean_nm = np.zeros(n), np.zeros(n)
    for i in range(n):
        degree[i] = start[i + 1] - start[i]
        for e in range(start[i], start[i + 1]):
            dx, dy = xy_nm[i, 0] - xy_nm[source[e], 0], xy_nm[i, 1] - xy_nm[source[e], 1]
            mean_nm[i] += np.sqrt(dx * dx + dy * dy) / degree[i]
    return degree, mean_nm


def row_jitter(row: NDArray[np.integer]) -> NDArray[np.float64]:
    """Displacements of some pm, a function of each row's number alone: (n, 2) nm.

    A hash and no generator: a block needs the jitter of any few rows out of 10^7 (splitmix64: Steele, Lea & Flood 2014).
    """
    mixed = (np.asarray(row).astype(np.uint64)[:, None] * np.uint64(2) + np.array([1, 2], np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray(_JITTER_NM * ((mixed >> np.uint64(11)) * 2.0**-52 - 1.0))


# ---- parts of a graph


def hops_around(graph: Graph, inside: NDArray[np.bool_], *, hops: int) -> NDArray[np.bool_]:
    """The locs `inside` (n,) and all within so many edges of them: what a network of so many steps needs to see."""
    reached = inside.copy()
    frontier = np.flatnonzero(inside)
    for _ in range(hops):
        beyond = graph.source[_stretches(graph.start, frontier)]
        frontier = np.unique(beyond[~reached[beyond]])
        if len(frontier) == 0:
            break
        reached[frontier] = True
    return reached


def cut_graph(graph: Graph, kept: NDArray[np.bool_]) -> Graph:
    """The graph of the kept locs (n,), in their order, with the features they have in the whole."""
    number = np.cumsum(kept) - 1
    nodes = np.flatnonzero(kept)
    edges = _stretches(graph.start, nodes)
    edges_kept = kept[graph.source[edges]]
    owner = np.repeat(np.arange(len(nodes)), np.diff(graph.start)[nodes])[edges_kept]
    start = np.zeros(len(nodes) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner, minlength=len(nodes)), out=start[1:])
    return Graph(number[graph.source[edges[edges_kept]]], start, graph.local[nodes])


def _stretches(start: Ints, nodes: Ints) -> Ints:
    """Numbers of the edges that end at these nodes, in order."""
    sizes = np.diff(start)[nodes]
    return np.asarray(np.arange(sizes.sum()) + np.repeat(start[nodes] - (np.cumsum(sizes) - sizes), sizes))
