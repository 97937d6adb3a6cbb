"""Exports: every column, absolute nm, bounded pieces, nothing half-written, nothing overwritten unasked."""

import csv
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from smlmbatch.analyse.fingerprint import ALL_NAMES
from smlmbatch.cli_tools import EXPORT_FORMATS
from smlmbatch.config import Config
from smlmbatch.errors import ConfigError
from smlmbatch.export.campaign import FORMATS, export_campaign
from smlmbatch.export.stored_field import PIECE_ROWS
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.work import Campaign, FieldResult
from tests.conftest import ROOT

SIZES = {"ctrl/FOV 1.csv": PIECE_ROWS + 4321, "egf/FOV 1.csv": 57, "egf/empty.csv": 0}
ORIGIN_NM = [-12_345_678.125, 1_000_000.5]


def _unit(path, n, seed):
    rng = np.random.default_rng(seed)
    columns = {
        "x_nm": rng.uniform(0, 16_000, n),
        "y_nm": rng.uniform(0, 16_000, n),
        "z_nm": rng.normal(0, 300, n),
        "frame": rng.integers(0, 20_000, n),
        "photons": 300 + rng.exponential(1000, n),
        "precision_nm": rng.uniform(3, 30, n),
        "channel": rng.integers(0, 2, n),
        "row": rng.permutation(n),
        "tile_start": np.array([0, n]),
    }
    with unit_writer(path, "ingest") as out:
        for name, values in columns.items():
            out.write(name, values)
        out.attrs["origin_nm"] = ORIGIN_NM


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    output = tmp_path_factory.mktemp("the output")
    fields = []
    for seed, (path, n) in enumerate(SIZES.items()):
        unit = output / f"{seed}.zarr.zip"
        _unit(unit, n, seed)
        fields.append(FieldResult(field=Field(path=path, name=path, condition="c", replicate="1"), units={"ingest": unit}))
    failed = FieldResult(field=Field(path="bad.csv", name="bad", condition="c", replicate="1"), units={})
    (output / "tables").mkdir()
    fields_table = pa.table(
        {
            "key": ["a", "b"],
            "field": ['with "quotes", commas', "Müller"],
            "dropped": pa.array([[("precision", 3), ("frame", 1)], None], pa.map_(pa.string(), pa.int64())),
            "channels": pa.array([[0, 1], []], pa.list_(pa.int64())),
            "density_per_um2": [0.1 + 0.2, None],
        }
    )
    pyarrow.parquet.write_table(fields_table, output / "tables" / "fields.parquet")
    pyarrow.parquet.write_table(pa.table({"roi": pa.array([1, 2], pa.int32()), "x_nm": [0.5, -1e7]}), output / "tables" / "rois.parquet")
    for name in ALL_NAMES[2:]:
        pyarrow.parquet.write_table(pa.table({"value": [1.5]}), output / "tables" / f"{name}.parquet")
    return Campaign(output=output, config=Config(), fields=(*fields, failed))


def _expected(campaign, index):
    with UnitReader(campaign.fields[index].units["ingest"]) as unit:
        stored = {name: unit.read(name) for name in unit.names() if name != "tile_start"}
    for axis, name in enumerate(("x_nm", "y_nm")):
        stored[name] = np.array([ORIGIN_NM[axis] + float(value) for value in stored[name]])
    return stored


def _locs_file(campaign, target, index, suffix):
    return target / "locs" / f"{campaign.fields[index].field.key}.{suffix}"


def test_parquet_holds_every_bit(campaign, tmp_path):
    export_campaign(campaign, tmp_path, format="parquet", what=["locs"])
    for index in range(3):
        table = pyarrow.parquet.read_table(_locs_file(campaign, tmp_path, index, "parquet"))
        expected = _expected(campaign, index)
        assert table.column_names == list(expected)
        for name, values in expected.items():
            assert np.array_equal(table[name].to_numpy(), values)
            assert table[name].type == pa.from_numpy_dtype(values.dtype)


def test_csv_holds_positions_to_a_picometre_and_the_rest_exactly(campaign, tmp_path):
    export_campaign(campaign, tmp_path, format="csv", what=["locs"])
    for index in range(2):
        table = pyarrow.csv.read_csv(_locs_file(campaign, tmp_path, index, "csv"))
        expected = _expected(campaign, index)
        assert table.column_names == list(expected)
        for name, values in expected.items():
            found = table[name].to_numpy()
            if name in ("x_nm", "y_nm"):
                np.testing.assert_allclose(found, values, rtol=0, atol=0.5e-3 + 4e-9)  # 4e-9: float64 steps at 12 mm
            else:
                assert np.array_equal(found.astype(values.dtype), values), name


def test_an_empty_field_is_a_header(campaign, tmp_path):
    export_campaign(campaign, tmp_path, format="csv", what=["locs"])
    text = _locs_file(campaign, tmp_path, 2, "csv").read_text()
    assert text == '"x_nm","y_nm","z_nm","frame","photons","precision_nm","channel","row"\n'


