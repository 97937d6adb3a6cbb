"""Sentences about fields that a model was not trained on, and none about those it was."""

import numpy as np
import pytest

from smlmbatch.methods.miro.context import NO_HINT, acquisition, cluster_hint, density_context
from smlmbatch.methods.miro.graph import build_graph
from smlmbatch.methods.miro.recipe import MiroConfig
from smlmbatch.methods.miro.unseen import neighbour_nm, unseen
from smlmbatch.simulate.clusters import draw_cluster_field


def context_of(xy_nm, *, hint=NO_HINT, blinking=None):
    return np.concatenate([density_context(build_graph(xy_nm).local), acquisition(blinking=blinking), hint])


def uniform(per_um2, n=3000):
    return np.random.default_rng(0).uniform(0, 1e3 * np.sqrt(n / per_um2), (n, 2))


def test_fields_of_the_recipe_give_no_sentence():
    config = MiroConfig()
    for number in range(25):
        field = draw_cluster_field(0, number, config.family)
        assert unseen(context_of(field.xy_nm, hint=cluster_hint(field.rms_nm, field.size)), config) == []


@pytest.mark.parametrize(("per_um2", "word"), [(8.0, "sparser"), (100.0, ""), (5000.0, ""), (60_000.0, "denser")])
def test_densities(per_um2, word):
    """Recipe: 300 locs in 4 x 4 um at least, 2 x 5,000 in 0.7 x 0.7 at most."""
    found = unseen(context_of(uniform(per_um2)), MiroConfig())
    assert len(found) == bool(word)
    assert all(sentence.startswith(word) for sentence in found)


@pytest.mark.parametrize(
    ("rms_nm", "n_locs", "blinking", "words"),
    [
        (50.0, 100, None, []),
        (300.0, 100, None, ["wide"]),
        (50.0, 900, None, []),
        (50.0, 900, False, ["hold"]),
        (300.0, 5000, True, ["wide", "hold"]),
    ],
)
def test_clusters(rms_nm, n_locs, blinking, words):
    """Recipe: rms 120 nm at most, 150 molecules, of 8 locs each where they blink."""
    hint = cluster_hint(np.array([rms_nm]), np.array([n_locs]))
    found = unseen(context_of(uniform(100.0), hint=hint, blinking=blinking), MiroConfig())
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_neighbours_by_simulation():
    """Mean square distance to the k-th neighbour of a point in a Poisson process: k / (pi density)."""
    from scipy.spatial import cKDTree

    xy = uniform(100.0, 20_000)
    inner = xy[((xy > 1000) & (xy < xy.max() - 1000)).all(axis=1)]
    near = cKDTree(xy).query(inner, k=[5, 17])[0]
    for column, k in enumerate((4, 16)):
        assert np.sqrt((near[:, column] ** 2).mean()) == pytest.approx(neighbour_nm(k, 100.0), rel=0.02)
