"""The stage on groups and on given centres: against the very locs, centres against truth, and what is left out."""

import numpy as np
import pytest

from smlmbatch.errors import InputError
from smlmbatch.pick.core import is_dense, reach_nm
from smlmbatch.pick.gather import Gathered
from smlmbatch.pick.placing import OUTSIDE
from tests.pick.structures import double_ring, pore, spot
from tests.pick.units import ORIGIN_NM, Drawn, pick

CENTRES_NM = np.array([[500.0, 700], [1500, 800], [2600, 900], [700, 2200], [1800, 2500], [2500, 2500]])
GROUPS = [7, 3, 12, 3, 5, 90]  # group 3 is seen in both channels


def field_of_pores(**more) -> Drawn:
    """Six pores, every other one with half its corners, in two channels; a pair of locs, and a background in no group."""
    rng = np.random.default_rng(101)
    parts = [(2 * (i > 2), pore(rng, corners=range(4 if i % 2 else 8), labelling=0.9) + at, 1, -1) for i, at in enumerate(CENTRES_NM)]
    parts.append((0, np.array([[100.0, 100], [110, 100]]), 0, -1))
    return Drawn(parts, rng.uniform(0, 3000, (600, 2)), **{"groups": [*GROUPS, 4]} | more)


def points_of(unit, number: int) -> slice:
    start = unit.read("start")
    return slice(int(start[number]), int(start[number + 1]))


def centres_of(unit) -> np.ndarray:
    return np.stack([unit.read("x_nm"), unit.read("y_nm")], axis=1)


# ---- groups


def test_each_group_of_a_channel_is_a_particle(tmp_path) -> None:
    drawn = field_of_pores()
    unit = pick(tmp_path, drawn, source="group")
    assert list(zip(unit.read("channel").tolist(), unit.read("group").tolist(), strict=True)) == [
        (0, 3),
        (0, 7),
        (0, 12),
        (2, 3),
        (2, 5),
        (2, 90),
    ]
    order = [1, 0, 2, 3, 4, 5]
    for number, part in enumerate(order):
        own = unit.read("loc")[points_of(unit, number)]
        assert own.tolist() == np.flatnonzero(drawn.label == part).tolist()
        assert unit.read("point_nm")[points_of(unit, number)] + centres_of(unit)[number] == pytest.approx(drawn.place_nm[own], abs=1e-3)
    assert np.linalg.norm(centres_of(unit) - CENTRES_NM[order], axis=1).max() < 8
    assert unit.attrs["centred_by"] == ["circle", "circle"]
    assert set(unit.read("cluster").tolist()) == {-1}
    assert unit.read("n_locs").tolist() == np.diff(unit.read("start")).tolist()


def test_every_group_is_a_particle_or_counted(tmp_path) -> None:
    drawn = field_of_pores()
    unit = pick(tmp_path / "few", drawn, source="group", min_locs=1)
    assert (unit.attrs["n_groups"], unit.attrs["n_in_no_group"], unit.attrs["n_particles"]) == (7, 600, [3, 3])
    assert unit.attrs["dropped"]["too few locs"] == 1  # two locs have no area
    largest = int(drawn.clusters()["n_locs"].max())
    cases = {
        "too many locs": {"max_locs": largest - 1},
        "too near to a neighbour": {"min_distance_nm": 1e5},
        "too small": {"min_gyration_nm": 49},
    }
    for reason, settings in cases.items():
        unit = pick(tmp_path / reason, drawn, source="group", **settings)
        assert unit.attrs["dropped"][reason] > 0
        assert sum(unit.attrs["n_particles"]) + sum(unit.attrs["dropped"].values()) == 7


def test_the_number_that_stands_for_no_group_is_a_setting(tmp_path) -> None:
    unit = pick(tmp_path, field_of_pores(), source="group", no_group=3, max_gyration_nm=200.0)
    assert unit.read("group").tolist() == [7, 12, 5, 90]
    assert unit.attrs["dropped"]["too large"] == 1  # the background, which now is group -1


def test_a_margin_adds_locs_in_no_group(tmp_path) -> None:
    drawn = field_of_pores()
    groups = pick(tmp_path / "g", drawn, source="group", margin_nm=120.0)
    clusters = pick(tmp_path / "c", drawn, source="cluster", margin_nm=120.0)
    want = [clusters.read("loc")[points_of(clusters, number)].tolist() for number in (1, 0, 2, 3, 4, 5)]
    assert [groups.read("loc")[points_of(groups, number)].tolist() for number in range(6)] == want
    assert len(groups.read("loc")) > groups.read("n_locs").sum()


def test_a_file_without_groups(tmp_path) -> None:
    with pytest.raises(InputError, match=r"has no groups.*Save picked localizations"):
        pick(tmp_path, field_of_pores(groups=None), source="group")


