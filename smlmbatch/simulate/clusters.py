"""Fields with clusters of many shapes, sizes and densities and their truth: what a network that finds clusters learns from.

A field is drawn in two goes. First its plan: what kind of clusters, how large, how many members, how much background, whether molecules
blink; plans that show nothing to be learned (clusters hardly denser than the background, of fewer than 5 molecules, or smaller than
the localisation error) are drawn again. Then its locs. Clusters may overlap; half of the fields are cut by their window as real ones
are, half hold their clusters whole. All of it is a function of (seed, number).

Sizes are rms distances from the centre: sqrt(2) sigma for a Gaussian spot.
"""

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
_TRIES: Final = 100_000  # one plan in some tens is good


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFields:
    """The family of fields. Ranges are drawn log-uniformly unless said otherwise.

    Attributes
    ----------
    locs : in a field; few are drawn more often than many
    rms_nm : typical size of a field's clusters; graded ones go further
    molecules : typical number in a cluster
    coverage : share of the window that lies within a cluster's rms size
    background_share : of all locs, uniform
    blinking : share of fields whose molecules are seen several times
    blinks : mean number of locs of a blinking molecule (geometric)
    error_nm : localisation error of a field
    graded : share of fields whose clusters differ in size
    least_sigma_errors : of a cluster's sigma over the localisation error
    empty : share of fields without any cluster
    nested : share of fields whose clusters stand in groups (parents)
    least_contrast : of the density within a cluster's rms size over the background's
    """

    locs: tuple[int, int] = (300, 5000)
    side_um: tuple[float, float] = (1.0, 4.0)
    rms_nm: tuple[float, float] = (10.0, 120.0)
    molecules: tuple[float, float] = (5.0, 150.0)
    coverage: tuple[float, float] = (0.003, 0.4)
    background_share: tuple[float, float] = (0.05, 0.85)
    blinking: float = 0.5
    blinks: tuple[float, float] = (1.5, 8.0)
    error_nm: tuple[float, float] = (5.0, 25.0)
    graded: float = 0.4
    empty: float = 0.03
    nested: float = 0.05
    least_contrast: float = 4.0
    least_sigma_errors: float = 1.2

    def __post_init__(self) -> None:
        for name in ("locs", "side_um", "rms_nm", "molecules", "coverage", "background_share", "blinks", "error_nm"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} = {[low, high]}: wanted two numbers above 0, the lower first")
        for name in ("blinking", "graded", "empty", "nested"):
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
    """

    xy_nm: NDArray[np.float32]
    cluster: NDArray[np.int32]
    centre_nm: NDArray[np.float32]
    rms_nm: NDArray[np.float32]
    shape: NDArray[np.int32]
    parent: NDArray[np.int32]
    blinking: bool

    @property
    def size(self) -> NDArray[np.int64]:
        """Locs of each cluster."""
        return np.bincount(self.cluster, minlength=len(self.rms_nm) + 1)[1:]


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is settled before a plan is tried, so that refusing plans doesn't shift how often these occur."""

    blinking: bool
    graded: bool
    n_locs: float
    background: float  # share of locs


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a field will hold; arrays have an entry for each cluster."""

    side_nm: float
    n_background: int  # molecules
    blinks: float  # mean locs of a molecule
    error_nm: float
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
    xy_nm, cluster = _seen(rng, plan, xy_nm, cluster)
    if not whole:
        inside = ((xy_nm >= 0) & (xy_nm < plan.side_nm)).all(axis=1)
        xy_nm, cluster = xy_nm[inside], cluster[inside]
    order = rng.permutation(len(xy_nm))
    return _field(xy_nm[order].astype(np.float32), cluster[order], plan, parent)


# ---- the plan


def _plan(rng: np.random.Generator, family: ClusterFields) -> _Plan:
    """A plan that shows something; what is drawn before the tries is not changed by which of them are refused."""
    traits = _Traits(
        blinking=bool(rng.random() < family.blinking),
        graded=bool(rng.random() < family.graded),
        n_locs=family.locs[0] * (family.locs[1] / family.locs[0]) ** (rng.random() ** 1.5),
        background=rng.uniform(*family.background_share),
    )
    empty = rng.random() < family.empty
    for _ in range(_TRIES):
        plan = _empty_plan(rng, family, traits) if empty else _drawn_plan(rng, family, traits)
        if plan is not None:
            return plan
    raise ConfigError(f"hardly any field can be drawn with {traits} of {family}: wanted ranges that go together")


def _sighting(rng: np.random.Generator, family: ClusterFields, traits: _Traits) -> tuple[float, float]:
    """Locs of a molecule, and their error."""
    return (_log_uniform(rng, family.blinks), _log_uniform(rng, family.error_nm)) if traits.blinking else (1.0, 0.0)


def _empty_plan(rng: np.random.Generator, family: ClusterFields, traits: _Traits) -> _Plan:
    blinks, error_nm = _sighting(rng, family, traits)
    nothing, none = np.empty(0, dtype=np.int64), np.empty(0)
    side_nm = _log_uniform(rng, family.side_um) * _NM_PER_UM
    return _Plan(side_nm, round(traits.n_locs / blinks), blinks, error_nm, nothing, none, nothing, none)


def _drawn_plan(rng: np.random.Generator, family: ClusterFields, traits: _Traits) -> _Plan | None:
    """A plan, or None where it shows nothing to be learned."""
    blinks, error_nm = _sighting(rng, family, traits)
    rms_nm, members = _log_uniform(rng, family.rms_nm), _log_uniform(rng, family.molecules)
    n_clusters = round(traits.n_locs * (1 - traits.background) / (members * blinks))
    if not 1 <= n_clusters <= _MOST_CLUSTERS:
        return None
    side_nm = np.sqrt(n_clusters * np.pi * rms_nm**2 / _log_uniform(rng, family.coverage))
    if not family.side_um[0] <= side_nm / _NM_PER_UM <= family.side_um[1]:
        return None
    shape = _shapes(rng, n_clusters)
    sizes_nm, molecules = _sizes(rng, family, n_clusters, graded=traits.graded, rms_nm=rms_nm, members=members)
    least = np.where(np.isin(shape, [_NAMES.index(name) for name in _HOLLOW]), _HOLLOW_TIMES, 1) * family.molecules[0]
    n_background = round(traits.n_locs * traits.background / blinks)
    contrast = molecules / (np.pi * sizes_nm**2) / max(n_background / side_nm**2, 1e-12)
    if (molecules < least).any() or (contrast < family.least_contrast).any():
        return None
    if (sizes_nm < np.sqrt(2.0) * family.least_sigma_errors * error_nm).any():
        return None
    return _Plan(side_nm, n_background, blinks, error_nm, molecules, sizes_nm, shape, np.repeat(rng.random(), n_clusters))


def _shapes(rng: np.random.Generator, n: int) -> Ints:
    """One shape in most fields, two in the others."""
    shapes = rng.choice(len(_SHARES), 2 if rng.random() < 0.2 else 1, replace=False, p=_SHARES)
    return shapes[rng.integers(0, len(shapes), n)]


def _sizes(rng: np.random.Generator, family: ClusterFields, n: int, *, graded: bool, rms_nm: float, members: float) -> tuple[Floats, Ints]:
    """Size and molecules of each cluster: equal, spread, or graded, where large ones hold more, by size or by area, or no more."""
    if graded:
        factor = rng.uniform(0.3, 1.7, n) if rng.random() < 0.5 else np.exp(rng.normal(0.0, rng.uniform(0.2, 0.6), n))
        mean = members * factor ** rng.choice([0.0, 1.0, 2.0])
    else:
        factor = np.exp(rng.normal(0.0, rng.uniform(0.0, 0.15), n))
        mean = np.full(n, members)
    molecules = np.round(mean) if rng.random() < 0.5 else rng.poisson(mean)
    # a graded field is drawn again if one of its clusters is too small; without the floor hardly one would pass
    return rms_nm * factor, np.maximum(molecules, family.molecules[0]).astype(np.int64)


# ---- the locs


def _places(rng: np.random.Generator, plan: _Plan, family: ClusterFields) -> tuple[Ints, Floats]:
    """Parents (0 = none) and centres: anywhere, apart from one another, or on circles about parents."""
    n = len(plan.molecules)
    if n >= 6 and rng.random() < family.nested:
        parent = rng.integers(1, max(2, n // 5) + 1, n)
        middle = rng.uniform(0.0, plan.side_nm, (n, 2))[parent]
        angle, reach = rng.uniform(0.0, 2 * np.pi, n), 5.0 * plan.rms_nm.mean()
        return parent, middle + reach * np.column_stack([np.cos(angle), np.sin(angle)])
    if rng.random() < 0.5:
        return np.zeros(n, dtype=np.int64), rng.uniform(0.0, plan.side_nm, (n, 2))
    return np.zeros(n, dtype=np.int64), _apart(rng, n, plan.side_nm)


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


def _seen(rng: np.random.Generator, plan: _Plan, xy_nm: Floats, cluster: Ints) -> tuple[Floats, Ints]:
    """Locs of molecules: a geometric number each, scattered by the localisation error, which differs from loc to loc."""
    if plan.blinks == 1.0:
        return xy_nm, cluster
    owner = np.repeat(np.arange(len(xy_nm)), rng.geometric(1.0 / plan.blinks, len(xy_nm)))
    error_nm = plan.error_nm * np.exp(rng.normal(0.0, 0.25, len(owner)))
    return xy_nm[owner] + rng.normal(size=(len(owner), 2)) * error_nm[:, None], cluster[owner]


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
    )


def _log_uniform(rng: np.random.Generator, between: tuple[float, float]) -> float:
    low, high = np.log(between)
    return float(np.exp(rng.uniform(low, high)))
