"""Fields of clusters that stand in groups: children about parents, as the corners of nuclear pores about the pores' middles.

What a network for two scales learns from. A quarter of the fields are nuclear pores: 8 corners on a ring of 45 to 65 nm, of which a part is
labelled. The others are rings of 3 to 10 corners of any size, loose heaps, and rows; some come with clusters that have no parent. Corners
of one or two locs stay in the truth: nobody can find them, but their locs belong to the parent all the same. A parent of fewer than
6 locs in fewer than 2 children shows nothing and is background.

All of it is a function of (family, seed, number).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cluster_shapes import SHAPES
from smlmbatch.simulate.clusters import ClusterField, ClusterFields

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PURPOSE: Final = 0x3121  # of the generator's key
SPOT: Final = tuple(SHAPES).index("spot")
_SIDE_NM: Final = (600.0, 4000.0)
_PARENTS: Final = (3, 150)
_LOCS_OF_CHILD: Final = (2.0, 60.0)  # typical, of a field; geometric within it. A measured nucleus has 40 to 60
_LABELLED: Final = (0.5, 1.0)  # share of children that are seen at all
_COVERAGE: Final = (0.03, 0.5)  # of the field by parents; 60 pores in 1 um2 are 0.57
_BACKGROUND: Final = (0.02, 0.5)  # share of locs
_LEAST_LOCS, _LEAST_CHILDREN = 6, 2  # of a parent
_TRIES: Final = 10_000  # one plan in some is good
_PLACES: Final = 40  # tried for a parent; one that finds no room is left out


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the children of one field's parents lie."""

    n_children: int
    sigma_nm: float
    reach_nm: float
    lay: Callable[[np.random.Generator, int, "_Kind"], Floats]  # → (parents, children, 2) nm about the parents


@dataclass(frozen=True, slots=True)
class _Plan:
    kind: _Kind
    labelled: float
    locs_of_child: float
    n_parents: int
    n_lone: int
    n_background: int  # locs
    side_nm: float
    blinks: float
    error_nm: float


def draw_nested_field(seed: int, number: int, family: ClusterFields | None = None) -> ClusterField:
    """Field `number`; of the family, `locs`, `blinking`, `blinks` and `least_contrast` are kept to.

    Returns
    -------
    ClusterField
        clusters are the children; `parent` from 1, 0 = a cluster without one

    Raises
    ------
    ConfigError
        the family's ranges leave no such field
    """
    family = family or ClusterFields()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSE, number)))
    plan = _plan(rng, family)
    whole = bool(rng.random() < 0.5)
    centre_nm, parent = _children(rng, plan)
    xy_nm, child = _locs(rng, plan, centre_nm, parent)
    if not whole:
        inside = ((xy_nm >= 0) & (xy_nm < plan.side_nm)).all(axis=1)
        xy_nm, child = xy_nm[inside], child[inside]
    order = rng.permutation(len(xy_nm))
    child = _without_faint(child[order], parent)
    shape = np.full(len(parent), SPOT)
    return measured_field(xy_nm[order], child, shape=shape, parent=parent, error_nm=plan.error_nm if plan.blinks > 1.0 else 0.0)


def measured_field(xy_nm: NDArray[np.floating], cluster: Ints, *, shape: Ints, parent: Ints, error_nm: float = 0.0) -> ClusterField:
    """A field whose truth is measured from its locs; clusters without locs are left out and the others numbered without gaps.

    Parameters
    ----------
    xy_nm : (n, 2), nm
    cluster : (n,) from 1, 0 = background
    shape, parent : (c,) of each cluster, as in ClusterField; parents too are numbered without gaps
    error_nm : localisation error of molecules seen several times; 0 = seen once
    """
    xy_nm = xy_nm.astype(np.float32)
    of, cluster = np.unique(np.concatenate([[0], cluster]), return_inverse=True)
    of, cluster, n = of[1:] - 1, cluster[1:], len(of) - 1
    count = np.maximum(np.bincount(cluster, minlength=n + 1)[1:], 1)
    centre_nm = np.column_stack(
        [np.bincount(cluster, weights=values, minlength=n + 1)[1:] / count for values in xy_nm.astype(np.float64).T]
    )
    away2 = ((xy_nm - np.concatenate([np.zeros((1, 2)), centre_nm])[cluster]) ** 2).sum(axis=1)
    _, number = np.unique(np.concatenate([[0], parent[of]]), return_inverse=True)
    return ClusterField(
        xy_nm=xy_nm,
        cluster=cluster.astype(np.int32),
        centre_nm=centre_nm.astype(np.float32),
        rms_nm=np.sqrt(np.bincount(cluster, weights=away2, minlength=n + 1)[1:] / count).astype(np.float32),
        shape=shape[of].astype(np.int32),
        parent=number[1:].astype(np.int32),
        blinking=error_nm > 0.0,
        error_nm=error_nm,
    )


