"""Clusters that a user marked, and fields drawn from them: what a network that finds clusters is tuned on.

Templates are a table of locs with the number of their cluster: a few clusters alone, or whole fields with their background. Fields are
drawn at the density of the user's own: his clusters turned, mirrored, a little larger or smaller, with some locs dropped and others copied
beside; and his own background, mirrored and shifted as a whole (around the edges), for molecules that blink make clumps, and what a
clump of background looks like is what there is to be learned. Where there is no background, densities come from a range. Few templates are
varied more than many. All of it is a function of (templates, seed, number).

The published scheme (Pineda et al., MIRO, GraphDataset) draws locs from sixteen jittered copies of a cluster and turns them; it mirrors
nothing, keeps sizes as they are, and takes counts of clusters and background from the user.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError
from smlmbatch.simulate.clusters import ClusterField

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PURPOSE: Final = 0x7E41  # first number of the generator's key
_COLUMNS: Final = ("x_nm", "y_nm", "cluster")
_FEWEST: Final = 3  # locs of a cluster
_RMS_NM: Final = (1.0, 5000.0)  # what the typical cluster's size must lie between, or the table is not in nm
_WANT: Final = "a CSV with the columns x_nm, y_nm and cluster (1, 2, … ; 0, -1 or empty = in none), and `field` if there are several"

_KEPT: Final = (0.85, 1.0)  # share of a template's locs that a copy has
_SIZE_SD, _COUNT_SD = 0.1, 0.1  # of logarithms, for a single template; 1 / sqrt(templates) of it for several, which vary by themselves
_LEAST_SD: Final = 0.02
_JITTER, _BESIDE = 0.3, 1.0  # sd of a loc's, and of its copy's, displacement, in distances to its nearest neighbour
_NUMBERS: Final = (0.7, 1.4)  # clusters and background of a field, of what the user's have
# where only clusters are given
_COVERAGE: Final = (0.01, 0.25)  # share of the window that lies within clusters' rms size
_SHARE: Final = (0.05, 0.7)  # background, of all locs
_CONTRAST: Final = 4.0  # of the density within clusters over the background's, at least
_CLUSTERS: Final = (5, 25)
_BLINKS: Final = (2.0, 8.0)  # locs of a background molecule, and their error in nm
_ERROR_NM: Final = (5.0, 25.0)


@dataclass(frozen=True, slots=True)
class MarkedField:
    """Locs of one field: (n, 2) f8 nm from the field's corner, cluster (n,) i8 from 1, 0 = background."""

    xy_nm: Floats
    cluster: Ints

    @property
    def sides_nm(self) -> Floats:
        """(2,) of the box around all locs."""
        return np.asarray(np.maximum(self.xy_nm.max(axis=0), 1.0))

    @property
    def n_clusters(self) -> int:
        return int(self.cluster.max(initial=0))


@dataclass(frozen=True, slots=True)
class Templates:
    """What was marked.

    Attributes
    ----------
    fields : as given; a field whose locs are all marked shows clusters and no density
    clusters : of all fields, (n, 2) f8 nm about their means
    sha256 : of all locs, in order
    conditions : of fields with a marked cluster, in the order in which they come; empty = the table doesn't tell all of them
    """

    fields: tuple[MarkedField, ...]
    clusters: tuple[Floats, ...]
    sha256: str
    conditions: tuple[str, ...] = ()

    @property
    def size(self) -> Ints:
        """Locs of each cluster: (c,) i8."""
        return np.array([len(xy) for xy in self.clusters])

    @property
    def rms_nm(self) -> Floats:
        """rms distance from its mean of each cluster: (c,) f8."""
        return np.array([np.sqrt((xy**2).sum(axis=1).mean()) for xy in self.clusters])

    @property
    def whole(self) -> tuple[MarkedField, ...]:
        """Fields that have a background."""
        return tuple(field for field in self.fields if (field.cluster == 0).any())


# ---- reading


def read_templates(path: Path) -> Templates:
    """Marked clusters of a CSV.

    Raises
    ------
    InputError
        no table, a column is missing, a position or label that is no number, no cluster at all, one of fewer than 3 locs, or sizes that
        can't be nm
    """
    table = _read_table(path)
    xy_nm = np.column_stack([_numbers(path, table, name) for name in ("x_nm", "y_nm")])
    cluster, field = _cluster_numbers(path, table), _field_numbers(path, table)
    marked = templates_of(path, [(xy_nm[field == k], cluster[field == k]) for k in range(int(field.max(initial=-1)) + 1)])
    return replace(marked, conditions=_conditions(table, cluster))


