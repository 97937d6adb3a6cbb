import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.compare import COUNTED, condition_means, described, natural_key, replicate_means
from smlmbatch.analyse.tables import read_tables, write_tables


def table(rows):
    names = ("key", "condition", "channel", "replicate", "kept", "nn_mean_nm")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return pa.table(columns | {"n_locs": [100] * len(rows)})


def means_of(rows):
    return replicate_means(table(rows), min_locs=50, descriptors=["nn_mean_nm"])


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
    means = means_of(ROWS)
    found = {(m.condition, m.channel, m.replicate): (m.mean, m.n_fields, m.n_rois) for m in means}
    assert found[("ctrl", 0, "1")] == (30.0, 2, 3)
    assert found[("ctrl", 0, "2")] == (50.0, 1, 1)
    assert np.isnan(found[("egf", 0, "1")][0])
    assert len(found) == 4


def test_conditions_are_means_over_their_replicates():
    ctrl, egf0, egf1 = condition_means(means_of(ROWS))
    assert (ctrl.mean, ctrl.n_replicates, ctrl.n_fields, ctrl.n_rois) == (40.0, 2, 3, 4)
    assert ctrl.sd == pytest.approx(200**0.5)
    assert np.isnan(egf0.mean)
    assert egf0.n_replicates == 0
    assert egf1.mean == 7.0
    assert np.isnan(egf1.sd)


def test_order_of_rows_does_not_matter():
    def told(rows):
        return [str(m) for m in means_of(rows)]

    assert told(ROWS) == told(ROWS[::-1])


def test_level_of_the_conditions_is_found(made, tmp_path):
    write_tables(made.study(tmp_path, conditions=("a", "b"), n_locs=2000), fingerprint="f")
    means = {(m.condition, m.descriptor): m for m in condition_means(replicate_means(read_tables(tmp_path).rois, min_locs=50))}
    assert {name for _, name in means} == set(DESCRIPTORS)
    assert means[("b", "nn_mean_nm")].mean / means[("a", "nn_mean_nm")].mean == pytest.approx(2, rel=0.25)
    assert means[("a", "nn_mean_nm")].n_replicates == 3


def test_patterns_of_few_locs_are_left_out_and_counts_are_not():
    n_locs, nn_nm, n_clusters = [60, 49, 50, 3], [10.0, 1000.0, 20.0, None], [4, 0, 2, 0]
    rois = table([("f1", "ctrl", 0, "1", True, value) for value in nn_nm])
    rois = rois.set_column(rois.schema.get_field_index("n_locs"), "n_locs", pa.array(n_locs)).append_column("n_clusters", [n_clusters])
    found = replicate_means(rois, min_locs=50, descriptors=["nn_mean_nm", "n_clusters", "n_locs"])
    assert {m.descriptor: (m.mean, m.n_rois) for m in found} == {
        "nn_mean_nm": (15.0, 2),
        "n_clusters": (1.5, 4),
        "n_locs": (40.5, 4),
    }
    assert described(rois, min_locs=50)["nn_mean_nm"].to_pylist() == [10.0, None, 20.0, None]
    assert described(rois, min_locs=1)["nn_mean_nm"].to_pylist() == nn_nm


def test_every_descriptor_of_the_pattern_is_left_out(made, tmp_path):
    write_tables(made.study(tmp_path, channels=(0, 1), n_locs=4000), fingerprint="f")
    rois = read_tables(tmp_path).rois
    kept = described(rois, min_locs=10**6)
    assert len(kept) == sum(rois["kept"].to_pylist()) > 0
    assert {name for name in DESCRIPTORS if kept[name].null_count == 0} == set(COUNTED)
    assert all(kept[name].null_count == len(kept) for name in set(DESCRIPTORS) - set(COUNTED))


@given(st.text(), st.text())
def test_natural_order_tells_all_names_apart(one, other):
    assert (natural_key(one) == natural_key(other)) == (one == other)
    assert (natural_key(one) < natural_key(other)) != (natural_key(other) < natural_key(one)) or one == other