def test_pieces_change_nothing(tmp_path, monkeypatch) -> None:
    whole = pick(tmp_path / "whole", field_of_pores(), source="group", margin_nm=60.0)
    monkeypatch.setattr("smlmbatch.pick.groups._PIECE_ROWS", 70)
    monkeypatch.setattr("smlmbatch.pick.gather._PIECE_ROWS", 50)
    assert pick(tmp_path / "pieces", field_of_pores(), source="group", margin_nm=60.0).digest == whole.digest


def test_one_that_is_wildly_larger_than_the_others_is_flagged(tmp_path) -> None:
    """A group spread over the field, and a bead; not those that are twice as large."""
    rng = np.random.default_rng(102)
    parts = [(0, spot(rng) + at, 0, -1) for at in CENTRES_NM]
    parts += [(0, rng.uniform(0, 3000, (200, 2)), 0, -1), (0, rng.normal(0, 5, (3000, 2)), 0, -1), (0, spot(rng, sigma_nm=40.0), 0, -1)]
    unit = pick(tmp_path, Drawn(parts, np.empty((0, 2)), groups=list(range(9))), source="group")
    assert unit.attrs["outsized"] == [6, 7]


@pytest.mark.parametrize("structure", [pore, double_ring])
def test_stray_locs_of_a_group_do_not_move_its_centre(tmp_path, structure) -> None:
    """Two locs far off in every group, which the hull of all would follow."""
    rng = np.random.default_rng(101)
    parts = [structure(rng) for _ in range(12)]
    stray = [np.concatenate([points, rng.normal(0, 400, (2, points.shape[1]))]) for points in parts]
    axes = parts[0].shape[1]
    drawn = Drawn([(0, points + 2000.0, 1, -1) for points in stray], np.full((1, axes), 2000.0), groups=list(range(12)))
    unit = pick(tmp_path, drawn, source="group")
    found_nm = np.stack([unit.read(name) for name in ("x_nm", "y_nm", "z_nm")[:axes]], axis=1)
    assert np.median(np.linalg.norm(found_nm - 2000.0, axis=1)) < 5
    assert unit.read("n_locs").tolist() == [len(points) for points in stray]


def test_reach_against_each_group() -> None:
    rng = np.random.default_rng(5)
    parts = [rng.normal(0, 30, (n, 3)) for n in (3, 50, 7)]
    own = Gathered(np.repeat(np.arange(3), [3, 50, 7]), np.arange(60), np.concatenate(parts))
    want = [np.linalg.norm(points - (points.min(axis=0) + points.max(axis=0)) / 2, axis=1).max() for points in parts]
    assert reach_nm(own, 3) == pytest.approx(want)


# ---- given centres


def picks_text(centres_nm=CENTRES_NM, columns="x_nm,y_nm") -> str:
    rows = [",".join(f"{value:.3f}" for value in row) for row in centres_nm + [*ORIGIN_NM, 0.0][: centres_nm.shape[1]]]
    return "\n".join([columns, *rows]) + "\n"


def test_locs_within_the_radius_and_no_others(tmp_path) -> None:
    drawn = field_of_pores()
    unit = pick(tmp_path, drawn, picks=picks_text(), radius_nm=90.0)
    found = list(zip(unit.read("channel").tolist(), unit.read("pick").tolist(), strict=True))
    assert {(0, 0), (0, 1), (0, 2), (2, 3), (2, 4), (2, 5)} <= set(found)
    for number, (channel, row) in enumerate(found):
        away = np.linalg.norm(drawn.place_nm - CENTRES_NM[row], axis=1)
        want = np.flatnonzero((away <= 90.0) & (drawn.channel == channel))
        assert unit.read("loc")[points_of(unit, number)].tolist() == want.tolist()
    assert unit.attrs["n_picks"] == 12  # six in each channel
    assert sum(unit.attrs["n_particles"]) + sum(unit.attrs["dropped"].values()) == 12


def test_centres_are_found_again_or_kept(tmp_path) -> None:
    """Given 15 nm beside: found again within some nm; kept to the digit, and points lie about it."""
    given_nm = CENTRES_NM[:3] + np.random.default_rng(103).normal(0, 15, (3, 2))
    drawn = field_of_pores()
    about = {"picks": picks_text(given_nm), "radius_nm": 120.0, "min_locs": 40}
    found, kept = (pick(tmp_path / way, drawn, centre=way, **about) for way in ("auto", "given"))
    assert np.linalg.norm(centres_of(found) - CENTRES_NM[:3], axis=1).max() < 11
    assert np.linalg.norm(given_nm - CENTRES_NM[:3], axis=1).max() > 12
    assert centres_of(kept) == pytest.approx(given_nm, abs=1e-3)
    assert (kept.attrs["centres"][-1], kept.attrs["centred_by"]) == ("given", ["given", "given"])
    assert set(kept.read("centre_by").tolist()) == {3}
    assert kept.read("point_nm")[points_of(kept, 1)] + given_nm[1] == pytest.approx(
        drawn.place_nm[kept.read("loc")[points_of(kept, 1)]], abs=2e-3
    )
    assert "given" not in found.attrs["centres"]


