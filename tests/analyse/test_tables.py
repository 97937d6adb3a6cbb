from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smlmbatch.analyse import tables
from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.fingerprint import TABLE_NAMES, table_path, tables_fingerprint
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Campaign, FieldResult


@pytest.fixture
def campaign(made, tmp_path):
    return made.study(tmp_path, channels=(0, 2), n_locs=1500, dropped=(("not a number", 3), ("short", 2)))


def test_one_row_per_field_in_the_order_of_the_samples(campaign):
    write_tables(campaign, fingerprint="f1")
    fields = read_tables(campaign.output).fields
    assert fields["key"].to_pylist() == [r.field.key for r in campaign.fields]
    row = fields.to_pylist()[0]
    assert (row["status"], row["failed_stage"], row["n_dropped"]) == ("ok", None, 5)
    assert row["n_read"] == row["n"] + 5
    assert dict(row["dropped"]) == {"not a number": 3, "short": 2}
    assert (row["extent_x_um"], row["extent_y_um"], row["extent_z_um"]) == (21.0, 21.0, None)
    assert row["channels"] == [0, 2]
    assert sum(row["n_per_channel"]) == row["n"]


def test_one_row_per_roi_and_channel_with_absolute_corners(campaign, made):
    write_tables(campaign, fingerprint="f1")
    rois = read_tables(campaign.output).rois.to_pylist()
    result = campaign.fields[0]
    rows = [row for row in rois if row["key"] == result.field.key]
    with UnitReader(result.units["tile"]) as tile, UnitReader(result.units["measure"]) as measure:
        n_rois = tile.length("roi_kept")
        assert [(row["roi"], row["channel"]) for row in rows] == [(r, c) for r in range(n_rois) for c in (0, 2)]
        corners = np.array([(row["x_nm"], row["y_nm"]) for row in rows[::2]])
        np.testing.assert_array_equal(corners, tile.read("roi_origin_nm") + made.ORIGIN_NM)
        np.testing.assert_array_equal([row["n_locs"] for row in rows], tile.read("roi_n_locs").ravel())
        found = {(row["roi"], row["channel"]): row for row in rows}
        for i, key in enumerate(zip(measure.read("roi").tolist(), measure.read("channel").tolist(), strict=True)):
            for name in DESCRIPTORS:
                assert found[key][name] == measure.read(name)[i], name
    dropped = [row for row in rows if not row["kept"]]
    assert dropped
    assert all(row["reason"] in made.REASONS[1:] for row in dropped)
    assert all(row["reason"] is None for row in rows if row["kept"])
    assert all(row[name] is None for row in dropped for name in DESCRIPTORS if name != "n_locs")


def test_undefined_descriptors_are_null(made, tmp_path):
    write_tables(made.study(tmp_path, n_locs=1500, undefined=True), fingerprint="f1")
    rois = read_tables(tmp_path).rois
    assert rois["nn_mean_nm"].null_count == len(rois) > 0
    assert rois["n_clusters"].null_count < len(rois)


def test_condition_of_each_channel(made, tmp_path):
    one = made.field("a.csv", "any", "r1", labels=(("condition_2", "EGFR"), ("day", "Tuesday")))
    write_tables(made.build(tmp_path, [made.Cell(field=one, channels=(0, 2))]), fingerprint="f1")
    fields, rois = read_tables(tmp_path)
    assert set(zip(rois["channel"].to_pylist(), rois["condition"].to_pylist(), strict=True)) == {(0, "any"), (2, "EGFR")}
    assert fields["label_day"].to_pylist() == ["Tuesday"]


def test_area_inside_the_outlines(made, tmp_path):
    cell = made.Cell(field=made.field("a.csv", "any", "r1"))
    write_tables(made.build(tmp_path, [cell]), fingerprint="f1")
    row = read_tables(tmp_path).fields.to_pylist()[0]
    # area of r(t) = R (a + b cos 3t + c sin 5t): pi R^2 (a^2 + b^2 / 2 + c^2 / 2); the polygon of 180 corners is smaller by under 1 %
    assert row["cell_area_um2"] == pytest.approx(np.pi * 21**2 * (0.38**2 + 0.05**2 / 2 + 0.03**2 / 2), rel=0.01)