def templates_of(path: Path | str, fields: list[tuple[NDArray[np.floating], NDArray[np.integer]]]) -> Templates:
    """Templates of fields' positions (n, 2) nm and cluster numbers (n,), less than 1 = background.

    Raises
    ------
    InputError
        as `read_templates`, which names the file `path`
    """
    marked = []
    for xy_nm, number in fields:
        known, which = np.unique(np.where(number > 0, number, 0), return_inverse=True)
        cluster = which + (known[0] > 0)
        places = np.asarray(xy_nm, dtype=np.float64)
        size = np.bincount(cluster)[1:]
        if len(size) and size.min() < _FEWEST:
            finding = f"cluster {known[known > 0][size.argmin()]} has {size.min()} locs"
            raise InputError(path, finding, f"{_FEWEST} or more in each", "mark it as background (0), or mark all of its locs")
        marked.append(MarkedField(places - places.min(axis=0), cluster))
    clusters = tuple(_centred(field.xy_nm[field.cluster == k + 1]) for field in marked for k in range(field.n_clusters))
    if not clusters:
        raise InputError(path, "no loc is in a cluster", "one cluster or more", "give the locs of each cluster a number from 1")
    digest = hashlib.sha256()
    for field in marked:
        digest.update(np.int64(len(field.cluster)).tobytes() + field.xy_nm.tobytes() + field.cluster.astype(np.int64).tobytes())
    templates = Templates(tuple(marked), clusters, digest.hexdigest())
    _check_unit(path, float(np.median(templates.rms_nm)))
    return templates


def _centred(xy_nm: Floats) -> Floats:
    return np.asarray(xy_nm - xy_nm.mean(axis=0))


def _check_unit(path: Path | str, rms_nm: float) -> None:
    low, high = _RMS_NM
    if not low <= rms_nm <= high:
        unit = "metres, micrometres or pixels" if rms_nm < low else "a smaller unit"
        finding = f"the typical cluster has an rms radius of {rms_nm:.3g} nm: positions seem to be in {unit}"
        raise InputError(path, finding, f"{low:g} to {high:,.0f} nm", "give x_nm and y_nm in nanometres")


def _read_table(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.csv

    if not path.is_file():
        raise InputError(path, "there is no such file", _WANT, "correct what --templates names")
    try:
        table = pyarrow.csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, f"can't be read: {error}", _WANT, "export it again") from error
    table = table.rename_columns([name.strip() for name in table.column_names])
    missing = [name for name in _COLUMNS if table.column_names.count(name) != 1]
    if missing:
        found = ", ".join(table.column_names)
        raise InputError(path, f"no column {missing[0]}, or several; it has {found}", _WANT, "rename its columns")
    if len(table) == 0:
        raise InputError(path, "holds no loc", _WANT, "export it again")
    return table


def _numbers(path: Path, table: "pa.Table", name: str) -> Floats:
    import pyarrow as pa

    values = table[name]
    numeric = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    numbers = values.to_numpy().astype(np.float64) if numeric else np.full(len(values), np.nan)
    lost = int(np.count_nonzero(~np.isfinite(numbers)))
    if lost:
        raise InputError(path, f"{lost} of {len(values)} cells of column {name} are no finite number", "positions in nm", "drop those locs")
    return np.asarray(numbers)


def _cluster_numbers(path: Path, table: "pa.Table") -> Ints:
    """Of each loc, 0 where the cell is empty."""
    import pyarrow as pa

    values = table["cluster"]
    numbers = values.to_numpy() if pa.types.is_floating(values.type) or pa.types.is_integer(values.type) else None
    if pa.types.is_null(values.type):
        return np.zeros(len(values), dtype=np.int64)
    given = numbers is not None and np.nan_to_num(numbers.astype(np.float64), nan=0.0)
    if numbers is None or not np.array_equal(given, np.round(given)):
        mend = "number clusters from 1, and leave the cell empty, or 0 or -1, for locs in none"
        raise InputError(path, "column cluster holds something else than whole numbers", _WANT, mend)
    return np.asarray(given, dtype=np.int64)


