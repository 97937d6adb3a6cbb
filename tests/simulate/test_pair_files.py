"""Pairs on disk are the pairs that training draws."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.methods.contrastive.data import perlin_family, training_shard
from smlmbatch.methods.contrastive.recipe import ContrastiveConfig
from smlmbatch.simulate.pair_files import write_pairs
from smlmbatch.simulate.perlin import PARAMETERS, PerlinConfig, draw_shard

SMALL = PerlinConfig(shard_pairs=8)


def test_rasters_parameters_and_locs_agree(tmp_path):
    assert write_pairs(tmp_path, SMALL, n_pairs=11, seed=3, with_locs=True)
    counts = np.load(tmp_path / "pairs" / "rasters.npz")["counts"]
    shards = [draw_shard(SMALL, seed=3, shard=shard) for shard in (0, 1)]
    assert (counts == np.concatenate([shard.counts for shard in shards])[:11]).all()
    rows = (tmp_path / "pairs" / "parameters.csv").read_text().splitlines()
    assert rows[0].split(",") == ["pair", *PARAMETERS]
    values = np.array([[float(word) for word in row.split(",")] for row in rows[1:]])
    assert np.allclose(values[:, 1:], np.concatenate([shard.parameters for shard in shards])[:11], rtol=1e-6)
    locs = pq.read_table(tmp_path / "pairs" / "locs.parquet")
    pair, member, x, y = (locs[name].to_numpy() for name in ("pair", "member", "x_nm", "y_nm"))
    chosen = (pair == 10) & (member == 1)
    back, _, _ = np.histogram2d(y[chosen], x[chosen], bins=64, range=[[0, 3000], [0, 3000]])
    assert (back == counts[10, 1]).all()
    assert len(locs) == counts.sum()


def test_same_bytes_again_and_other_pairs_refused(tmp_path):
    files = []
    for name in ("a", "b"):
        write_pairs(tmp_path / name, SMALL, n_pairs=8, seed=1, with_locs=True)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name / "pairs").iterdir()})
    assert files[0] == files[1]
    assert not write_pairs(tmp_path / "a", SMALL, n_pairs=8, seed=1, with_locs=True)
    with pytest.raises(ConfigError, match="other pairs"):
        write_pairs(tmp_path / "a", SMALL, n_pairs=8, seed=2, with_locs=True)


def test_family_of_the_default_recipe_is_what_training_draws(tmp_path):
    config = ContrastiveConfig()
    write_pairs(tmp_path, perlin_family(config), n_pairs=4, seed=config.seed, with_locs=False)
    counts = np.load(tmp_path / "pairs" / "rasters.npz")["counts"]
    assert (counts == training_shard(config, 0)["counts"][:4]).all()
    assert not (tmp_path / "pairs" / "locs.parquet").exists()