def test_a_ring_in_a_ring_is_a_hole():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    arrays = {
        "outline_nm": np.concatenate([square * 4000.0, square[::-1] * 2000.0 + 1000, square * 1000.0 + 9000]),
        "outline_start": np.array([0, 4, 8, 12]),
        "outline_cell": np.array([0, 0, 1]),
    }
    tile = SimpleNamespace(read=arrays.__getitem__)
    assert tables.outline_area_um2(tile) == pytest.approx(16 - 4 + 1)


def test_failed_and_unfinished_fields_have_a_row(made, tmp_path):
    bad = made.field("ctrl/bad.csv", "ctrl", "rep9")
    late = made.field("ctrl/late.csv", "ctrl", "rep9")
    campaign = made.build(tmp_path, [], failures=[(bad, "ingest", "no column for x", "x", "name it")])
    write_tables(
        Campaign(output=tmp_path, config=campaign.config, fields=(*campaign.fields, FieldResult(field=late, units={}))), fingerprint="f"
    )
    fields, rois = read_tables(tmp_path)
    assert fields["status"].to_pylist() == ["failed", "unfinished"]
    assert fields["failed_stage"].to_pylist() == ["ingest", None]
    assert fields["n"].null_count == 2
    assert len(rois) == 0


def test_schema_is_the_same_for_an_empty_campaign(made, tmp_path):
    write_tables(made.study(tmp_path / "full", n_locs=500), fingerprint="f1")
    write_tables(made.build(tmp_path / "empty", []), fingerprint="f1")
    full, empty = read_tables(tmp_path / "full"), read_tables(tmp_path / "empty")
    assert full.fields.schema.equals(empty.fields.schema)
    assert full.rois.schema.equals(empty.rois.schema)
    assert len(empty.fields) == len(empty.rois) == 0


def test_twice_written_is_the_same_file(campaign):
    write_tables(campaign, fingerprint="f1")
    files = [table_path(campaign.output, name) for name in TABLE_NAMES]
    first = [file.read_bytes() for file in files]
    write_tables(campaign, fingerprint="f1")
    assert [file.read_bytes() for file in files] == first
    assert sorted((campaign.output / "tables").iterdir()) == sorted(files)


def test_row_groups_do_not_change_the_values(campaign, monkeypatch):
    write_tables(campaign, fingerprint="f1")
    whole = read_tables(campaign.output)
    monkeypatch.setattr(tables, "_GROUP_ROWS", 30)
    write_tables(campaign, fingerprint="f1")
    assert pq.ParquetFile(campaign.output / "tables" / "rois.parquet").num_row_groups > 1
    pieces = read_tables(campaign.output)
    assert pieces.fields.equals(whole.fields)
    assert pieces.rois.equals(whole.rois)


def test_fingerprint_is_that_of_both_files(campaign, made):
    assert tables_fingerprint(campaign.output) is None
    write_tables(campaign, fingerprint="f1")
    assert tables_fingerprint(campaign.output) == "f1"
    kept = (campaign.output / "tables" / "rois.parquet").read_bytes()
    write_tables(campaign, fingerprint="f2")
    assert tables_fingerprint(campaign.output) == "f2"
    (campaign.output / "tables" / "rois.parquet").write_bytes(kept)
    assert tables_fingerprint(campaign.output) is None
    (campaign.output / "tables" / "rois.parquet").write_bytes(b"torn")
    assert tables_fingerprint(campaign.output) is None


def test_a_failure_in_between_leaves_the_old_tables(campaign):
    write_tables(campaign, fingerprint="f1")
    torn = FieldResult(field=campaign.fields[0].field, units={"ingest": campaign.output / "missing"})
    with pytest.raises(FileNotFoundError):
        write_tables(Campaign(output=campaign.output, config=campaign.config, fields=(*campaign.fields, torn)), fingerprint="f2")
    assert tables_fingerprint(campaign.output) == "f1"
    assert len(list((campaign.output / "tables").iterdir())) == len(TABLE_NAMES)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.binary(min_size=1, max_size=30))
def test_any_file_name_goes_into_the_table(made, tmp_path_factory, name):
    text = name.decode("utf-8", "surrogateescape")
    output = tmp_path_factory.mktemp("out")
    bad = made.field("x/" + text, text, text, name=text, labels=((text, text),))
    write_tables(made.build(output, [], failures=[(bad, "ingest", "f", "w", "m")]), fingerprint="f1")
    row = read_tables(output).fields.to_pylist()[0]
    assert row["condition"] == row["field"] == row[f"label_{tables.legible(text)}"]
    pa.scalar(row["path"])
