"""A bin's super-particle: who is in it, and that rotations come back."""

import numpy as np
import pytest

from smlmbatch.config import OrderConfig
from smlmbatch.order.bins import draw_members, points_of, register_bin
from smlmbatch.registration.phase import angle_errors_deg
from smlmbatch.simulate.particles import draw_pores_2d
from smlmbatch.store.arrays import UnitReader, unit_writer

COUNT = 48


@pytest.fixture(scope="module")
def drawn():
    return draw_pores_2d(11, count=COUNT)


@pytest.fixture(scope="module")
def order(drawn, tmp_path_factory):
    """A unit `order` of two bins: even and odd particles."""
    path = tmp_path_factory.mktemp("unit") / "order.zarr.zip"
    with unit_writer(path, "order") as out:
        out.attrs["directions"] = ["pc1"]
        out.write("start", drawn.start)
        out.write("point_nm", drawn.points_nm)
        out.write("precision_nm", drawn.precision_nm)
        out.write("bin", (np.arange(COUNT) % 2)[:, None])
    with UnitReader(path) as unit:
        yield unit


def registered(order, path, **changes):
    with unit_writer(path, "register") as out:
        n = register_bin(order, out, direction=0, number=1, config=OrderConfig(**changes))
    return n, UnitReader(path)


def test_rotations_come_back(order, drawn, tmp_path):
    n, unit = registered(order, tmp_path / "bin.zarr.zip")
    with unit:
        members = unit.read("particle")
        np.testing.assert_array_equal(members, np.arange(1, COUNT, 2))
        assert n == np.diff(drawn.start)[members].sum()
        rotation = unit.read("rotation")
        np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
        found = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
        errors = angle_errors_deg(-found, drawn.rotation_rad[members], fold=8)
        assert np.median(np.abs(errors)) < 2.0  # by chance 11
        assert not unit.attrs["failed"]
        assert unit.attrs["n_members"] == len(members)
        assert unit.read("share").sum() + unit.attrs["background"] == pytest.approx(1.0)


def test_the_draw_of_a_full_bin_is_its_own(order, tmp_path):
    _, unit = registered(order, tmp_path / "few.zarr.zip", most_registered=6)
    with unit:
        few = unit.read("particle")
        assert unit.attrs["n_members"] == COUNT // 2
    assert len(few) == 6
    assert set(few.tolist()) <= set(range(1, COUNT, 2))
    members = np.arange(40)
    draws = [draw_members(members, most=10, key=key).tolist() for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0))]
    assert draws[0] == draws[4]
    assert len({tuple(draw) for draw in draws}) == 4
    assert draw_members(members, most=40, key=(0, 0, 0)).tolist() == members.tolist()


def test_points_are_those_of_the_particles(order, drawn):
    start, points, precision = points_of(order, np.array([5, 2]))
    for place, number in enumerate((5, 2)):
        own = slice(drawn.start[number], drawn.start[number + 1])
        np.testing.assert_array_equal(points[start[place] : start[place + 1]], drawn.points_nm[own])
        np.testing.assert_array_equal(precision[start[place] : start[place + 1]], drawn.precision_nm[own])
