"""Training material and the order it is learned in: the same for any number of ranks, nothing twice, nothing lost."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError
from smlmbatch.methods.method import Alone
from smlmbatch.train import material as room
from smlmbatch.train.material import Material, epoch_batches, make_material, validation_batches


class Rank(Alone):
    def __init__(self, rank, world):
        self.rank, self.world = rank, world


class Numbers:
    """A method whose samples say which they are."""

    name, shard_arrays = "numbers", ("value", "count")

    def __init__(self):
        self.made = []

    def shard(self, config, number):
        self.made.append(number)
        values = 100.0 * number + np.arange(config.shard_samples, dtype=np.float32)
        return {"value": values, "count": values.astype(np.uint16)}


class Config:
    samples, shard_samples, validation_share, batch = 60, 6, 0.3, 4


def pretend(n_shards=10, n_train=7, shard_samples=6):
    return Material(None, ("value",), n_shards, n_train, shard_samples)


def epoch(ranks, number=0, batch=4, **shape):
    return list(epoch_batches(pretend(**shape), seed=1, epoch=number, batch=batch, ranks=ranks))


@given(st.sampled_from([1, 2, 4]), st.integers(1, 40), st.integers(1, 20), st.sampled_from([4, 8]), st.integers(0, 3))
def test_an_epoch_holds_no_sample_twice_and_ranks_share_its_batches(world, n_train, shard_samples, batch, number):
    shape = {"n_shards": n_train + 1, "n_train": n_train, "shard_samples": shard_samples}
    whole = epoch(Alone(), number, batch, **shape)
    seen = [pair for shards, rows in whole for pair in zip(shards.tolist(), rows.tolist(), strict=True)]
    assert len(set(seen)) == len(seen) == n_train * shard_samples // batch * batch
    assert all(shard < n_train for shard, _ in seen)
    parts = [epoch(Rank(rank, world), number, batch, **shape) for rank in range(world)]
    for step, (shards, rows) in enumerate(whole):
        assert (np.concatenate([part[step][0] for part in parts]) == shards).all()
        assert (np.concatenate([part[step][1] for part in parts]) == rows).all()


def test_epochs_differ_and_repeat():
    first, again, second = epoch(Alone()), epoch(Alone()), epoch(Alone(), 1)
    assert all((a[1] == b[1]).all() and (a[0] == b[0]).all() for a, b in zip(first, again, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_each_validation_sample_is_looked_at_once(world):
    seen = [
        pair
        for rank in range(world)
        for shards, rows in validation_batches(pretend(), batch=4, ranks=Rank(rank, world))
        for pair in zip(shards.tolist(), rows.tolist(), strict=True)
    ]
    assert sorted(seen) == [(shard, row) for shard in (7, 8, 9) for row in range(6)]


def test_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(ConfigError, match="multiple of the 3 ranks"):
        epoch(Rank(0, 3))


def test_shards_are_made_once_and_by_any_number_of_ranks_alike(tmp_path):
    method = Numbers()
    made = make_material(method, Config, tmp_path / "one", Alone())
    assert (made.n_shards, made.n_train) == (10, 7)
    for rank in range(4):
        make_material(method, Config, tmp_path / "four", Rank(rank, 4))
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "four")]
    assert files[0] == files[1]
    method.made.clear()
    (tmp_path / "one" / "000003.count.npy").unlink()  # as a kill between the two files of a shard leaves it
    make_material(method, Config, tmp_path / "one", Alone())
    assert method.made == [3]


def test_counts_are_kept_small_and_whole(tmp_path):
    make_material(Numbers(), Config, tmp_path, Alone())
    kept = [np.load(tmp_path / f"00000{shard}.count.npy") for shard in (2, 3)]
    assert [values.dtype for values in kept] == [np.uint8, np.uint16]
    assert kept[1].tolist() == [300, 301, 302, 303, 304, 305]
    assert np.load(tmp_path / "000002.value.npy").dtype == np.float32


def test_rows_are_read_as_floats(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_OPEN_SHARDS", 2)
    made = make_material(Numbers(), Config, tmp_path, Alone())
    for _ in range(2):  # more shards than are kept open, twice
        batch = made.rows(np.array([9, 0, 4, 9, 0]), np.array([1, 2, 3, 0, 5]), device=torch.device("cpu"))
        assert batch["value"].tolist() == batch["count"].tolist() == [901.0, 2.0, 403.0, 900.0, 5.0]
        assert batch["count"].dtype == torch.float32
