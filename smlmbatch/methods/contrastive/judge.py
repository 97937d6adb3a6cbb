"""How well a model tells simulated architectures apart: K-means on its embeddings of ROIs whose condition is known.

The seeds of these ROIs are those of no training data, and none on which a recipe was chosen (that was seeds 100 and 101).
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.contrastive.infer import embed_counts, roi_counts
from smlmbatch.simulate.rois import SETS, draw_set

if TYPE_CHECKING:
    from torch import nn

    from smlmbatch.methods.contrastive.recipe import ContrastiveConfig

SEEDS: Final = (1, 2, 3, 4, 5)
ROIS: Final = 50  # per condition, as in Shirgill et al.


def judge(network: "nn.Module", config: "ContrastiveConfig", *, seeds: tuple[int, ...] = SEEDS) -> dict[str, dict[str, float]]:
    """Set → "ARI", its standard deviation over several seeds, "ARI of log N"; for the fibre gradient "Spearman"."""
    figures = {}
    for name in SETS:
        found = [judge_set(network, config, name, seed=seed) for seed in seeds]
        figures[name] = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
        if len(seeds) > 1:
            figures[name]["SD of ARI"] = float(np.std([f["ARI"] for f in found], ddof=1))
    return figures


def judge_set(network: "nn.Module", config: "ContrastiveConfig", name: str, *, seed: int) -> dict[str, float]:
    """Figures of one set drawn with one seed."""
    drawn = draw_set(name, rois_per_condition=ROIS, seed=seed)
    label = np.repeat(np.arange(len(SETS[name])), ROIS)
    counts = np.stack([roi_counts(xy[:, 0], xy[:, 1], side_nm=config.side_nm, side_px=config.side_px) for _, xy in drawn])
    log_n = np.log([[len(xy)] for _, xy in drawn])
    embedding = embed_counts(network, counts, turned=True)
    figures = {"ARI": k_means_ari(embedding, label), "ARI of log N": k_means_ari(log_n, label)}
    return figures | ({"Spearman": _gradient(embedding, label)} if name == "fibre_gradient" else {})


def k_means_ari(vectors: NDArray[np.floating], label: NDArray[np.integer]) -> float:
    """Adjusted Rand index of K-means with as many clusters as there are labels (10 starts, fixed seed)."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    k = len(np.unique(label))
    distinct, found = np.unique(vectors, axis=0, return_inverse=True)
    if len(distinct) > k:  # else (equal numbers of locs) each value is a cluster, and K-means would warn
        found = KMeans(k, n_init=10, random_state=0).fit_predict(vectors)
    return float(adjusted_rand_score(label, found.ravel()))


def _gradient(embedding: NDArray[np.floating], label: NDArray[np.integer]) -> float:
    """|Spearman| of the leading principal axis with the order of conditions."""
    from scipy.stats import spearmanr

    centred = embedding - embedding.mean(axis=0)
    leading = np.linalg.svd(centred, full_matrices=False)[2][0]
    return float(abs(spearmanr(centred @ leading, label).statistic))
