"""Perlin pairs: a shard is a function of its number, densities are what they say, members are alike and not the same."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.perlin import PARAMETERS, PerlinConfig, draw_shard, scatter

SMALL = PerlinConfig(shard_pairs=16)


def bytes_of(shard):
    pairs = draw_shard(SMALL, seed=3, shard=shard)
    return pairs.counts.tobytes() + pairs.parameters.tobytes()


@pytest.mark.slow
def test_one_or_four_makers_give_the_same_bytes():
    here = [bytes_of(shard) for shard in range(8)]
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(bytes_of, range(8))) == here
    assert len(set(here)) == 8


def test_shard_is_drawn_again_and_differs_by_seed_and_number():
    assert bytes_of(1) == bytes_of(1) != bytes_of(2)
    assert (draw_shard(SMALL, seed=3, shard=1).counts != draw_shard(SMALL, seed=4, shard=1).counts).any()


def test_counts_follow_the_density():
    """Counts are Poisson of mean density x area, so the standardised sum over many patterns is a normal draw."""
    config = PerlinConfig(shard_pairs=256)
    pairs = draw_shard(config, seed=0, shard=0)
    expected = np.exp(pairs.parameters[:, PARAMETERS.index("log_density")].astype(float))[:, None] * config.side_um**2
    z = (pairs.counts.sum(axis=(2, 3)) - expected) / np.sqrt(expected)
    assert abs(z.mean()) < 3 / np.sqrt(z.size)
    assert 0.85 < z.std() < 1.15


def test_density_jitter_spreads_members_of_a_pair():
    config = PerlinConfig(shard_pairs=256, density_jitter=0.7)
    n = draw_shard(config, seed=0, shard=0).counts.sum(axis=(2, 3)).astype(float)
    spread = np.log(n[:, 0] / n[:, 1])
    assert 0.7 * 0.9 * np.sqrt(2 / 3) < spread.std() < 0.7 * 1.15 * np.sqrt(2 / 3)  # difference of two uniforms of half-width 0.7


def test_members_share_parameters_and_not_places():
    pairs = draw_shard(PerlinConfig(shard_pairs=256), seed=1, shard=0)
    a, b = pairs.counts[:, 0].reshape(256, -1).astype(float), pairs.counts[:, 1].reshape(256, -1).astype(float)
    correlation = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
    assert abs(np.mean(correlation)) < 0.05

    def roughness(counts):  # variance over mean of counts: alike within a pair, whatever the place
        return np.log(counts.var(axis=1) / counts.mean(axis=1))

    assert np.corrcoef(roughness(a), roughness(b))[0, 1] > 0.9


@pytest.mark.slow
def test_no_pattern_is_empty_or_undefined():
    for shard in range(20):
        pairs = draw_shard(PerlinConfig(), seed=7, shard=shard)
        assert np.isfinite(pairs.parameters).all()
        assert (pairs.counts.sum(axis=(2, 3)) > 0).all()


@pytest.mark.parametrize("cells", [3, 32])
def test_cells_that_pyperlin_would_spoil_are_refused(cells):
    with pytest.raises(ConfigError, match=f"{cells} cells"):
        PerlinConfig(cells=(cells,), shard_pairs=256)


def test_scattered_locs_rasterise_back():
    counts = draw_shard(SMALL, seed=0, shard=0).counts[0, 0]
    xy_nm = scatter(counts, side_um=3.0, rng=np.random.default_rng(0))
    back, _, _ = np.histogram2d(xy_nm[:, 1], xy_nm[:, 0], bins=64, range=[[0, 3000], [0, 3000]])
    assert (back == counts).all()
