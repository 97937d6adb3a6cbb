"""Training material and the order it is learned in: the same for any number of ranks, nothing twice, nothing lost, nothing read in vain."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.methods.method import Alone
from smlmbatch.train import material as room
from smlmbatch.train.material import epoch_batches, make_material, validation_batches
from smlmbatch.train.order import ROUND_SHARDS, round_order, rounds, shard_order
from smlmbatch.train.shards import read_rows, shard_path, write_shard


class Rank(Alone):
    def __init__(self, rank, world):
        self.rank, self.world = rank, world


class Numbers:
    """A method whose samples say which they are: 100 times the shard and the row."""

    name, shard_arrays, ragged = "numbers", ("value", "count"), ()

    def __init__(self):
        self.made = []

    def shard(self, config, number):
        self.made.append(number)
        values = 100.0 * number + np.arange(config.shard_samples, dtype=np.float32)
        return {"value": values, "count": values.astype(np.uint16)}


class Graphs(Numbers):
    """Sample n of a shard has n % 4 nodes and two links a node; none at all in every fourth."""

    shard_arrays, ragged = ("value", "node", "link", "inside"), ("node", "link", "inside")

    def shard(self, config, number):
        value = super().shard(config, number)["value"]
        sizes = [int(v) % 4 for v in value]
        return {
            "value": value,
            "node": [np.full((n, 3), v, dtype=np.float32) for v, n in zip(value, sizes, strict=True)],
            "link": [np.arange(2 * n, dtype=np.int32) - 1 for n in sizes],
            "inside": [np.arange(n) > 0 for n in sizes],
        }


class Config:
    samples, shard_samples, validation_share, batch = 60, 6, 0.3, 4


class Even:
    samples, shard_samples, validation_share, batch = 60 * 8, 8, 0.2, 16


class Many:
    """Three rounds of training: 40 shards."""

    samples, shard_samples, validation_share, batch = 50 * 8, 8, 0.2, 16


def batches(made, ranks, *, epoch=0, batch=4, done=0):
    return [one["value"].tolist() for one in epoch_batches(made, seed=1, epoch=epoch, batch=batch, ranks=ranks, done=done)]


@pytest.fixture
def requests(monkeypatch):
    """(file, first, last) of every read."""
    found = []

    def noted(path, first, last):
        found.append((path.name, first, last))
        return read_rows(path, first, last)

    monkeypatch.setattr(room, "read_rows", noted)
    return found


# ---- the order


@given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 24), st.integers(0, 3))
def test_an_epoch_is_one_line_of_which_each_position_is_taken_once(n_shards, shard_samples, batch, epoch):
    taken, step = [], 0
    for part in rounds(n_shards, shard_samples, batch):
        order = round_order(part, batch=batch, seed=5, epoch=epoch)
        assert order.shape == (part.steps, batch)
        assert (part.step, part.first) == (step, step * batch)
        assert part.steps * batch <= (ROUND_SHARDS + 1) * shard_samples + batch, "what is kept in memory is bounded"
        assert (order // part.steps == np.arange(batch)).all(), "the j-th sample of each lane"
        taken.append(part.first + order.ravel())
        step += part.steps
    taken = np.concatenate([*taken, np.empty(0, np.int64)])
    assert sorted(taken) == list(range(n_shards * shard_samples // batch * batch))
    assert sorted(shard_order(n_shards, seed=5, epoch=epoch)) == list(range(n_shards))


@pytest.mark.parametrize("n_shards", [1, 16, 17, 32, 40, 60])
def test_rounds_are_of_equal_size(n_shards):
    steps = [part.steps for part in rounds(n_shards, 32, 8)]
    assert len(steps) == -(-n_shards // 16)
    assert max(steps) - min(steps) <= 4, "one shard"


def test_a_batch_holds_samples_of_all_shards_of_its_round(tmp_path):
    """Three rounds of 16 shards, lanes of one shard each."""
    made = make_material(Numbers(), Even, tmp_path, Alone())
    found = np.array(batches(made, Alone(), batch=16))
    line = shard_order(48, seed=1, epoch=0).reshape(3, 16)
    assert (found // 100 == np.repeat(line, 8, axis=0)).all()
    assert len(set(map(tuple, found.T % 100))) == 48 // 3, "lanes are shuffled each for itself"


# ---- what ranks get


@pytest.mark.parametrize(("settings", "batch"), [(Config, 4), (Config, 8), (Many, 16), (Many, 24)])
def test_ranks_share_the_batches_of_one(tmp_path, settings, batch):
    made = make_material(Numbers(), settings, tmp_path, Alone())
    whole = batches(made, Alone(), batch=batch)
    seen = [value for values in whole for value in values]
    assert len(set(seen)) == len(seen) == made.n_train * made.shard_samples // batch * batch
    assert all(value < 100 * made.n_train for value in seen)
    for world in (2, 4):
        parts = [batches(made, Rank(rank, world), batch=batch) for rank in range(world)]
        assert [[value for part in step for value in part] for step in zip(*parts, strict=True)] == whole


def test_epochs_differ_and_repeat(tmp_path):
    made = make_material(Numbers(), Config, tmp_path, Alone())
    first, again, second = batches(made, Alone()), batches(made, Alone()), batches(made, Alone(), epoch=1)
    assert first == again
    assert first != second


@pytest.mark.parametrize("world", [1, 2, 3])
def test_each_validation_sample_is_looked_at_once(tmp_path, world, requests):
    made = make_material(Numbers(), Config, tmp_path, Alone())
    seen = []
    for rank in range(world):
        requests.clear()
        found = [(made.size(batch), batch["value"].tolist()) for batch in validation_batches(made, batch=4, ranks=Rank(rank, world))]
        seen += [value for _, values in found for value in values]
        assert [size for size, _ in found] == [len(values) for _, values in found]
        assert sum(last - first for name, first, last in requests if "value" in name) == sum(size for size, _ in found)
    assert seen == [100.0 * shard + row for shard in (7, 8, 9) for row in range(6)]


def test_batch_that_ranks_cannot_share_is_refused(tmp_path):
    made = make_material(Numbers(), Config, tmp_path, Alone())
    with pytest.raises(ConfigError, match="multiple of the 3 ranks"):
        batches(made, Rank(0, 3))


# ---- what is read


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_rank_reads_what_it_learns_from_and_nothing_else_in_one_piece_a_shard(tmp_path, requests, world):
    made = make_material(Numbers(), Many, tmp_path, Alone())
    for rank in range(world):
        requests.clear()
        learned = [value for values in batches(made, Rank(rank, world), batch=16) for value in values]
        read = [(name, first, last) for name, first, last in requests if "value" in name]
        rows = [100.0 * int(name[:6]) + row for name, first, last in read for row in range(first, last)]
        assert sorted(rows) == sorted(learned)
        assert len(rows) == 40 * 8 / world
        assert len(read) <= 40 / world + 2 * 3, "a request a shard, and one more where a round is cut"


def test_going_on_reads_nothing_of_the_rounds_that_are_done(tmp_path, requests):
    made = make_material(Numbers(), Many, tmp_path, Alone())
    whole = batches(made, Rank(1, 2), batch=16)
    for done in (0, 1, 6, 7, 13, 19, 20):
        requests.clear()
        assert batches(made, Rank(1, 2), batch=16, done=done) == whole[done:]
        left = [part for part in rounds(40, 8, 16) if part.step + part.steps > done]
        assert sum(last - first for name, first, last in requests if "value" in name) == sum(part.steps * 8 for part in left)


def test_rows_are_read_from_the_middle_of_a_file(tmp_path):
    values = np.arange(7 * 3 * 5, dtype=np.uint16).reshape(7, 3, 5)
    np.save(tmp_path / "a.npy", values)
    assert (read_rows(tmp_path / "a.npy", 2, 6) == values[2:6]).all()
    assert read_rows(tmp_path / "a.npy", 3, 3).shape == (0, 3, 5)
    for bad in (slice(0, -1), slice(0, -2 * 15)):
        (tmp_path / "short.npy").write_bytes((tmp_path / "a.npy").read_bytes()[bad])
        assert (read_rows(tmp_path / "short.npy", 0, 5) == values[:5]).all()
        with pytest.raises(InputError, match="ends before row 7"):
            read_rows(tmp_path / "short.npy", 5, 7)
    with pytest.raises(InputError, match="ends before row 8"):
        read_rows(tmp_path / "a.npy", 7, 8)


# ---- shards


@pytest.mark.parametrize("method", [Numbers, Graphs])
def test_shards_are_made_once_and_by_any_number_of_ranks_alike(tmp_path, method):
    method = method()
    made = make_material(method, Config, tmp_path / "one", Alone())
    assert (made.n_shards, made.n_train) == (10, 7)
    for rank in range(4):
        make_material(method, Config, tmp_path / "four", Rank(rank, 4))
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "four")]
    assert files[0] == files[1]
    for path in sorted((tmp_path / "one").glob("000003.*")):  # as a kill between two files of a shard leaves it
        method.made.clear()
        path.unlink()
        make_material(method, Config, tmp_path / "one", Alone())
        assert method.made == [3]


def test_asked_to_stop_it_makes_no_more_and_goes_on_there(tmp_path):
    method = Numbers()
    make_material(method, Config, tmp_path, Alone(), should_stop=lambda: len(method.made) == 3)
    assert method.made == [0, 1, 2]
    make_material(method, Config, tmp_path, Alone())
    assert method.made == list(range(10))


@pytest.mark.parametrize("ragged", [(), ("value",)])
def test_arrays_that_lie_by_columns_are_read_as_they_were(tmp_path, ragged):
    by_columns = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    write_shard(tmp_path, 0, {"value": [by_columns, by_columns[:0]] if ragged else by_columns}, ragged=ragged)
    assert (read_rows(shard_path(tmp_path, 0, "value"), 1, 4) == by_columns[1:]).all()


def test_counts_are_kept_small_and_whole(tmp_path):
    make_material(Numbers(), Config, tmp_path, Alone())
    kept = [np.load(shard_path(tmp_path, shard, "count")) for shard in (2, 3)]
    assert [values.dtype for values in kept] == [np.uint8, np.uint16]
    assert kept[1].tolist() == [300, 301, 302, 303, 304, 305]
    assert np.load(shard_path(tmp_path, 2, "value")).dtype == np.float32


def test_rows_are_read_as_floats_from_shards_of_different_types(tmp_path):
    made = make_material(Numbers(), Config, tmp_path, Alone())
    batch = made.stretch(np.array([9, 0, 4]), 1, 14).batch(np.array([0, 12, 5, 11, 4]))
    assert batch["value"].tolist() == batch["count"].tolist() == [901.0, 401.0, 0.0, 400.0, 905.0]
    assert batch["count"].dtype == torch.float32


# ---- samples with different numbers of rows


@pytest.mark.parametrize("world", [1, 2])
def test_ragged_samples_arrive_one_below_the_other(tmp_path, world, requests):
    made = make_material(Graphs(), Config, tmp_path, Alone())
    for rank in range(world):
        requests.clear()
        n_nodes = 0
        for batch in epoch_batches(made, seed=1, epoch=0, batch=4, ranks=Rank(rank, world)):
            sizes = [int(value) % 4 for value in batch["value"]]
            assert batch["node_sizes"].tolist() == batch["inside_sizes"].tolist() == sizes
            assert batch["link_sizes"].tolist() == [2 * n for n in sizes]
            assert batch["node"].tolist() == [[float(v)] * 3 for v, n in zip(batch["value"], sizes, strict=True) for _ in range(n)]
            assert batch["link"].tolist() == [i - 1 for n in sizes for i in range(2 * n)]
            assert batch["inside"].tolist() == [i > 0 for n in sizes for i in range(n)]
            assert made.size(batch) == 4 // world
            n_nodes += sum(sizes)
        assert sum(last - first for name, first, last in requests if name.endswith(".node.npy")) == n_nodes
    types = {name: values.dtype for name, values in batch.items()}
    assert types["link"] == types["link_sizes"] == torch.int64, "they may be indices"
    assert (types["node"], types["inside"]) == (torch.float32, torch.bool)


def test_size_of_a_batch_whose_first_array_is_ragged(tmp_path):
    class Ragged(Graphs):
        shard_arrays = ("node", "link", "inside", "value")

    made = make_material(Ragged(), Config, tmp_path, Alone())
    assert [made.size(batch) for batch in validation_batches(made, batch=4, ranks=Alone())] == [4, 4, 4, 4, 2]
