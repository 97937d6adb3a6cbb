"""Marked clusters as they are read, and fields drawn from them: the user's sizes, counts, densities and clumps, never twice the same."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from smlmbatch.errors import InputError
from smlmbatch.simulate.templates import draw_template_field, read_templates, templates_of

SIDE_NM = 2000.0


def ring(rng, n=40, radius_nm=60.0):
    angle = rng.uniform(0, 2 * np.pi, n)
    return radius_nm * np.column_stack([np.cos(angle), np.sin(angle)])


def field(rng, *, clusters=12, clumps=30, clump=8, sd_nm=5.0):
    """Rings, and a background of molecules seen several times."""
    members = [ring(rng) + rng.uniform(0, SIDE_NM, 2) for _ in range(clusters)]
    clumps_nm = np.repeat(rng.uniform(0, SIDE_NM, (clumps, 2)), clump, axis=0) + rng.normal(0, sd_nm, (clumps * clump, 2))
    xy_nm = np.concatenate([*members, clumps_nm])
    return xy_nm, np.repeat([*range(1, clusters + 1), 0], [*map(len, members), len(clumps_nm)])


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(0)
    return templates_of("whole.csv", [field(rng) for _ in range(2)])


def draw(templates, n, **changes):
    return [draw_template_field(templates, **({"seed": 0, "number": k, "blinking": True} | changes)) for k in range(n)]


# ---- reading


def test_a_table_is_read_with_its_fields_and_background(tmp_path):
    path = tmp_path / "t.csv"
    rows = ["a,0,0,7", "a,10,0,7", "a,0,10,7", "a,500,500,", "b,100,0,2", "b,130,0,2", "b,100,30,2", "b,0,0,-1", "b,900,900,0"]
    path.write_text("\n".join(["field, x_nm,y_nm ,cluster", *rows]))
    found = read_templates(path)
    assert [f.n_clusters for f in found.fields] == [1, 1]
    assert [np.count_nonzero(f.cluster == 0) for f in found.fields] == [1, 2]
    np.testing.assert_allclose(found.fields[1].sides_nm, [900, 900])
    np.testing.assert_allclose(found.rms_nm, [np.sqrt(2 * 200 / 9), np.sqrt(2 * 1800 / 9)])
    assert list(found.size) == [3, 3]


def table(**columns):
    columns = {"x_nm": [0, 30, 0, 30], "y_nm": [0, 0, 30, 30], "cluster": [1, 1, 1, 0]} | columns
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))])


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        (["egf", "egf", "egf", "ctrl", "ctrl", "ctrl", ""], ("egf", "ctrl")),  # the last loc is background
        (["egf", "egf", "egf", "egf", "egf", "egf", "ctrl"], ("egf",)),
        (["egf", "egf", "egf", "", "ctrl", "ctrl", "ctrl"], ()),  # part of them would be taken for all
    ],
)
def test_conditions_of_what_was_marked_are_known(tmp_path, conditions, told):
    path = tmp_path / "t.csv"
    places = ["0,0,1", "30,0,1", "0,30,1", "500,0,2", "530,0,2", "500,30,2", "900,900,0"]
    path.write_text("\n".join(["x_nm,y_nm,cluster,condition", *(f"{p},{c}" for p, c in zip(places, conditions, strict=True))]))
    assert read_templates(path).conditions == told


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "can't be read"),
        ("x_nm,y_nm,cluster\n", "holds no loc"),
        ("x,y_nm,cluster\n1,2,3", "no column x_nm"),
        ("x_nm,x_nm,y_nm,cluster\n1,1,2,3", "no column x_nm, or several"),
        (table(cluster=[1, 1, 0, 0]), "cluster 1 has 2 locs"),
        (table(cluster=[0, 0, 0, -1]), "no loc is in a cluster"),
        (table(cluster=["", "", "", ""]), "no loc is in a cluster"),
        (table(cluster=[1.5, 1, 1, 1]), "something else than whole numbers"),
        (table(cluster=["a", "a", "a", "b"]), "something else than whole numbers"),
        (table(x_nm=[0, "nan", 0, 30]), "1 of 4 cells of column x_nm are no finite number"),
        (table(x_nm=[0, "", 0, 30]), "1 of 4 cells of column x_nm are no finite number"),
        (table(y_nm=["0", "b", "0", "30"]), "of column y_nm are no finite number"),
        (table(field=["a", "a", "a", ""], x_nm=[0, 30, 0, 30]).replace(",a", ",1"), "cells of column field are empty"),
        (table(x_nm=[0, 3e-8, 0, 3e-8], y_nm=[0, 0, 3e-8, 3e-8]), "metres, micrometres or pixels"),
        (table(x_nm=[0, 0.3, 0, 0.3], y_nm=[0, 0, 0.3, 0.3]), "metres, micrometres or pixels"),
        (table(x_nm=[0, 3e4, 0, 3e4], y_nm=[0, 0, 3e4, 3e4]), "a smaller unit"),
    ],
)
def test_what_is_no_table_of_clusters_is_refused(tmp_path, text, finding):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"t\.csv") as caught:
        read_templates(path)
    assert finding in caught.value.finding


def test_known_by_their_locs(whole):
    rng = np.random.default_rng(0)
    fields = [field(rng) for _ in range(2)]
    assert templates_of("", fields).sha256 == whole.sha256
    moved = [(xy_nm + 1e-3 * np.eye(1, len(xy_nm), k=len(xy_nm) - 1).T, cluster) for xy_nm, cluster in fields]
    assert templates_of("", moved).sha256 != whole.sha256
    assert templates_of("", fields[:1]).sha256 != whole.sha256
    # where a field lies on the stage is all the same
    assert templates_of("", [(xy_nm + 65536.0, cluster) for xy_nm, cluster in fields]).size.tolist() == whole.size.tolist()


# ---- drawing


def test_a_field_is_a_function_of_templates_seed_and_number(whole):
    one, again = (draw_template_field(whole, seed=1, number=2, blinking=None) for _ in range(2))
    assert all(np.array_equal(getattr(one, f.name), getattr(again, f.name)) for f in dataclasses.fields(one))
    others = [draw_template_field(whole, seed=s, number=n, blinking=None) for s, n in ((1, 3), (2, 2))]
    assert all(not np.array_equal(one.xy_nm, other.xy_nm) for other in others)


@pytest.mark.parametrize("blinking", [True, False])
def test_density_is_that_of_the_users_fields(whole, blinking):
    """0.7 to 1.4 times as many, 1.05 in the mean; a blinking background is the user's own. Half of the fields lose what lies outside."""
    fields = draw(whole, 150, blinking=blinking)
    n_clusters = np.array([len(f.rms_nm) for f in fields])
    n_background = np.array([np.count_nonzero(f.cluster == 0) for f in fields])
    assert n_clusters.mean() == pytest.approx(1.05 * 12, rel=0.08)
    assert n_background.mean() == pytest.approx((1.0 if blinking else 1.05) * 240, rel=0.05)
    assert n_clusters.std() > 2


