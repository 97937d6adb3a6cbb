"""Rows of the table of clusters, from a field's labels: size, place, shape, relations, molecules.

A parent's locs are those of its children, so both kinds are described by the same few functions, once by the locs' own labels and once by
their parents'. Radius, hull and eccentricity are those of the plane, in space too: along z localisations are two to three times less
exact, and clusters would look drawn out along it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.clusters import describe_clusters
from smlmbatch.clustering.molecules import copy_numbers
from smlmbatch.clustering.relations import count_children, nearest_nm

NOT_TOLD: Final = 255  # shape of clusters that nothing tells
_MEASURES: Final = ("x_nm", "y_nm", "z_nm", "radius_of_gyration_nm", "area_nm2", "eccentricity", "shape_share", "belonging_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The clusters of a field of n locs, before they are described.

    Attributes
    ----------
    label : (n,) i4, the loc's cluster, of nested ones the innermost; -1 = in none
    channel : (c,) u1, of each cluster
    parent : (c,) i4, -1 = none
    belonging : (n,) f4, None where no network was asked
    shape : (n,) u1, most probable class, 0 = background; None where none is told
    contracted : (n,) f4 by name of the array
    """

    label: NDArray[np.int32]
    channel: NDArray[np.uint8]
    parent: NDArray[np.int32]
    belonging: NDArray[np.float32] | None = None
    shape: NDArray[np.uint8] | None = None
    contracted: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def cluster_rows(
    found: Labelled, x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], z_nm: NDArray[np.floating] | None, *, locs_per_molecule: float
) -> dict[str, NDArray[Any]]:
    """Arrays of the schema's dimension "cluster", but for `roi`.

    Parameters
    ----------
    x_nm, y_nm, z_nm : (n,) of all locs; None in the plane
    locs_per_molecule : 0 = not known
    """
    n_clusters = len(found.channel)
    rows: dict[str, NDArray[Any]] = {name: np.full(n_clusters, np.nan) for name in _MEASURES}
    rows |= {"n_locs": np.zeros(n_clusters, np.int64), "shape": np.full(n_clusters, NOT_TOLD, np.uint8)}
    inside = np.flatnonzero(found.label >= 0)
    own = found.label[inside]
    for label in (own, found.parent[own]):
        members = np.flatnonzero(label >= 0)
        _describe(rows, inside[members], label[members], found, (x_nm, y_nm, z_nm))
    n_children = count_children(found.parent)
    rows["shape"][n_children > 0], rows["shape_share"][n_children > 0] = NOT_TOLD, np.nan  # what locs tell is their own cluster's
    return rows | {
        "cluster_channel": found.channel,
        "parent": found.parent,
        "n_children": n_children,
        "nearest_nm": _nearest(rows, found.channel, n_children > 0, in_space=z_nm is not None),
        "n_molecules": copy_numbers(rows["n_locs"], locs_per_molecule=locs_per_molecule),
    }


def _describe(
    rows: dict[str, NDArray[Any]],
    locs: NDArray[np.intp],
    label_of: NDArray[np.int32],
    found: Labelled,
    places: Sequence[NDArray[np.floating] | None],
) -> None:
    """Fill in the rows that these labels of these locs speak of."""
    numbers, label = np.unique(label_of, return_inverse=True)
    x_nm, y_nm, z_nm = (None if axis is None else axis[locs] for axis in places)
    assert x_nm is not None
    assert y_nm is not None
    shapes = describe_clusters(x_nm, y_nm, label)
    known: dict[str, NDArray[Any]] = {
        "n_locs": shapes.n_locs,
        "x_nm": shapes.x_nm,
        "y_nm": shapes.y_nm,
        "radius_of_gyration_nm": shapes.radius_nm,
    }
    known |= {"area_nm2": np.where(shapes.area_nm2 > 0, shapes.area_nm2, np.nan), "eccentricity": shapes.eccentricity}
    if z_nm is not None:
        known["z_nm"] = _mean_known(z_nm, label, len(numbers))
    if found.belonging is not None:
        known["belonging_mean"] = np.bincount(label, weights=found.belonging[locs]) / shapes.n_locs
    if found.shape is not None:
        known["shape"], known["shape_share"] = most_told(found.shape[locs], label, shapes.n_locs)
    for name, values in known.items():
        rows[name][numbers] = values


def _mean_known(values: NDArray[np.floating], label: NDArray[np.integer], n: int) -> NDArray[np.float64]:
    """Mean of each label's finite values; NaN where it has none."""
    known = np.isfinite(values)
    count = np.bincount(label[known], minlength=n)
    total = np.bincount(label[known], weights=values[known], minlength=n)
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
    return mean


def most_told(
    shape: NDArray[np.uint8], label: NDArray[np.integer], n_locs: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The shape that most locs of each cluster tell, and the share of all its locs that do; `NOT_TOLD` and NaN where none tells one.

    Parameters
    ----------
    shape : (m,) class of each loc, 0 = background, which is no shape; class k is shape k - 1
    label : (m,) 0 ... c - 1
    n_locs : (c,)
    """
    n_classes = int(shape.max(initial=0)) + 1
    votes = np.bincount(label * n_classes + shape, minlength=len(n_locs) * n_classes).reshape(len(n_locs), n_classes)[:, 1:]
    if votes.shape[1] == 0:
        return np.full(len(n_locs), NOT_TOLD, np.uint8), np.full(len(n_locs), np.nan)
    most = votes.max(axis=1)
    told = np.where(most > 0, votes.argmax(axis=1), NOT_TOLD).astype(np.uint8)
    return told, np.where(most > 0, most / n_locs, np.nan)


def _nearest(
    rows: Mapping[str, NDArray[Any]], channel: NDArray[np.uint8], is_parent: NDArray[np.bool_], *, in_space: bool
) -> NDArray[np.float64]:
    """Distances among clusters of the same channel and level; in the plane where one of them has no z."""
    distances = np.full(len(channel), np.nan)
    group = channel.astype(np.int64) * 2 + is_parent
    for one in np.unique(group):
        own = np.flatnonzero(group == one)
        z_nm = rows["z_nm"][own] if in_space and np.isfinite(rows["z_nm"][own]).all() else None
        distances[own] = nearest_nm(rows["x_nm"][own], rows["y_nm"][own], z_nm)
    return distances
