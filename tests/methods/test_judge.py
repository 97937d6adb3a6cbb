"""The judge itself is judged: by a network that only counts, by labels that are known, by what can't be told apart."""

import numpy as np
import torch

from smlmbatch.methods.contrastive.judge import judge_set, k_means_ari
from smlmbatch.methods.contrastive.recipe import ContrastiveConfig

LABEL = np.repeat(np.arange(4), 25)


class Counting(torch.nn.Module):
    """Embeds the logarithm of the number of locs, and nothing else."""

    def encode(self, counts):
        return counts.sum(dim=(1, 2)).log()[:, None]


def test_a_network_that_counts_is_as_good_as_counting():
    torch.set_num_threads(1)
    for name in ("clusters_fixed", "density_random"):
        found = judge_set(Counting(), ContrastiveConfig(), name, seed=3)
        assert abs(found["ARI"] - found["ARI of log N"]) < 0.02
        assert found["ARI"] > 0.8
    assert judge_set(Counting(), ContrastiveConfig(), "clusters_900", seed=3)["ARI"] == 0.0


def test_gradient_of_a_network_that_counts():
    """More locs the denser the fibres, so the leading (and only) axis is the order of conditions."""
    torch.set_num_threads(1)
    assert judge_set(Counting(), ContrastiveConfig(), "fibre_gradient", seed=3)["Spearman"] > 0.97


def test_clusters_that_are_the_labels():
    vectors = 10.0 * np.eye(4)[LABEL] + np.random.default_rng(0).normal(0, 0.1, (100, 4))
    assert k_means_ari(vectors, LABEL) == 1.0


def test_noise_is_worth_nothing():
    scores = [k_means_ari(np.random.default_rng(seed).normal(size=(100, 8)), LABEL) for seed in range(20)]
    assert abs(np.mean(scores)) < 0.02


def test_few_values_are_their_own_clusters():
    """K-means would warn, and warnings are errors here."""
    assert k_means_ari(np.ones((100, 1)), LABEL) == 0.0
    assert k_means_ari((LABEL % 2)[:, None].astype(float), LABEL) > 0.4