def test_copies_have_the_templates_size_and_shape_turned_and_mirrored():
    """An L of one long and one short arm: told apart from its mirror image by the sign of a third moment."""
    rng = np.random.default_rng(3)
    arm = np.column_stack([np.linspace(0, 100, 30), np.zeros(30)])
    short = np.column_stack([np.zeros(15), np.linspace(0, 50, 15)])
    one = templates_of("", [(np.concatenate([arm, short]) + rng.normal(0, 2, (45, 2)), np.ones(45, int))])
    rms_nm, size, angles, hands, ratio = [], [], [], [], []
    for f in draw(one, 60, blinking=False):
        for k in np.flatnonzero(f.size > 35) + 1:
            xy = (f.xy_nm[f.cluster == k] - f.centre_nm[k - 1]).astype(float)
            rms_nm.append(f.rms_nm[k - 1])
            size.append(f.size[k - 1])
            values, axes = np.linalg.eigh(np.cov(xy.T))
            ratio.append(values[0] / values[1])
            along = axes[:, 1] * np.sign(((xy @ axes[:, 1]) ** 3).mean())
            angles.append(np.arctan2(along[1], along[0]))
            hands.append(((xy @ [-along[1], along[0]]) ** 3).mean())
    assert np.mean(rms_nm) == pytest.approx(one.rms_nm[0], rel=0.05)
    assert 0.07 < np.std(np.log(rms_nm)) < 0.16
    assert np.mean(size) == pytest.approx(45, rel=0.1)
    assert np.abs(np.mean(np.exp(1j * np.array(angles)))) < 0.2
    values = np.linalg.eigvalsh(np.cov(one.clusters[0].T))
    assert np.median(ratio) == pytest.approx(values[0] / values[1], rel=0.15)
    assert 0.35 < np.mean(np.array(hands) > 0) < 0.65


