"""Batches of particles: the same points whatever the batch, nothing cut, memory as told."""

from pathlib import Path

import numpy as np
import pytest

from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.particles import common_axes, particle_batches
from smlmbatch.store.schema import SCHEMA

LENGTHS = [30, 12, 400, 11, 10, 25, 25]


def unit_of(path: Path, lengths: list[int], *, axes: int = 3) -> UnitReader:
    rng = np.random.default_rng(2)
    arrays = {
        "channel": np.arange(len(lengths)) % 2,
        "start": np.cumsum([0, *lengths]),
        "point_nm": rng.normal(0, 50, (sum(lengths), axes)),
        "loc": rng.permutation(sum(lengths)),
        **{name: rng.uniform(0, 1e4, len(lengths)) for name in ("x_nm", "y_nm", "z_nm")},
    }
    with unit_writer(path, "pick") as out:
        for name in SCHEMA["pick"]:
            out.write(name, arrays.get(name, np.zeros(len(lengths))))
    return UnitReader(path)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("most_places", [1, 60, 1 << 20])
def test_batches_hold_every_point_once_and_in_order(tmp_path, axes, most_places) -> None:
    unit = unit_of(tmp_path / "p.zip", LENGTHS, axes=axes)
    batches = list(particle_batches(unit, field="a", most_places=most_places))
    assert np.concatenate([batch.number for batch in batches]).tolist() == list(range(len(LENGTHS)))
    assert np.concatenate([batch.points_nm[batch.present] for batch in batches]).tolist() == unit.read("point_nm").tolist()
    assert np.concatenate([batch.present.sum(axis=1) for batch in batches]).tolist() == LENGTHS
    assert np.concatenate([batch.channel for batch in batches]).tolist() == unit.read("channel").tolist()
    centre_nm = np.stack([unit.read(name) for name in ("x_nm", "y_nm", "z_nm")[:axes]], axis=1)
    assert np.concatenate([batch.centre_nm for batch in batches]).tolist() == centre_nm.tolist()
    for batch in batches:
        assert batch.points_nm.shape == (len(batch), max(LENGTHS[n] for n in batch.number), axes)
        assert not batch.points_nm[~batch.present].any()
        assert batch.present.size <= most_places or len(batch) == 1
        assert batch.field == "a"


def test_one_huge_particle_widens_no_other(tmp_path) -> None:
    unit = unit_of(tmp_path / "p.zip", LENGTHS)
    widths = [batch.present.shape for batch in particle_batches(unit, field="a", most_places=100)]
    assert widths == [(2, 30), (1, 400), (4, 25)]


def test_some_of_them(tmp_path) -> None:
    unit = unit_of(tmp_path / "p.zip", LENGTHS)
    wanted = np.array(LENGTHS) < 26
    (batch,) = particle_batches(unit, field="a", wanted=wanted)
    assert batch.number.tolist() == [1, 3, 4, 5, 6]
    start = unit.read("start")
    for points, present, number in zip(batch.points_nm, batch.present, batch.number, strict=True):
        assert points[present].tolist() == unit.read("point_nm")[start[number] : start[number + 1]].tolist()


def test_nobody(tmp_path) -> None:
    assert list(particle_batches(unit_of(tmp_path / "p.zip", []), field="a")) == []


@pytest.mark.parametrize(("fields", "common"), [([3, 3], 3), ([2, 2], 2), ([3, 2, 3], 2), ([3, -2], 3), ([-3], 2), ([], 2)])
def test_axes_in_common(tmp_path, fields, common) -> None:
    """Below 0: a field of so many axes without a particle."""
    for number, axes in enumerate(fields):
        unit_of(tmp_path / f"{number}.zip", LENGTHS if axes > 0 else [], axes=abs(axes))
    units = sorted(tmp_path.glob("*.zip"))
    assert common_axes(units) == common
    for unit in units:
        with UnitReader(unit) as reader:
            batches = list(particle_batches(reader, field="a", axes=common))
            assert all(batch.points_nm.shape[2] == batch.centre_nm.shape[1] == common for batch in batches)
            points_nm = reader.read("point_nm")[:, :common]
            assert not batches or np.concatenate([batch.points_nm[batch.present] for batch in batches]).tolist() == points_nm.tolist()