def _field_numbers(path: Path, table: "pa.Table") -> Ints:
    """Which field each loc is of, from 0 in the order in which they come."""
    if "field" not in table.column_names:
        return np.zeros(len(table), dtype=np.int64)
    values: list[Any] = table["field"].to_pylist()
    if None in values:
        raise InputError(path, f"{values.count(None)} cells of column field are empty", _WANT, "say of each loc which field it is of")
    known = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([known[value] for value in values], dtype=np.int64)


def _conditions(table: "pa.Table", cluster: Ints) -> tuple[str, ...]:
    """Of what was marked; none where a marked loc has no entry: part of them would be taken for all."""
    if "condition" not in table.column_names:
        return ()
    given = [value for value, number in zip(table["condition"].to_pylist(), cluster.tolist(), strict=True) if number > 0]
    told = tuple(dict.fromkeys("" if value is None else str(value).strip() for value in given))
    return () if "" in told else told


# ---- drawing


def draw_template_field(templates: Templates, *, seed: int, number: int, blinking: bool | None, most_locs: int = 5000) -> ClusterField:
    """Field `number`: a function of all that is given alone.

    Parameters
    ----------
    blinking : whether molecules are seen several times; None = not known. Where they are not, background is uniform
    most_locs : about the largest field; larger ones of the user's are drawn as a window of this many
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSE, number)))
    if templates.whole:
        own = templates.whole[rng.integers(len(templates.whole))]
        sides_nm, n_clusters, background_nm = _like(rng, own, blinking=blinking is not False, most_locs=most_locs)
    else:
        sides_nm, n_clusters, background_nm = _ranged(rng, templates, blinking=blinking is True, most_locs=most_locs)
    members = [_copy(rng, templates) + centre_nm for centre_nm in rng.uniform(0.0, sides_nm, (n_clusters, 2))]
    xy_nm = np.concatenate([*members, background_nm])
    cluster = np.repeat(np.arange(n_clusters + 1), [*map(len, members), len(background_nm)])
    cluster = np.where(cluster == n_clusters, 0, cluster + 1)
    if rng.random() < 0.5:  # clusters at the edge are cut, as by a camera; or not, as where a region was chosen
        inside = ((xy_nm >= 0) & (xy_nm < sides_nm)).all(axis=1)
        xy_nm, cluster = xy_nm[inside], cluster[inside]
    order = rng.permutation(len(xy_nm))
    return _with_truth(xy_nm[order].astype(np.float32), cluster[order], blinking=blinking is True)


def _copy(rng: np.random.Generator, templates: Templates) -> Floats:
    """A cluster like one of the templates, about the origin."""
    n = len(templates.clusters)
    xy_nm = templates.clusters[rng.integers(n)]
    size_sd, count_sd = (max(_LEAST_SD, sd / np.sqrt(n)) for sd in (_SIZE_SD, _COUNT_SD))
    xy_nm = _resampled(rng, xy_nm, times=float(np.exp(count_sd * rng.normal()))) * np.exp(size_sd * rng.normal())
    angle = rng.uniform(0.0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle) * (-1 if rng.random() < 0.5 else 1)
    mirror = 1.0 if rng.random() < 0.5 else -1.0
    return np.column_stack([xy_nm[:, 0] * cosine - xy_nm[:, 1] * sine, mirror * (xy_nm[:, 0] * sine + xy_nm[:, 1] * cosine)])


def _resampled(rng: np.random.Generator, xy_nm: Floats, *, times: float) -> Floats:
    """Some locs dropped, others copied, so that there are so many times as many; all moved a little."""
    kept = np.flatnonzero(rng.random(len(xy_nm)) < rng.uniform(*_KEPT))
    wanted = max(_FEWEST, round(times * len(xy_nm)))
    kept = rng.permutation(kept)[:wanted]
    chosen = np.concatenate([kept, rng.integers(0, len(xy_nm), wanted - len(kept))])
    sd_nm = np.where(np.arange(wanted) < len(kept), _JITTER, _BESIDE) * _nearest_nm(xy_nm)[chosen]
    return np.asarray(xy_nm[chosen] + sd_nm[:, None] * rng.normal(size=(len(chosen), 2)))


def _nearest_nm(xy_nm: Floats) -> Floats:
    """Distance to the nearest other loc, at most the typical one: (n,). A stray loc keeps its place within reason."""
    from scipy.spatial import cKDTree

    near_nm = cKDTree(xy_nm).query(xy_nm, k=2)[0][:, 1]
    return np.asarray(np.minimum(near_nm, np.median(near_nm)))


def _like(rng: np.random.Generator, own: MarkedField, *, blinking: bool, most_locs: int) -> tuple[Floats, int, Floats]:
    """Sides (2,), number of clusters and background (n, 2) of a field like one of the user's, all in nm."""
    times = rng.uniform(*_NUMBERS, 2)
    n_background = int((own.cluster == 0).sum())
    expected = times[0] * (len(own.cluster) - n_background) + times[1] * n_background
    share = min(1.0, most_locs / expected)  # of the area
    sides_nm = own.sides_nm * np.sqrt(share)
    if blinking:
        background_nm = _resampled(rng, _shifted(rng, own), times=1.0)
        background_nm = background_nm[((background_nm >= 0) & (background_nm < sides_nm)).all(axis=1)]
    else:
        background_nm = rng.uniform(0.0, sides_nm, (rng.poisson(times[1] * n_background * share), 2))
    return sides_nm, max(1, rng.poisson(times[0] * own.n_clusters * share)), background_nm


