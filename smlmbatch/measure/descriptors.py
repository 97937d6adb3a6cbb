"""All descriptors of the locs of one channel in one region."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.clustering.clusters import describe_clusters
from smlmbatch.clustering.dbscan import dbscan_labels
from smlmbatch.config import MeasureConfig
from smlmbatch.measure.ripley import nearest_neighbours_nm, peak_of_l_nm, ripley_k_nm2, thinned


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """One row of the measure stage; names, units and the meaning of NaN as in the schema. `ripley_k_nm2` is (m,) f8."""

    n_locs: int
    density_per_um2: float
    n_clusters: int
    noise_fraction: float
    locs_per_cluster: float
    cluster_area_nm2: float
    cluster_radius_nm: float
    nn_mean_nm: float
    nn_median_nm: float
    ripley_n: int
    ripley_peak_nm: float
    ripley_max_nm: float
    ripley_k_nm2: NDArray[np.float64]


def describe(
    x_nm: NDArray[np.floating],
    y_nm: NDArray[np.floating],
    *,
    config: MeasureConfig,
    side_nm: float,
    coverage: float,
    radii_nm: NDArray[np.float64],
    field_key: str,
    roi: int,
    channel: int,
) -> Descriptors:
    """Descriptors of the locs in one square region.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm, inside the square, half-open
    side_nm : the square's side
    coverage : share of the square inside the cell; counts in the density, while K takes the whole square
    radii_nm : (m,) f8, where K is wanted
    field_key, roi, channel : what the thinning of a dense region is keyed by, with the seed
    """
    n = len(x_nm)
    labels = dbscan_labels(x_nm, y_nm, eps_nm=config.dbscan_eps_nm, min_locs=config.dbscan_min_locs)
    clusters = describe_clusters(x_nm, y_nm, labels)
    nearest = nearest_neighbours_nm(x_nm, y_nm) if n > 1 else np.empty(0)
    used = thinned(n, limit=config.ripley_max_locs, seed=config.seed, field_key=field_key, roi=roi, channel=channel)
    k_nm2 = ripley_k_nm2(x_nm[used], y_nm[used], window_nm=(side_nm, side_nm), radii_nm=radii_nm)
    peak_nm, height_nm = peak_of_l_nm(k_nm2, radii_nm)
    area_um2 = side_nm**2 * coverage / 1e6
    return Descriptors(
        n_locs=n,
        density_per_um2=n / area_um2 if area_um2 else math.nan,
        n_clusters=len(clusters),
        noise_fraction=np.count_nonzero(labels < 0) / n if n else math.nan,
        locs_per_cluster=_mean(clusters.n_locs),
        cluster_area_nm2=_mean(clusters.area_nm2[clusters.area_nm2 > 0]),
        cluster_radius_nm=_mean(clusters.radius_nm),
        nn_mean_nm=_mean(nearest),
        nn_median_nm=float(np.median(nearest)) if len(nearest) else math.nan,
        ripley_n=len(used),
        ripley_peak_nm=peak_nm,
        ripley_max_nm=height_nm,
        ripley_k_nm2=k_nm2,
    )


def _mean(values: NDArray[np.int64] | NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
