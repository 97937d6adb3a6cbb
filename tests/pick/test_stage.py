"""The stage on drawn fields: centres against truth, points against the very locs, every cluster accounted for."""

import numpy as np
import pytest

from smlmbatch.errors import InputError
from smlmbatch.pick.choice import REASONS
from tests.pick.structures import double_ring, pore, spot
from tests.pick.units import Drawn, pick

CENTRES_NM = np.array([[500.0, 700], [1500, 800], [2600, 900], [700, 2200], [1800, 2500]])


def field_of_pores(**settings) -> Drawn:
    """Five pores in two channels, a spot, and locs in no cluster."""
    rng = np.random.default_rng(11)
    parts = [(2 * (i > 2), pore(rng) + at, 1, -1) for i, at in enumerate(CENTRES_NM)]
    parts.insert(1, (0, spot(rng, molecules=6, sigma_nm=15.0) + 2600.0, 0, -1))
    return Drawn(parts, rng.uniform(0, 3000, (900, 2)), **settings)


def points_of(unit, number: int) -> slice:
    start = unit.read("start")
    return slice(int(start[number]), int(start[number + 1]))


def test_centres_points_and_rows(tmp_path) -> None:
    drawn = field_of_pores()
    unit = pick(tmp_path, drawn, shape="ring")
    assert unit.read("cluster").tolist() == [0, 2, 3, 4, 5]
    assert unit.read("channel").tolist() == [0, 0, 0, 2, 2]
    centre_nm = np.stack([unit.read("x_nm"), unit.read("y_nm")], axis=1)
    assert np.linalg.norm(centre_nm - CENTRES_NM, axis=1).max() < 5
    assert unit.attrs["centred_by"] == ["circle", "circle"]
    assert unit.read("radius_nm") == pytest.approx(55, abs=4)
    assert np.isnan(unit.read("z_nm")).all()
    point_nm, loc = unit.read("point_nm"), unit.read("loc")
    for number, row in enumerate(unit.read("cluster")):
        own = loc[points_of(unit, number)]
        assert own.tolist() == np.flatnonzero(drawn.label == row).tolist()
        assert point_nm[points_of(unit, number)] + centre_nm[number] == pytest.approx(drawn.place_nm[own], abs=1e-3)
    assert unit.read("n_locs").tolist() == np.diff(unit.read("start")).tolist()


def test_every_cluster_is_a_particle_or_counted_under_one_reason(tmp_path) -> None:
    drawn = field_of_pores()
    table = drawn.clusters()
    cases = {
        "shape": ({"shape": "ring"}, {"of another shape": 1}),
        "fewest": ({"min_locs": int(table["n_locs"][1]) + 1}, {"too few locs": 1}),
        "most": ({"min_locs": 1, "max_locs": int(table["n_locs"].max()) - 1}, {"too many locs": 1}),
        "small": ({"min_gyration_nm": 40.0}, {"too small": 1}),
        "large": ({"max_gyration_nm": 40.0}, {"too large": 5}),
        "near": ({"min_distance_nm": 1e5}, {"too near to a neighbour": 6}),
        "all": ({}, {}),
        "first reason only": ({"shape": "spot", "min_gyration_nm": 40.0}, {"of another shape": 5, "too small": 1}),
    }
    for name, (settings, reasons) in cases.items():
        unit = pick(tmp_path / name, drawn, **{"min_locs": 5} | settings)
        assert unit.attrs["dropped"] == dict.fromkeys(REASONS[1:], 0) | reasons, name
        assert sum(unit.attrs["n_particles"]) + sum(reasons.values()) == unit.attrs["n_clusters"] == 6


def test_a_shape_that_nobody_tells(tmp_path) -> None:
    with pytest.raises(InputError, match=r"shapes of its clusters are spot, ring.*star"):
        pick(tmp_path / "star", field_of_pores(), shape="star")
    with pytest.raises(InputError, match="shapes are told of parts only"):
        pick(tmp_path / "wholes", nested(), shape="ring")
    assert pick(tmp_path / "parts", nested(), shape="spot", parents=False).read("cluster").tolist() == [0, 1, 2, 3, 4, 5, 6, 8]


def corners(at, rng) -> list[np.ndarray]:
    """The eight corners of a pore as clusters of their own."""
    angle = np.arange(8) * np.pi / 4
    return [at + 55 * np.array([np.cos(a), np.sin(a)]) + rng.normal(0, 7, (20, 2)) for a in angle]


def nested(with_parents: bool = True) -> Drawn:
    """A pore whose seven seen corners are clusters and parts of row 7, and a spot alone (row 8)."""
    rng = np.random.default_rng(3)
    parts = [(0, corner, 0, 7) for corner in corners(np.array([1000.0, 1000.0]), rng)[:7]]
    parts += [(0, np.empty((0, 2)), 1, -1), (0, rng.normal(0, 10, (40, 2)) + 2000, 0, -1)]
    return Drawn(parts, rng.uniform(0, 3000, (100, 2)), with_parents=with_parents)


