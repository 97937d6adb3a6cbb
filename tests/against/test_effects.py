"""Old against new, in numbers that can be reckoned by hand."""

import csv
import statistics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smlmbatch.against.effects import compare_rois, short_table, write_effects
from smlmbatch.analyse.compare import condition_means, replicate_means
from smlmbatch.errors import ConfigError


def write_rois(path, rows, *, extra=()):
    """rows: (condition, replicate, roi's x, channel, kept, value); `extra`: further columns of numbers."""
    columns = {
        "key": [f"{condition}-{replicate}" for condition, replicate, *_ in rows],
        "condition": [row[0] for row in rows],
        "replicate": [row[1] for row in rows],
        "roi": pa.array(range(len(rows)), pa.int32()),
        "x_nm": [float(row[2]) for row in rows],
        "y_nm": [0.0] * len(rows),
        "side_nm": [3000.0] * len(rows),
        "kept": [row[4] for row in rows],
        "channel": pa.array([row[3] for row in rows], pa.uint8()),
        "n_locs": pa.array([100] * len(rows), pa.int64()),
        "n_clusters": pa.array([row[5] for row in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns | {name: [1.0] * len(rows) for name in extra}), path)
    return path


OLD = [
    ("egf", "r1", 0, 0, True, 10.0),
    ("egf", "r1", 3000, 0, True, 14.0),
    ("egf", "r2", 0, 0, True, 20.0),
    ("egf", "r3", 0, 0, True, 24.0),
    ("egf", "r3", 3000, 0, True, None),
    ("egf", "r3", 6000, 0, False, 999.0),  # dropped: counts for nothing
    ("ctrl", "r1", 0, 1, True, 5.0),
]
NEW = [
    ("egf", "r1", 3000, 0, True, 11.0),  # another order, another number
    ("egf", "r1", 0, 0, True, 11.0),
    ("egf", "r2", 0, 0, True, 20.0),
    ("egf", "r3", 0, 0, True, 26.0),
    ("egf", "r3", 9000, 0, True, 30.0),
    ("ctrl", "r1", 0, 1, True, 5.0),
]


@pytest.fixture
def effects(tmp_path):
    old = write_rois(tmp_path / "old.parquet", OLD, extra=["gone"])
    new = write_rois(tmp_path / "new.parquet", NEW, extra=["came"])
    return compare_rois(old, new, min_locs=(50, 50))


def test_by_hand(effects):
    egf = next(row for row in effects.rows if (row.condition, row.descriptor) == ("egf", "n_clusters"))
    means_old, means_new = [12.0, 20.0, 24.0], [11.0, 20.0, 28.0]
    assert (egf.descriptor, egf.channel, egf.n_replicates_old, egf.n_replicates_new) == ("n_clusters", 0, 3, 3)
    assert egf.mean_old == pytest.approx(statistics.mean(means_old))
    assert egf.mean_new == pytest.approx(statistics.mean(means_new))
    assert egf.change == pytest.approx(1.0)
    assert egf.change_percent == pytest.approx(100 / statistics.mean(means_old))
    assert egf.change_in_sd == pytest.approx(1.0 / statistics.stdev(means_old))
    assert (egf.n_rois_joined, egf.n_rois_old, egf.n_rois_new) == (4, 0, 1)
    assert (egf.largest_roi_change, egf.largest_roi) == (-3.0, "egf-r1 at 3000, 0")


def test_what_can_not_be_said_is_empty(effects, tmp_path):
    ctrl = next(row for row in effects.rows if (row.condition, row.descriptor) == ("ctrl", "n_clusters"))
    assert (ctrl.change, ctrl.change_percent, ctrl.change_in_sd) == (0.0, 0.0, None)  # one replicate has no spread
    write_effects(tmp_path / "effects.csv", effects)
    with (tmp_path / "effects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["descriptor"] == "n_clusters"]
    assert [row["condition"] for row in rows] == ["ctrl", "egf"]
    assert rows[0]["change_in_sd"] == ""
    assert float(rows[1]["change"]) == pytest.approx(1.0)


def test_columns_of_one_version_only_are_named(effects):
    assert (effects.only_old, effects.only_new) == (("gone",), ("came",))
    assert {row.descriptor for row in effects.rows} == {"n_locs", "n_clusters"}
    text = "\n".join(short_table(effects, most=20))
    assert text.startswith("2 of 4 means")
    assert "only in the old table: gone" in text
    assert "only in the new table: came" in text


def test_a_condition_in_one_only(tmp_path):
    old = write_rois(tmp_path / "old.parquet", OLD[:3])
    new = write_rois(tmp_path / "new.parquet", OLD[-1:])
    effects = compare_rois(old, new, min_locs=(50, 50)).rows
    effects = [row for row in effects if row.descriptor == "n_clusters"]
    assert [(row.condition, row.mean_old, row.mean_new, row.change) for row in effects] == [
        ("ctrl", None, 5.0, None),
        ("egf", 16.0, None, None),
    ]
    assert [(row.n_rois_old, row.n_rois_joined, row.n_rois_new) for row in effects] == [(0, 0, 1), (3, 0, 0)]


def test_the_short_table_is_short_and_begins_with_the_largest(tmp_path):
    names = [f"d{number:02d}" for number in range(30)]
    rows = [("egf", f"r{i}", 0, 0, True, float(i)) for i in range(4)]
    old, new = write_rois(tmp_path / "old.parquet", rows, extra=names), write_rois(tmp_path / "new.parquet", rows, extra=names)
    table = pq.read_table(new)
    for number, name in enumerate(names):
        values = [1.0 + number + i for i in range(4)]
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, new)
    lines = list(short_table(compare_rois(old, new, min_locs=(50, 50)), most=5))
    assert lines[0].startswith("30 of 32")
    assert [line.split()[0] for line in lines[2:7]] == ["d29", "d28", "d27", "d26", "d25"]
    assert lines[7] == "and 25 more"


def test_means_are_those_of_the_report(tmp_path):
    """ROIs with fewer locs of the channel than each campaign's own limit say nothing about the pattern."""
    rows = [("egf", "r1", 0, 0, True, 10.0), ("egf", "r1", 3000, 0, True, 14.0), ("egf", "r2", 0, 0, True, 20.0)]
    path = write_rois(tmp_path / "rois.parquet", rows)
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("n_locs"), "n_locs", pa.array([4, 60, 100], pa.int64()))
    pq.write_table(table.append_column("nn_median_nm", pa.array([900.0, 30.0, 50.0])), path)
    effects = compare_rois(path, path, min_locs=(50, 80))
    found = {row.descriptor: row for row in effects.rows}
    report = [
        [
            row.mean
            for row in condition_means(replicate_means(pq.read_table(path), min_locs=least, descriptors=["nn_median_nm"]))
            if row.descriptor == "nn_median_nm"
        ]
        for least in (50, 80)
    ]
    assert [[found["nn_median_nm"].mean_old], [found["nn_median_nm"].mean_new]] == report == [[40.0], [50.0]]
    assert (found["nn_median_nm"].n_rois_joined, found["nn_median_nm"].n_rois_old) == (1, 1)
    assert found["n_clusters"].mean_old == 16.0  # what counts is counted everywhere


def test_tables_that_are_none(tmp_path):
    whole = write_rois(tmp_path / "whole.parquet", OLD)
    with pytest.raises(ConfigError, match="is not there"):
        compare_rois(whole, tmp_path / "nowhere.parquet", min_locs=(50, 50))
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(ConfigError, match="no column condition"):
        compare_rois(whole, tmp_path / "other.parquet", min_locs=(50, 50))
    (tmp_path / "torn.parquet").write_bytes(whole.read_bytes()[:100])
    with pytest.raises(ConfigError, match="can't be read as Parquet"):
        compare_rois(tmp_path / "torn.parquet", whole, min_locs=(50, 50))
