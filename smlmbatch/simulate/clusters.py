"""Fields with clusters of many shapes, sizes and densities and their truth: what a network that finds clusters learns from.

A field is drawn in two goes. First its plan: how many locs, how much background and by how much clusters stand out of it, whether
molecules blink; then kind, size and members of the clusters, drawn again until they make a window of a useful side. Nothing is drawn that
shows nothing to be learned: clusters hardly denser than the background, of fewer than 5 molecules, or smaller than the localisation
error. Then its locs. Clusters may overlap; half of the fields are cut by their window as real ones are, half hold their clusters whole.
All of it is a function of (seed, number).

How often faint clusters occur is drawn, not left to the other ranges: a network believes what it was shown, and one that met mostly
obvious clusters says of a background's chance groups, too, that they are some.

Sizes are rms distances from the centre: sqrt(2) sigma for a Gaussian spot.
"""

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cluster_shapes import SHAPES, unit_members

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PURPOSE: Final = 0x3120  # of the generator's key
_NAMES: Final = tuple(SHAPES)
_HOLLOW: Final = frozenset({"ring", "c", "fibre"})  # shapes that few molecules don't show
_SHARES: Final = (0.42, 0.24, 0.10, 0.09, 0.07, 0.08)  # of fields, by shape in the order of SHAPES: most clusters are blobs
_NM_PER_UM: Final = 1e3
_HOLLOW_TIMES: Final = 3  # as many molecules at least
_MOST_CLUSTERS: Final = 200
_BLINKING_TIMES: Final = 2  # as many locs in fields whose molecules are seen several times: these hold fewer molecules all the same
_TRIES: Final = 100_000  # one plan in some tens is good


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFields:
    """The family of fields. Ranges are drawn log-uniformly unless said otherwise.

    Attributes
    ----------
    locs : in a field, twice these where molecules blink; few are drawn more often than many
    rms_nm : typical size of a field's clusters; graded ones go further
    molecules : typical number in a cluster
    contrast : of the density of locs within the clusters' rms sizes over the background's, typical of a field; higher where there is little
        background
    coverage : share of the window that lies within a cluster's rms size
    background_share : of all locs, uniform
    blinking : share of fields whose molecules are seen several times
    blinks : mean number of locs of a blinking molecule (geometric)
    error_nm : localisation error of a field, typical
    error_spread : of its logarithm from loc to loc, uniform
    graded : share of fields whose clusters differ in size
    least_sigma_errors : of a cluster's sigma over the localisation error
    empty : share of fields without any cluster
    nested : share of fields whose clusters stand in groups (parents)
    close : share of the other fields in which every second cluster or so stands close to another, or overlaps with it
    least_contrast : of each cluster; those that would have less hold more molecules
    """

    locs: tuple[int, int] = (300, 5000)
    side_um: tuple[float, float] = (0.7, 4.0)
    rms_nm: tuple[float, float] = (10.0, 120.0)
    molecules: tuple[float, float] = (5.0, 150.0)
    contrast: tuple[float, float] = (4.0, 100.0)
    coverage: tuple[float, float] = (0.003, 0.4)
    background_share: tuple[float, float] = (0.05, 0.85)
    blinking: float = 0.5
    blinks: tuple[float, float] = (2.0, 8.0)
    error_nm: tuple[float, float] = (5.0, 25.0)
    error_spread: tuple[float, float] = (0.1, 0.5)
    graded: float = 0.4
    empty: float = 0.03
    nested: float = 0.05
    close: float = 0.3
    least_contrast: float = 3.0
    least_sigma_errors: float = 1.2

    def __post_init__(self) -> None:
        log_uniform = ("locs", "side_um", "rms_nm", "molecules", "contrast", "coverage", "blinks", "error_nm")
        for name in (*log_uniform, "background_share", "error_spread"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} = {[low, high]}: wanted two numbers above 0, the lower first")
        for name in ("blinking", "graded", "empty", "nested", "close"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: wanted a share of fields")
        if self.background_share[1] >= 1 or self.blinks[0] < 1:
            raise ConfigError(
                f"background_share = {list(self.background_share)}, blinks = {list(self.blinks)}: wanted shares below 1, means of 1 or more"
            )


@dataclass(frozen=True, slots=True)
class ClusterField:
    """A field with its truth.

    Attributes
    ----------
    xy_nm : (n, 2) f4, nm, shuffled
    cluster : (n,) i4 from 1, 0 = background
    centre_nm, rms_nm : (c, 2), (c,) f4, nm, mean and rms distance of each cluster's locs in the field
    shape, parent : (c,) i4, index into SHAPES; parent from 1, 0 = none
    blinking : whether molecules were seen several times
    error_nm : localisation error of those that were
    molecule : (n,) i4, which of the field's molecules each loc is of, or None
    precision_nm : (n,) f4, error that each loc was drawn with, 0 where molecules were seen once; or None
    """

    xy_nm: NDArray[np.float32]
    cluster: NDArray[np.int32]
    centre_nm: NDArray[np.float32]
    rms_nm: NDArray[np.float32]
    shape: NDArray[np.int32]
    parent: NDArray[np.int32]
    blinking: bool
    error_nm: float
    molecule: NDArray[np.int32] | None = None
    precision_nm: NDArray[np.float32] | None = None

    @property
    def size(self) -> NDArray[np.int64]:
        """Locs of each cluster."""
        return np.bincount(self.cluster, minlength=len(self.rms_nm) + 1)[1:]


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is settled before a plan is tried, so that refusing plans doesn't shift how often these occur."""

    graded: bool
    n_locs: float
    background: float  # share of locs
    coverage: float
    blinks: float  # mean locs of a molecule
    error_nm: float
    error_spread: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a field will hold; arrays have an entry for each cluster."""

    side_nm: float
    n_background: int  # molecules
    blinks: float  # mean locs of a molecule
    error_nm: float
    error_spread: float
    molecules: Ints
    rms_nm: Floats
    shape: Ints
    form: Floats


def draw_cluster_field(seed: int, number: int, family: ClusterFields | None = None) -> ClusterField:
    """Field `number` of a family: a function of (family, seed, number) alone."""
    family = family or ClusterFields()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSE, number)))
    plan = _plan(rng, family)
    parent, centre_nm = _places(rng, plan, family)
    whole = bool(rng.random() < 0.5)
    xy_nm, cluster = _molecules(rng, plan, centre_nm)
    xy_nm, molecule, error_nm = _seen(rng, plan, xy_nm)
    inside = np.flatnonzero(((xy_nm >= 0) & (xy_nm < plan.side_nm)).all(axis=1)) if not whole else np.arange(len(xy_nm))
    order = inside[rng.permutation(len(inside))]
    field = _field(xy_nm[order].astype(np.float32), cluster[molecule[order]], plan, parent)
    return dataclasses.replace(field, molecule=molecule[order].astype(np.int32), precision_nm=error_nm[order].astype(np.float32))


# ---- the plan


def _plan(rng: np.random.Generator, family: ClusterFields) -> _Plan:
    """A plan that shows something; what is drawn before the tries is not changed by which of them are refused."""
    blinking = bool(rng.random() < family.blinking)
    background = rng.uniform(*family.background_share)
    of_clusters = (1.0 - background) / background  # contrast times coverage
    lowest = max(family.contrast[0], of_clusters / family.coverage[1])
    highest = min(max(family.contrast[1], 2.0 * lowest), of_clusters / family.coverage[0])
    traits = _Traits(
        graded=bool(rng.random() < family.graded),
        n_locs=(_BLINKING_TIMES if blinking else 1) * family.locs[0] * (family.locs[1] / family.locs[0]) ** (rng.random() ** 1.5),
        background=background,
        coverage=of_clusters / _log_uniform(rng, (lowest, max(lowest, highest))),
        blinks=_log_uniform(rng, family.blinks) if blinking else 1.0,
        error_nm=_log_uniform(rng, family.error_nm) if blinking else 0.0,
        error_spread=rng.uniform(*family.error_spread),
    )
    empty = rng.random() < family.empty
    for _ in range(_TRIES):
        plan = _empty_plan(rng, family, traits) if empty else _drawn_plan(rng, family, traits)
        if plan is not None:
            return plan
    raise ConfigError(f"hardly any field can be drawn with {traits} of {family}: wanted ranges that go together")


def _empty_plan(rng: np.random.Generator, family: ClusterFields, traits: _Traits) -> _Plan:
    nothing, none = np.empty(0, dtype=np.int64), np.empty(0)
    side_nm = _log_uniform(rng, family.side_um) * _NM_PER_UM
    return _planned(traits, side_nm, round(traits.n_locs / traits.blinks), nothing, none, nothing, none)


def _drawn_plan(rng: np.random.Generator, family: ClusterFields, traits: _Traits) -> _Plan | None:
    """A plan, or None where the clusters drawn don't suit the field."""
    least_nm = np.sqrt(2.0) * family.least_sigma_errors * traits.error_nm
    if least_nm > family.rms_nm[1]:
        return None
    rms_nm, members = _log_uniform(rng, (max(family.rms_nm[0], least_nm), family.rms_nm[1])), _log_uniform(rng, family.molecules)
    n_clusters = round(traits.n_locs * (1 - traits.background) / (members * traits.blinks))
    if not 1 <= n_clusters <= _MOST_CLUSTERS:
        return None
    side_nm = np.sqrt(n_clusters * np.pi * rms_nm**2 / traits.coverage)
    if not family.side_um[0] <= side_nm / _NM_PER_UM <= family.side_um[1]:
        return None
    n_background = round(traits.n_locs * traits.background / traits.blinks)
    shape = _shapes(rng, n_clusters)
    sizes_nm, molecules = _sizes(rng, n_clusters, graded=traits.graded, rms_nm=rms_nm, members=members)
    sizes_nm = np.maximum(sizes_nm, least_nm)
    fewest = np.where(np.isin(shape, [_NAMES.index(name) for name in _HOLLOW]), _HOLLOW_TIMES, 1) * family.molecules[0]
    visible = family.least_contrast * np.pi * sizes_nm**2 * n_background / side_nm**2
    molecules = np.ceil(np.maximum(np.maximum(molecules, fewest), visible)).astype(np.int64)
    return _planned(traits, side_nm, n_background, molecules, sizes_nm, shape, np.repeat(rng.random(), n_clusters))


def _planned(traits: _Traits, side_nm: float, n_background: int, molecules: Ints, rms_nm: Floats, shape: Ints, form: Floats) -> _Plan:
    return _Plan(side_nm, n_background, traits.blinks, traits.error_nm, traits.error_spread, molecules, rms_nm, shape, form)


def _shapes(rng: np.random.Generator, n: int) -> Ints:
    """One shape in most fields, two in the others."""
    shapes = rng.choice(len(_SHARES), 2 if rng.random() < 0.2 else 1, replace=False, p=_SHARES)
    return shapes[rng.integers(0, len(shapes), n)]


def _sizes(rng: np.random.Generator, n: int, *, graded: bool, rms_nm: float, members: float) -> tuple[Floats, Ints]:
    """Size and molecules of each cluster: equal, spread, or graded, where large ones hold more, by size or by area, or no more."""
    if graded:
        factor = rng.uniform(0.3, 1.7, n) if rng.random() < 0.5 else np.exp(rng.normal(0.0, rng.uniform(0.2, 0.6), n))
        mean = members * factor ** rng.choice([0.0, 1.0, 2.0])
    else:
        factor = np.exp(rng.normal(0.0, rng.uniform(0.0, 0.15), n))
        mean = np.full(n, members)
    kind = rng.random()
    molecules = np.round(mean) if kind < 0.45 else rng.poisson(mean) if kind < 0.85 else rng.geometric(1.0 / np.maximum(mean, 1.0))
    return rms_nm * factor, molecules.astype(np.int64)


# ---- the locs


def _places(rng: np.random.Generator, plan: _Plan, family: ClusterFields) -> tuple[Ints, Floats]:
    """Parents (0 = none) and centres: anywhere, apart from one another, or on circles about parents."""
    n = len(plan.molecules)
    if n >= 6 and rng.random() < family.nested:
        parent = rng.integers(1, max(2, n // 5) + 1, n)
        middle = rng.uniform(0.0, plan.side_nm, (n, 2))[parent]
        angle, reach = rng.uniform(0.0, 2 * np.pi, n), 5.0 * plan.rms_nm.mean()
        return parent, middle + reach * np.column_stack([np.cos(angle), np.sin(angle)])
    centre_nm = rng.uniform(0.0, plan.side_nm, (n, 2)) if rng.random() < 0.5 else _apart(rng, n, plan.side_nm)
    if rng.random() < family.close:
        centre_nm = _drawn_close(rng, centre_nm, plan.rms_nm)
    return np.zeros(n, dtype=np.int64), centre_nm


def _drawn_close(rng: np.random.Generator, centre_nm: Floats, rms_nm: Floats) -> Floats:
    """Every second cluster or so stands beside the one before it, so that pairs and chains arise: 1.5 to 4.5 sigma of a spot apart."""
    near = rng.random(len(centre_nm)) < 0.5
    angle, away = rng.uniform(0.0, 2 * np.pi, len(centre_nm)), rng.uniform(1.5, 4.5, len(centre_nm)) / np.sqrt(2.0)
    moved_nm = centre_nm.copy()
    for k in np.flatnonzero(near[1:]) + 1:
        step_nm = away[k] * 0.5 * (rms_nm[k] + rms_nm[k - 1])
        moved_nm[k] = moved_nm[k - 1] + step_nm * np.array([np.cos(angle[k]), np.sin(angle[k])])
    return moved_nm


def _apart(rng: np.random.Generator, n: int, side_nm: float, *, candidates: int = 6) -> Floats:
    """Each centre the farthest of some candidates from those before it (Mitchell 1991, best candidate)."""
    drawn = rng.uniform(0.0, side_nm, (n, candidates, 2))
    centre_nm = np.empty((n, 2))
    for k in range(n):
        if k == 0:
            centre_nm[k] = drawn[k, 0]
            continue
        gap2 = ((drawn[k][:, None] - centre_nm[:k]) ** 2).sum(axis=2).min(axis=1)
        centre_nm[k] = drawn[k, gap2.argmax()]
    return centre_nm


def _molecules(rng: np.random.Generator, plan: _Plan, centre_nm: Floats) -> tuple[Floats, Ints]:
    """Positions and clusters (from 1) of molecules, those of the background last."""
    of = np.repeat(np.arange(len(plan.molecules)), plan.molecules)
    unit = unit_members(rng, plan.shape[of], plan.form[of])
    angle = rng.uniform(0.0, 2 * np.pi, len(plan.molecules))[of]
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = np.column_stack([unit[:, 0] * cosine - unit[:, 1] * sine, unit[:, 0] * sine + unit[:, 1] * cosine])
    members_nm = centre_nm[of] + plan.rms_nm[of, None] * turned
    return np.concatenate([members_nm, _background(rng, plan)]), np.concatenate([of + 1, np.zeros(plan.n_background, dtype=np.int64)])


def _background(rng: np.random.Generator, plan: _Plan) -> Floats:
    """Uniform in most fields, in the others up to four times as dense on one side as on the other."""
    at = rng.random((plan.n_background, 2))
    if rng.random() < 0.25:
        steep = rng.uniform(0.2, 0.6)  # density 1 - steep + 2 steep u along x: solved for u of a uniform number
        at[:, 0] = (np.sqrt((1 - steep) ** 2 + 4 * steep * at[:, 0]) - (1 - steep)) / (2 * steep)
    return at * plan.side_nm


def _seen(rng: np.random.Generator, plan: _Plan, xy_nm: Floats) -> tuple[Floats, Ints, Floats]:
    """Locs of molecules, a geometric number each, scattered by the localisation error, which differs from loc to loc: places, molecules,
    errors."""
    if plan.blinks == 1.0:
        return xy_nm, np.arange(len(xy_nm)), np.zeros(len(xy_nm))
    owner = np.repeat(np.arange(len(xy_nm)), rng.geometric(1.0 / plan.blinks, len(xy_nm)))
    error_nm = plan.error_nm * np.exp(rng.normal(0.0, plan.error_spread, len(owner)))
    return xy_nm[owner] + rng.normal(size=(len(owner), 2)) * error_nm[:, None], owner, error_nm


def _field(xy_nm: NDArray[np.float32], cluster: Ints, plan: _Plan, parent: Ints) -> ClusterField:
    """The truth of what is left: clusters of fewer than 3 locs are background, the others numbered without gaps."""
    n_plan = len(plan.molecules)
    size = np.bincount(cluster, minlength=n_plan + 1)
    kept = (size >= 3) & (np.arange(n_plan + 1) > 0)
    number = np.where(kept, np.cumsum(kept), 0)
    cluster = number[cluster]
    n = int(kept.sum())
    count = np.bincount(cluster, minlength=n + 1)[1:]
    sums = [np.bincount(cluster, weights=values, minlength=n + 1)[1:] for values in xy_nm.astype(np.float64).T]
    centre_nm = np.column_stack(sums) / np.maximum(count, 1)[:, None]
    away2 = ((xy_nm - np.concatenate([np.zeros((1, 2)), centre_nm])[cluster]) ** 2).sum(axis=1)
    rms_nm = np.sqrt(np.bincount(cluster, weights=away2, minlength=n + 1)[1:] / np.maximum(count, 1))
    of = np.flatnonzero(kept) - 1
    return ClusterField(
        xy_nm=xy_nm,
        cluster=cluster.astype(np.int32),
        centre_nm=centre_nm.astype(np.float32),
        rms_nm=rms_nm.astype(np.float32),
        shape=plan.shape[of].astype(np.int32),
        parent=parent[of].astype(np.int32),
        blinking=plan.blinks > 1.0,
        error_nm=plan.error_nm,
    )


def _log_uniform(rng: np.random.Generator, between: tuple[float, float]) -> float:
    low, high = np.log(between)
    return float(np.exp(rng.uniform(low, high)))
