"""How well found clusters are the true ones: all figures of one field.

Figures and their definitions are those of Pineda et al. (MIRO) and of the benchmark of Nieves et al., Nat Methods 20:259, 2023; see
docs/scoring.md. NaN means that a figure is not defined (no cluster, no pair).
"""

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smlmbatch.score.agreement import adjusted_mutual_information, adjusted_rand, adjusted_rand_dagger
from smlmbatch.score.contingency import contingency
from smlmbatch.score.matching import (
    boxes_of,
    error_of_centroids_nm,
    jaccard,
    pair_clusters,
    relative_error_of_sizes,
    root_mean_distance,
)
from smlmbatch.score.overlap import hull_overlap

NOISE: Final = -1
FIGURES: Final = ("ari_dagger", "iou", "ji_c", "rmsre_n", "rmse_xy_nm", "sqrt_mean_d", "ami", "ari_c", "ari")
LOWER_IS_BETTER: Final = ("rmsre_n", "rmse_xy_nm", "sqrt_mean_d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures of one field.

    Attributes
    ----------
    ari_dagger, ami, ari : agreement over all locs, noise being a class; 1 = equal, 0 = by chance
    ari_c : ARI over the locs that are in a true cluster; found noise is a class
    iou : overlap of all true and all found convex hulls, 0 to 1
    ji_c : pairs of clusters over pairs, missed and false clusters, 0 to 1
    rmsre_n : relative error of the locs of paired clusters
    rmse_xy_nm : error of their centroids
    sqrt_mean_d : the same as the published tables have it, sqrt(mean distance), in sqrt(nm)
    n_locs, n_true, n_found, n_paired : locs; true, found and paired clusters
    """

    ari_dagger: float
    iou: float
    ji_c: float
    rmsre_n: float
    rmse_xy_nm: float
    sqrt_mean_d: float
    ami: float
    ari_c: float
    ari: float
    n_locs: int
    n_true: int
    n_found: int
    n_paired: int

    def to_dict(self) -> dict[str, float | int]:
        """By name."""
        return dataclasses.asdict(self)


def score_field(
    x_nm: ArrayLike,
    y_nm: ArrayLike,
    truth: ArrayLike,
    labels: ArrayLike,
    *,
    truth_noise: int = NOISE,
    labels_noise: int = NOISE,
    overlap: bool = True,
) -> Scores:
    """Score the labels of one field against the truth.

    Parameters
    ----------
    x_nm, y_nm : (n,) floating, nm, finite
    truth, labels : (n,) integers, the cluster of each loc; which numbers clusters have doesn't matter
    truth_noise, labels_noise : the number that means "in no cluster"
    overlap : False leaves out IoU (NaN), which is half of the cost

    Raises
    ------
    ValueError
        arrays of different length

    >>> xy = np.array([[0, 0], [9, 0], [0, 9], [500, 500.0]])
    >>> score_field(*xy.T, [1, 1, 1, 0], [0, 0, 0, -1], truth_noise=0).ji_c
    1.0
    """
    xy_nm = np.stack([np.asarray(x_nm, dtype=np.float64), np.asarray(y_nm, dtype=np.float64)], axis=1)
    truth, labels = np.asarray(truth), np.asarray(labels)
    if not len(xy_nm) == len(truth) == len(labels):
        raise ValueError(f"{len(xy_nm)} positions, {len(truth)} truths and {len(labels)} labels: wanted one of each per loc")
    in_true, in_found = truth != truth_noise, labels != labels_noise
    met = contingency(truth, labels)
    true_codes, found_codes = _codes(truth[in_true]), _codes(labels[in_found])
    true, found = boxes_of(xy_nm[in_true], true_codes), boxes_of(xy_nm[in_found], found_codes)
    pairs = pair_clusters(true, found)
    n_true, n_found, n_paired = len(true.n_locs), len(found.n_locs), len(pairs.true)
    return Scores(
        ari_dagger=adjusted_rand_dagger(met),
        iou=hull_overlap(xy_nm[in_true], true_codes, xy_nm[in_found], found_codes) if overlap else np.nan,
        ji_c=jaccard(n_true, n_found, n_paired),
        rmsre_n=relative_error_of_sizes(true, found, pairs),
        rmse_xy_nm=error_of_centroids_nm(pairs),
        sqrt_mean_d=root_mean_distance(pairs),
        ami=adjusted_mutual_information(met),
        ari_c=adjusted_rand(contingency(truth[in_true], labels[in_true])),
        ari=adjusted_rand(met),
        n_locs=len(xy_nm),
        n_true=n_true,
        n_found=n_found,
        n_paired=n_paired,
    )


def _codes(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Labels renumbered from 0 in their order."""
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)