def test_files_are_returned_in_order_and_a_failed_field_has_none(campaign, tmp_path):
    paths = export_campaign(campaign, tmp_path, format="csv")
    keys = [result.field.key for result in campaign.fields[:3]]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        *(f"{name}.csv" for name in ALL_NAMES),
        *(f"locs/{key}.csv" for key in keys),
    ]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)


def test_tables_as_csv_hold_lists_as_json(campaign, tmp_path):
    export_campaign(campaign, tmp_path, format="csv", what=["fields", "rois"])
    with (tmp_path / "fields.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["field"] == 'with "quotes", commas'
    assert second["field"] == "Müller"
    assert json.loads(first["dropped"]) == {"precision": 3, "frame": 1}
    assert second["dropped"] == ""
    assert (json.loads(first["channels"]), json.loads(second["channels"])) == ([0, 1], [])
    assert float(first["density_per_um2"]) == 0.1 + 0.2
    assert second["density_per_um2"] == ""
    assert (tmp_path / "rois.csv").read_text() == '"roi","x_nm"\n1,0.5\n2,-10000000\n'


def test_tables_as_parquet_are_equal_tables(campaign, tmp_path):
    export_campaign(campaign, tmp_path, format="parquet", what=["fields", "rois"])
    for name in ("fields", "rois"):
        source = pyarrow.parquet.read_table(campaign.output / "tables" / f"{name}.parquet")
        assert pyarrow.parquet.read_table(tmp_path / f"{name}.parquet").equals(source, check_metadata=True)


@pytest.mark.parametrize("format_name", ["csv", "parquet"])
def test_workers_change_no_byte(campaign, tmp_path, format_name):
    one = export_campaign(campaign, tmp_path / "one", format=format_name)
    three = export_campaign(campaign, tmp_path / "three", format=format_name, workers=3)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in three]


def test_nothing_is_overwritten_unasked(campaign, tmp_path):
    export_campaign(campaign, tmp_path, what=["fields"])
    (tmp_path / "fields.csv").write_text("mine")
    with pytest.raises(ConfigError, match="would be overwritten: name another folder, or give --overwrite"):
        export_campaign(campaign, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fields.csv"]
    assert (tmp_path / "fields.csv").read_text() == "mine"
    export_campaign(campaign, tmp_path, overwrite=True)
    assert (tmp_path / "fields.csv").read_text().startswith('"key"')


def test_a_failure_midway_leaves_no_half_file(campaign, tmp_path, monkeypatch):
    read = UnitReader.read

    def tired(self, name, start=0, stop=None):
        if name == "photons" and start:
            raise OSError(5, "Input/output error")
        return read(self, name, start, stop)

    monkeypatch.setattr(UnitReader, "read", tired)
    only_first = replace(campaign, fields=campaign.fields[:1])
    with pytest.raises(OSError, match="Input/output"):
        export_campaign(only_first, tmp_path, what=["locs"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_only_pieces_are_read(campaign, tmp_path, monkeypatch):
    lengths, read = [], UnitReader.read
    monkeypatch.setattr(UnitReader, "read", lambda *a: lengths.append(len(read(*a))) or read(*a))
    export_campaign(campaign, tmp_path, format="parquet", what=["locs"])
    assert max(lengths) == PIECE_ROWS


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        ({"format": "xlsx"}, "format xlsx: wanted one of csv, parquet, thunderstorm, picasso, smap-csv, smlm, h5ad, ome-zarr"),
        ({"what": ["fields", "blobs"]}, "what blobs: wanted one of fields, rois, .*locs, images"),
    ],
)
def test_unknown_wishes_are_refused(campaign, tmp_path, wish, match):
    with pytest.raises(ConfigError, match=match):
        export_campaign(campaign, tmp_path, **wish)


def test_an_unfinished_campaign_says_what_to_do(campaign, tmp_path):
    bare = replace(campaign, output=tmp_path / "bare", fields=campaign.fields[3:])
    with pytest.raises(ConfigError, match=r"fields\.parquet: is not there; finish the campaign"):
        export_campaign(bare, tmp_path / "out", what=["fields"])
    with pytest.raises(ConfigError, match="no field has localisations in the store"):
        export_campaign(bare, tmp_path / "out", what=["locs"])
    assert not (tmp_path / "out").exists()


def test_the_command_line_offers_every_format():
    assert FORMATS == EXPORT_FORMATS


def test_the_document_names_what_is_written():
    rows = [
        line.split("|")
        for line in (ROOT / "docs" / "exports.md").read_text().splitlines()
        if line.startswith("| `") and "--format" not in line
    ]
    named = [name.strip(" `") for row in rows for name in row[1].split(",")]
    assert sorted(named) == sorted(FORMATS)
    tables = next(row[2] for row in rows if "`csv`" in row[1])
    assert all(f"`{name}`" in tables for name in ALL_NAMES)