def _shifted(rng: np.random.Generator, own: MarkedField) -> Floats:
    """The field's background mirrored and shifted around its edges: (n, 2) nm."""
    xy_nm, sides_nm = own.xy_nm[own.cluster == 0], own.sides_nm
    mirrored = np.where(rng.random(2) < 0.5, sides_nm - xy_nm, xy_nm)
    return np.asarray((mirrored + rng.uniform(0.0, sides_nm)) % sides_nm)


def _ranged(rng: np.random.Generator, templates: Templates, *, blinking: bool, most_locs: int) -> tuple[Floats, int, Floats]:
    """As `_like`, of a field whose densities nobody knows."""
    n_locs, rms_nm = float(np.mean(templates.size)), float(np.sqrt(np.mean(templates.rms_nm**2)))
    n_clusters = int(np.clip(rng.integers(*_CLUSTERS), 1, max(1, round(most_locs * (1 - _SHARE[1]) / n_locs))))
    low, high = np.log(_COVERAGE)
    side_nm = float(np.sqrt(n_clusters * np.pi * rms_nm**2 / np.exp(rng.uniform(low, high))))
    share = rng.uniform(*_SHARE)
    most = n_locs / (np.pi * rms_nm**2) / _CONTRAST * side_nm**2
    n_background = round(min(n_clusters * n_locs * share / (1 - share), most))
    if not blinking:
        return np.full(2, side_nm), n_clusters, rng.uniform(0.0, side_nm, (n_background, 2))
    blinks = min(float(rng.uniform(*_BLINKS)), max(1.0, n_locs / 5))
    seen = rng.geometric(1.0 / blinks, max(1, round(n_background / blinks)))
    places_nm = np.repeat(rng.uniform(0.0, side_nm, (len(seen), 2)), seen, axis=0)
    error_nm = min(float(rng.uniform(*_ERROR_NM)), rms_nm / 2)
    return np.full(2, side_nm), n_clusters, places_nm + error_nm * rng.normal(size=places_nm.shape)


def _with_truth(xy_nm: NDArray[np.float32], cluster: Ints, *, blinking: bool) -> ClusterField:
    """The truth of what is left: clusters of fewer than 3 locs are background, the others numbered without gaps."""
    size = np.bincount(cluster)
    kept = (size >= _FEWEST) & (np.arange(len(size)) > 0)
    cluster = np.where(kept, np.cumsum(kept), 0)[cluster]
    n = int(kept.sum())
    count = np.maximum(np.bincount(cluster, minlength=n + 1), 1)
    centre_nm = np.column_stack([np.bincount(cluster, weights=values, minlength=n + 1) / count for values in xy_nm.astype(np.float64).T])
    away2 = ((xy_nm - centre_nm[cluster]) ** 2).sum(axis=1)
    rms_nm = np.sqrt(np.bincount(cluster, weights=away2, minlength=n + 1) / count)
    none = np.zeros(n, dtype=np.int32)
    found = (cluster.astype(np.int32), centre_nm[1:].astype(np.float32), rms_nm[1:].astype(np.float32))
    return ClusterField(xy_nm, *found, shape=none, parent=none, blinking=blinking, error_nm=0.0)
