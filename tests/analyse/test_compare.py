import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse.compare import condition_means, natural_key, replicate_means, ripley_curves
from smlmbatch.analyse.tables import DESCRIPTORS, read_tables, write_tables
from smlmbatch.errors import SmlmbatchError
from smlmbatch.work import Campaign


def table(rows):
    names = ("key", "condition", "channel", "replicate", "kept", "nn_mean_nm")
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


ROWS = [
    ("f1", "ctrl", 0, "1", True, 10.0),
    ("f1", "ctrl", 0, "1", True, 20.0),
    ("f1", "ctrl", 0, "1", False, None),
    ("f2", "ctrl", 0, "1", True, 60.0),
    ("f3", "ctrl", 0, "2", True, 50.0),
    ("f3", "ctrl", 0, "2", True, None),
    ("f4", "egf", 0, "1", True, None),
    ("f5", "egf", 1, "1", True, 7.0),
]


def test_replicates_are_means_over_their_rois():
    means = replicate_means(table(ROWS), descriptors=["nn_mean_nm"])
    found = {(m.condition, m.channel, m.replicate): (m.mean, m.n_fields, m.n_rois) for m in means}
    assert found[("ctrl", 0, "1")] == (30.0, 2, 3)
    assert found[("ctrl", 0, "2")] == (50.0, 1, 1)
    assert np.isnan(found[("egf", 0, "1")][0])
    assert len(found) == 4


def test_conditions_are_means_over_their_replicates():
    ctrl, egf0, egf1 = condition_means(replicate_means(table(ROWS), descriptors=["nn_mean_nm"]))
    assert (ctrl.mean, ctrl.n_replicates, ctrl.n_fields, ctrl.n_rois) == (40.0, 2, 3, 4)
    assert ctrl.sd == pytest.approx(200**0.5)
    assert np.isnan(egf0.mean)
    assert egf0.n_replicates == 0
    assert egf1.mean == 7.0
    assert np.isnan(egf1.sd)


def test_order_of_rows_does_not_matter():
    def told(rows):
        return [str(m) for m in replicate_means(table(rows), descriptors=["nn_mean_nm"])]

    assert told(ROWS) == told(ROWS[::-1])


def test_level_of_the_conditions_is_found(made, tmp_path):
    write_tables(made.study(tmp_path, conditions=("a", "b"), n_locs=2000), fingerprint="f")
    means = {(m.condition, m.descriptor): m for m in condition_means(replicate_means(read_tables(tmp_path).rois))}
    assert {name for _, name in means} == set(DESCRIPTORS)
    assert means[("b", "nn_mean_nm")].mean / means[("a", "nn_mean_nm")].mean == pytest.approx(2, rel=0.25)
    assert means[("a", "nn_mean_nm")].n_replicates == 3


def test_curves_are_those_of_the_process_they_come_from(made, tmp_path):
    curves = ripley_curves(made.study(tmp_path, channels=(0, 1), n_locs=4000))
    assert [(c.condition, c.channel, c.replicate) for c in curves] == [
        (name, channel, f"rep{r}") for name in ("ctrl", "egf") for channel in (0, 1) for r in range(3)
    ]
    expected = np.sqrt(made.thomas_k_nm2(1.0) / np.pi) - made.RADIUS_NM
    curve = curves[0]
    # each ROI's K has 2 % of noise, so the mean K of n ROIs is within 4 * 2 % / sqrt(n)
    np.testing.assert_allclose(curve.k_nm2, made.thomas_k_nm2(1.0), rtol=0.08 / np.sqrt(curve.n_rois))
    assert np.abs(curve.l_minus_r_nm - expected).max() < 0.05 * expected.max() + 0.04 * 750 / np.sqrt(curve.n_rois)


def test_rois_without_k_do_not_count(made, tmp_path):
    campaign = made.study(tmp_path, n_locs=0)
    assert ripley_curves(campaign) == []


def test_other_radii_are_refused(made, tmp_path, monkeypatch):
    one = made.study(tmp_path / "a", n_locs=3000)
    monkeypatch.setattr(made, "RADIUS_NM", made.RADIUS_NM[:40])
    other = made.study(tmp_path / "b", n_locs=3000)
    with pytest.raises(SmlmbatchError, match="other radii"):
        ripley_curves(Campaign(output=tmp_path, config=one.config, fields=one.fields + other.fields))


@given(st.text(), st.text())
def test_natural_order_tells_all_names_apart(one, other):
    assert (natural_key(one) == natural_key(other)) == (one == other)
    assert (natural_key(one) < natural_key(other)) != (natural_key(other) < natural_key(one)) or one == other