def test_parents_take_the_locs_of_their_parts(tmp_path) -> None:
    drawn = nested()
    wholes = pick(tmp_path / "wholes", drawn)
    assert wholes.read("cluster").tolist() == [7]
    assert wholes.read("loc").tolist() == np.flatnonzero((drawn.label >= 0) & (drawn.label < 7)).tolist()
    assert [wholes.read("x_nm")[0], wholes.read("y_nm")[0]] == pytest.approx([1000, 1000], abs=4)
    assert wholes.attrs["dropped"]["of another level"] == 8
    parts = pick(tmp_path / "parts", drawn, parents=False)
    assert parts.read("cluster").tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    assert parts.attrs["dropped"]["of another level"] == 1
    assert sorted(parts.read("loc").tolist()) == np.flatnonzero(drawn.label >= 0).tolist()


def test_where_wholes_are_looked_for_a_field_without_one_has_no_particle(tmp_path) -> None:
    alone = field_of_pores(with_parents=True)
    assert sum(pick(tmp_path / "wholes", alone).attrs["n_particles"]) == 0
    assert sum(pick(tmp_path / "parts", alone, parents=False, min_locs=5).attrs["n_particles"]) == 6


def test_a_margin_adds_locs_of_the_channel_that_are_in_no_cluster(tmp_path) -> None:
    """Against shapely's hull and distance; channel 2 has no background."""
    import shapely

    drawn = field_of_pores()
    bare, wide = (pick(tmp_path / str(margin), drawn, margin_nm=margin) for margin in (0.0, 120.0))
    added = 0
    for number, row in enumerate(wide.read("cluster")):
        hull = shapely.MultiPoint(drawn.place_nm[drawn.label == row]).convex_hull
        away = shapely.distance(shapely.points(drawn.place_nm.astype(float)), hull)
        channel = wide.read("channel")[number]
        want = (drawn.label == row) | ((drawn.label < 0) & (drawn.channel == channel) & (away <= 120.0))
        assert wide.read("loc")[points_of(wide, number)].tolist() == np.flatnonzero(want).tolist()
        added += int((want & (drawn.label < 0)).sum())
    assert added > 10
    for name in ("x_nm", "y_nm", "n_locs", "radius_nm", "centre_by"):
        assert wide.read(name).tolist() == bare.read(name).tolist(), name


def test_in_space(tmp_path) -> None:
    """Pores of two rings, one of them half, with a margin: a loc above the pore is not within it."""
    rng = np.random.default_rng(5)
    centres_nm = np.array([[500.0, 500, 100], [1500, 600, -80], [800, 1600, 0]])
    parts = [(0, double_ring(rng, corners=range(4 if i == 1 else 8)) + at, 1, -1) for i, at in enumerate(centres_nm)]
    above = centres_nm[[0, 0]] + [[0, 0, 10], [0, 0, 300]]
    drawn = Drawn(parts, above)
    unit = pick(tmp_path, drawn, margin_nm=20.0)
    assert unit.attrs["centred_by"] == ["sphere", "area"]
    found_nm = np.stack([unit.read(name) for name in ("x_nm", "y_nm", "z_nm")], axis=1)
    assert np.linalg.norm(found_nm - centres_nm, axis=1)[[0, 2]].max() < 6
    mean_nm = np.array([points.mean(axis=0) for _, points, _, _ in parts])
    assert np.linalg.norm(found_nm - centres_nm, axis=1)[1] < 0.7 * np.linalg.norm(mean_nm - centres_nm, axis=1)[1]
    assert (np.diff(unit.read("start")) - unit.read("n_locs")).tolist() == [1, 0, 0]
    assert unit.read("point_nm").shape[1] == 3


def test_nothing_wanted(tmp_path) -> None:
    unit = pick(tmp_path, field_of_pores(), source="none")
    assert unit.attrs["why_none"] == 'No particles were wanted (pick.source = "none").'
    assert unit.read("start").tolist() == [0]
    assert unit.read("point_nm").shape == (0, 2)
    assert sum(unit.attrs["n_particles"]) == 0


def test_a_field_without_clusters(tmp_path) -> None:
    unit = pick(tmp_path, Drawn([], np.random.default_rng(0).uniform(0, 1000, (50, 2))), margin_nm=10.0)
    assert (unit.attrs["why_none"], unit.attrs["n_clusters"], unit.read("start").tolist()) == ("", 0, [0])


def test_pieces_change_nothing(tmp_path, monkeypatch) -> None:
    """A field that passes through in pieces of 50 locs."""
    whole = pick(tmp_path / "whole", field_of_pores(), margin_nm=60.0)
    monkeypatch.setattr("smlmbatch.pick.gather._PIECE_ROWS", 50)
    assert pick(tmp_path / "pieces", field_of_pores(), margin_nm=60.0).digest == whole.digest