# ---- the plan


def _plan(rng: np.random.Generator, family: ClusterFields) -> _Plan:
    blinking = bool(rng.random() < family.blinking)
    n_locs = family.locs[0] * (family.locs[1] / family.locs[0]) ** (rng.random() ** 1.5) * (1.5 if blinking else 1.0)
    for _ in range(_TRIES):
        plan = _drawn_plan(rng, family, n_locs, blinking=blinking)
        if plan is not None:
            return plan
    raise ConfigError(f"hardly any nested field of {n_locs:.0f} locs can be drawn from {family}: wanted ranges that go together")


def _drawn_plan(rng: np.random.Generator, family: ClusterFields, n_locs: float, *, blinking: bool) -> _Plan | None:
    """A plan, or None where it shows nothing to be learned."""
    names = tuple(_KINDS)
    kind = _KINDS[names[rng.choice(len(names), p=_SHARES)]](rng)
    labelled, background = rng.uniform(*_LABELLED), rng.uniform(*_BACKGROUND)
    locs_of_child = log_uniform(rng, _LOCS_OF_CHILD)
    locs_of_parent = kind.n_children * labelled * locs_of_child
    n_parents = round(n_locs * (1 - background) / locs_of_parent)
    area_nm2 = np.pi * (kind.reach_nm + kind.sigma_nm) ** 2
    side_nm = float(np.sqrt(n_parents * area_nm2 / log_uniform(rng, _COVERAGE)))
    n_background = round(n_locs * background)
    n_lone = round(n_parents * rng.uniform(0.0, 0.5)) if rng.random() < 0.5 else 0
    blinks = log_uniform(rng, family.blinks) if blinking else 1.0
    error_nm = kind.sigma_nm * rng.uniform(0.5, 0.95)
    if not (_PARENTS[0] <= n_parents <= _PARENTS[1] and _SIDE_NM[0] <= side_nm <= _SIDE_NM[1]) or locs_of_parent < _LEAST_LOCS:
        return None
    if locs_of_parent / area_nm2 < family.least_contrast * n_background / side_nm**2:
        return None
    return _Plan(kind, labelled, locs_of_child, n_parents, n_lone, n_background, side_nm, blinks, error_nm)


def _pore(rng: np.random.Generator) -> _Kind:
    """Eight corners; the radius of any nucleoporin's ring, with what the localisation error makes of it."""
    return _Kind(8, log_uniform(rng, (4.0, 14.0)), rng.uniform(45.0, 65.0), _on_ring)


def _ring(rng: np.random.Generator) -> _Kind:
    n, sigma_nm = int(rng.integers(3, 11)), log_uniform(rng, (4.0, 20.0))
    return _Kind(n, sigma_nm, log_uniform(rng, (2.0, 8.0)) * sigma_nm / (2.0 * np.sin(np.pi / n)), _on_ring)


def _heap(rng: np.random.Generator) -> _Kind:
    sigma_nm = log_uniform(rng, (4.0, 25.0))
    return _Kind(int(rng.integers(3, 13)), sigma_nm, log_uniform(rng, (4.0, 10.0)) * sigma_nm, _in_disc)


def _row(rng: np.random.Generator) -> _Kind:
    n, sigma_nm = int(rng.integers(3, 8)), log_uniform(rng, (4.0, 20.0))
    return _Kind(n, sigma_nm, log_uniform(rng, (3.0, 8.0)) * sigma_nm * (n - 1) / 2.0, _on_line)


