"""Which clusters (or groups, or picks) of a field are particles: by level, shape, number of locs, size, and room around them.

One that is dropped is counted under the first reason that holds, in the order of `REASONS`: so the counts and the particles add up
to those that there are.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import PickConfig
from smlmbatch.errors import InputError

REASONS: Final = (
    "",  # a particle
    "of another level",  # a part where wholes are wanted, or the other way round
    "of another shape",
    "too few locs",
    "too many locs",
    "too small",
    "too large",
    "too near to a neighbour",
)


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """What is known of a field's clusters; one entry each.

    Attributes
    ----------
    channel : (c,) u1
    n_locs : (c,) i8
    gyration_nm : (c,) f8, radius of gyration
    nearest_nm : (c,) f8, to the nearest other of the channel and level; NaN where there is none
    shape : (c,) u1, index into `shapes`; 255 = not told
    parent : (c,) i4, row of the cluster that it is a part of, or -1
    n_children : (c,) i4
    shapes : names
    with_parents : clusters were looked for at two levels, whether there are any or not
    """

    channel: NDArray[np.uint8]
    n_locs: NDArray[np.int64]
    gyration_nm: NDArray[np.float64]
    nearest_nm: NDArray[np.float64]
    shape: NDArray[np.uint8]
    parent: NDArray[np.int32]
    n_children: NDArray[np.int32]
    shapes: tuple[str, ...]
    with_parents: bool

    def __len__(self) -> int:
        return len(self.n_locs)


def judge(clusters: ClusterTable, config: PickConfig) -> NDArray[np.uint8]:
    """Why each cluster is no particle, (c,) u1: index into `REASONS`, 0 = it is one; after `check_shape`."""
    n_locs, gyration_nm = clusters.n_locs, clusters.gyration_nm
    failed = (
        _of_another_level(clusters, parents=config.parents),
        _of_another_shape(clusters, config.shape),
        n_locs < config.min_locs,
        (n_locs > config.max_locs) & (config.max_locs > 0),
        gyration_nm < config.min_gyration_nm,
        (gyration_nm > config.max_gyration_nm) & (config.max_gyration_nm > 0),
        clusters.nearest_nm < config.min_distance_nm,
    )
    return np.select(failed, np.arange(1, len(REASONS), dtype=np.uint8), np.uint8(0))


def _of_another_level(clusters: ClusterTable, *, parents: bool) -> NDArray[np.bool_]:
    """Where clusters were looked for at two levels, a cluster alone is a part whose whole was not found."""
    is_whole: NDArray[np.bool_] = clusters.n_children > 0
    return ~is_whole if clusters.with_parents and parents else is_whole


def _of_another_shape(clusters: ClusterTable, name: str) -> NDArray[np.bool_]:
    if not name or not clusters.shapes:
        return np.zeros(len(clusters), dtype=bool)
    others: NDArray[np.bool_] = clusters.shape != clusters.shapes.index(name)
    return others


def check_shape(clusters: ClusterTable, config: PickConfig, *, field: str) -> None:
    """Refuse a shape that isn't told of these clusters.

    Raises
    ------
    InputError
        their model knows no shapes, or not this one, or tells it of other clusters than are wanted
    """
    wanted = f'pick.shape = "{config.shape}"'
    if not config.shape:
        return
    if not clusters.shapes:
        raise InputError(
            field, "shapes of its clusters are not told", wanted, 'set pick.shape = "", or find clusters by a model with classes'
        )
    if config.shape not in clusters.shapes:
        raise InputError(field, f"shapes of its clusters are {', '.join(clusters.shapes)}", wanted, "set pick.shape to one of these")
    if clusters.with_parents and config.parents:
        finding = "shapes are told of parts only, and wholes are to be picked"
        raise InputError(field, finding, wanted, 'set pick.shape = "", or pick.parents = false')


def owners(parent: NDArray[np.integer], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each cluster the chosen one that its locs belong to: itself, what it is a part of, or none (-1); (c,) i8.

    >>> owners(np.array([2, 2, -1, -1]), np.array([False, False, True, False])).tolist()
    [2, 2, 2, -1]
    """
    owner = np.arange(len(parent))
    for _ in range(len(parent)):
        lost = (owner >= 0) & ~chosen[owner]
        if not lost.any():
            break
        owner[lost] = parent[owner[lost]]
    return owner