def test_in_space(tmp_path) -> None:
    """With z a sphere about the centre, without it all that lies above and below; a kept centre without z takes the hull's."""
    rng = np.random.default_rng(101)
    centres_nm = np.array([[500.0, 500, 100], [1500, 600, -80], [800, 1600, 0]])
    above = centres_nm[[0, 1]] + [0, 0, 300]
    drawn = Drawn([(0, double_ring(rng) + at, 1, -1) for at in centres_nm], above)
    near = {"radius_nm": 150.0, "min_locs": 40}
    ball = pick(tmp_path / "ball", drawn, picks=picks_text(centres_nm, "x_nm,y_nm,z_nm"), **near)
    tube = pick(tmp_path / "tube", drawn, picks=picks_text(centres_nm[:, :2]), centre="given", **near)
    assert (tube.read("n_locs") - ball.read("n_locs")).tolist() == [1, 1, 0]
    assert np.abs(ball.read("z_nm") - centres_nm[:, 2]).max() < 8
    assert centres_of(tube) == pytest.approx(centres_nm[:, :2], abs=1e-3)
    assert tube.read("z_nm")[2] == pytest.approx(0, abs=15)
    kept = pick(tmp_path / "kept", drawn, picks=picks_text(centres_nm, "x_nm,y_nm,z_nm"), centre="given", **near)
    assert kept.read("z_nm") == pytest.approx(centres_nm[:, 2], abs=1e-3)


def test_a_loc_near_two_centres_belongs_to_both(tmp_path) -> None:
    close = np.array([CENTRES_NM[0], CENTRES_NM[0] + [60, 0]])
    both = pick(tmp_path / "both", field_of_pores(), picks=picks_text(close), radius_nm=90.0)
    assert len(set(both.read("loc").tolist())) < len(both.read("loc"))
    apart = pick(tmp_path / "apart", field_of_pores(), picks=picks_text(close), radius_nm=90.0, min_distance_nm=100.0, min_locs=20)
    assert apart.attrs["dropped"]["too near to a neighbour"] == 2


def test_what_is_outside_is_counted_and_an_empty_place_too(tmp_path) -> None:
    text = picks_text(np.concatenate([CENTRES_NM[:1], [[-9000.0, 500.0]], [[2990.0, 20.0]]]))
    unit = pick(tmp_path, field_of_pores(), picks=text, radius_nm=30.0, min_locs=1)
    assert unit.attrs["dropped"][OUTSIDE] == 2
    assert unit.attrs["n_picks"] == sum(unit.attrs["n_particles"]) + sum(unit.attrs["dropped"].values())


@pytest.mark.parametrize(("structure", "most_nm"), [(pore, 3.5), (spot, 9.0)])
def test_a_background_does_not_hide_where_the_middle_is(tmp_path, structure, most_nm) -> None:
    """Given 15 nm beside, in 500 background locs per um2: the hull of all locs would be the drawn circle."""
    rng = np.random.default_rng(101)
    centres_nm = np.stack(np.meshgrid(np.arange(5), np.arange(5)), axis=-1).reshape(-1, 2) * 400.0 + 300
    drawn = Drawn([(0, structure(rng) + at, 1, -1) for at in centres_nm], rng.uniform(0, 2200, (2400, 2)))
    given_nm = centres_nm + rng.normal(0, 15, centres_nm.shape)
    unit = pick(tmp_path, drawn, picks=picks_text(given_nm), radius_nm=100.0)
    channel = unit.read("channel") == 0
    assert np.median(np.linalg.norm(centres_of(unit)[channel] - centres_nm, axis=1)) < most_nm
    for number, row in enumerate(unit.read("pick")):  # all locs are kept
        near = np.flatnonzero((np.linalg.norm(drawn.place_nm - given_nm[row], axis=1) <= 100.0) & (drawn.channel == 0))
        assert unit.read("loc")[points_of(unit, number)].tolist() == near.tolist()


def test_dense_locs_against_the_distances_themselves() -> None:
    points = np.random.default_rng(1).normal(0, 30, (80, 3))
    for axes in (2, 3):
        flat = np.sort(np.linalg.norm(points[:, None, :axes] - points[:, :axes], axis=2), axis=1)[:, 3]
        assert is_dense(points[:, :axes], 70.0).tolist() == (flat < 70.0 * (3 / 80) ** (1 / axes)).tolist()
    assert is_dense(points[:10], 1.0).all()  # too few to tell