def _on_ring(rng: np.random.Generator, n: int, kind: _Kind) -> Floats:
    """Regular, turned; in half of the fields rings differ by 5 % in radius and corners by some nm from their places."""
    angle = rng.uniform(0.0, 2 * np.pi, (n, 1)) + np.arange(kind.n_children) * (2 * np.pi / kind.n_children)
    loose = float(rng.random() < 0.5)
    radius_nm = kind.reach_nm * (1.0 + 0.05 * loose * rng.normal(size=(n, 1)))
    at = radius_nm[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    return np.asarray(at + 0.3 * kind.sigma_nm * loose * rng.normal(size=at.shape))


def _in_disc(rng: np.random.Generator, n: int, kind: _Kind) -> Floats:
    angle, radius_nm = rng.uniform(0.0, 2 * np.pi, (n, kind.n_children)), kind.reach_nm * np.sqrt(rng.random((n, kind.n_children)))
    return np.stack([radius_nm * np.cos(angle), radius_nm * np.sin(angle)], axis=2)


def _on_line(rng: np.random.Generator, n: int, kind: _Kind) -> Floats:
    angle, along = rng.uniform(0.0, np.pi, (n, 1)), np.linspace(-kind.reach_nm, kind.reach_nm, kind.n_children)
    return np.stack([along * np.cos(angle), along * np.sin(angle)], axis=2)


_KINDS: Final[Mapping[str, Callable[[np.random.Generator], _Kind]]] = MappingProxyType(
    {"pore": _pore, "ring": _ring, "heap": _heap, "row": _row}
)
_SHARES: Final = (0.25, 0.35, 0.25, 0.15)  # of plans, in the order of _KINDS


# ---- the locs


def _children(rng: np.random.Generator, plan: _Plan) -> tuple[Floats, Ints]:
    """Middles (c, 2) nm and parents (c,) of all labelled children; lone ones, of parent 0, last."""
    apart_nm = 2.0 * (plan.kind.reach_nm + plan.kind.sigma_nm) if plan.kind.lay is _on_ring or rng.random() < 0.5 else 0.0
    middle_nm = places_apart(rng, plan.n_parents, side_nm=plan.side_nm, apart_nm=apart_nm)
    at = middle_nm[:, None] + plan.kind.lay(rng, len(middle_nm), plan.kind)
    seen = rng.random(at.shape[:2]) < plan.labelled
    parent = np.repeat(np.arange(len(middle_nm))[:, None] + 1, plan.kind.n_children, axis=1)[seen]
    lone_nm = rng.uniform(0.0, plan.side_nm, (plan.n_lone, 2))
    return np.concatenate([at[seen], lone_nm]), np.concatenate([parent, np.zeros(plan.n_lone, dtype=np.int64)])


def places_apart(rng: np.random.Generator, n: int, *, side_nm: float, apart_nm: float) -> Floats:
    """Up to n places in a square, one after the other, none nearer than that to another: (m, 2) nm; those without room are left out."""
    kept = np.empty((0, 2))
    for _ in range(n):
        tried = rng.uniform(0.0, side_nm, (_PLACES, 2))
        free = (((tried[:, None] - kept) ** 2).sum(axis=2) >= apart_nm**2).all(axis=1)
        if free.any():
            kept = np.concatenate([kept, tried[free.argmax()][None]])
    return kept


def _locs(rng: np.random.Generator, plan: _Plan, centre_nm: Floats, parent: Ints) -> tuple[Floats, Ints]:
    """Positions and children (from 1; 0 = background) of all locs."""
    brightness = np.exp(0.3 * rng.normal(size=plan.n_parents + 1))[parent]
    molecules = rng.geometric(1.0 / np.maximum(plan.locs_of_child * brightness / plan.blinks, 1.0))
    of = np.repeat(np.arange(len(centre_nm)), molecules)
    # what the error adds to a child's width is taken from where its molecules lie
    scatter_nm = np.sqrt(plan.kind.sigma_nm**2 - plan.error_nm**2) if plan.blinks > 1.0 else plan.kind.sigma_nm
    members_nm = centre_nm[of] + scatter_nm * rng.normal(size=(len(of), 2))
    n_background = round(plan.n_background / plan.blinks)
    xy_nm = np.concatenate([members_nm, rng.uniform(0.0, plan.side_nm, (n_background, 2))])
    child = np.concatenate([of + 1, np.zeros(n_background, dtype=np.int64)])
    if plan.blinks == 1.0:
        return xy_nm, child
    owner = np.repeat(np.arange(len(xy_nm)), rng.geometric(1.0 / plan.blinks, len(xy_nm)))
    return xy_nm[owner] + plan.error_nm * rng.normal(size=(len(owner), 2)), child[owner]


def _without_faint(child: Ints, parent: Ints) -> Ints:
    """Children of parents that show too little, and lone ones of fewer than 3 locs, become background."""
    n_locs = np.bincount(child, minlength=len(parent) + 1)[1:]
    of_parent = np.bincount(parent, weights=n_locs)
    children = np.bincount(parent, weights=n_locs > 0)
    shows = np.where(parent > 0, (of_parent[parent] >= _LEAST_LOCS) & (children[parent] >= _LEAST_CHILDREN), n_locs >= 3)
    return np.where(np.concatenate([[False], shows])[child], child, 0)


def log_uniform(rng: np.random.Generator, between: tuple[float, float]) -> float:
    """One number whose logarithm is uniform."""
    low, high = np.log(between)
    return float(np.exp(rng.uniform(low, high)))