def test_rings_stay_rings(whole):
    """Radius 60 nm; jitter is a share of distances between neighbours, some nm here."""
    f = draw(whole, 1, most_locs=10_000)[0]
    away = [np.hypot(*(f.xy_nm[f.cluster == k + 1] - f.centre_nm[k]).T) for k in np.flatnonzero(f.size >= 35)]
    assert len(away) > 4
    assert np.median(np.concatenate(away)) == pytest.approx(60.0, rel=0.08)
    assert np.quantile(np.concatenate(away), 0.05) > 30.0


def near(xy_nm, radius_nm):
    tree = cKDTree(xy_nm)
    return np.mean([len(found) - 1 for found in tree.query_ball_point(xy_nm, radius_nm)])


def test_a_blinking_background_keeps_its_clumps(whole):
    """Of 8 locs each, sd 5 nm: within 20 nm of a loc lie the other 7; a uniform background has pi r^2 times its density there."""
    assert near(whole.fields[0].xy_nm[whole.fields[0].cluster == 0], 20.0) > 6.5
    clumped = [near(f.xy_nm[f.cluster == 0], 20.0) for f in draw(whole, 20)]
    assert np.mean(clumped) == pytest.approx(7.0, abs=0.8)
    uniform = [near(f.xy_nm[f.cluster == 0], 20.0) for f in draw(whole, 20, blinking=False)]
    assert np.mean(uniform) == pytest.approx(1.05 * 240 / SIDE_NM**2 * np.pi * 20**2, rel=0.25)


def test_truth_is_that_of_the_locs(whole):
    for f in draw(whole, 5):
        assert np.array_equal(np.unique(f.cluster), np.arange(len(f.rms_nm) + 1))
        for k in range(len(f.rms_nm)):
            own = f.xy_nm[f.cluster == k + 1].astype(float)
            np.testing.assert_allclose(f.centre_nm[k], own.mean(axis=0), atol=1e-3)
            assert f.rms_nm[k] == pytest.approx(np.sqrt(own.var(axis=0).sum()), rel=1e-4)


def test_large_fields_are_drawn_as_windows_of_the_same_density(whole):
    small = draw(whole, 60, most_locs=300)
    assert max(len(f.xy_nm) for f in small) < 600
    area = [np.ptp(f.xy_nm, axis=0).prod() for f in small]
    assert np.mean([len(f.xy_nm) for f in small]) / np.mean(area) == pytest.approx(720 / SIDE_NM**2, rel=0.25)


@pytest.mark.parametrize("blinking", [True, False, None])
def test_a_single_cluster_is_enough(blinking):
    one = templates_of("", [(ring(np.random.default_rng(0)), np.ones(40, int))])
    fields = draw(one, 30, blinking=blinking)
    assert all(len(f.rms_nm) >= 1 for f in fields)
    assert len({len(f.xy_nm) for f in fields}) > 20
    share = [np.mean(f.cluster == 0) for f in fields]
    assert min(share) < 0.3
    assert max(share) > 0.5


def test_locs_in_one_place_are_drawn_from_as_well():
    xy_nm = np.repeat([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]], 3, axis=0)
    f = draw(templates_of("", [(xy_nm, np.ones(9, int))]), 1)[0]
    assert np.isfinite(f.xy_nm).all()
