"""What is exported as another program writes it comes back through our own reader as the same locs."""

import json
import zipfile

import h5py
import numpy as np
import pyarrow.parquet
import pytest
import yaml

from smlmbatch.errors import ConfigError
from smlmbatch.export import stored_field
from smlmbatch.export.campaign import LOCS_FORMATS, export_campaign, unfit_fields
from smlmbatch.export.stored_field import StoredField
from smlmbatch.store.arrays import UnitReader
from tests.export.conftest import campaign_of, columns_of, ingested

PLAIN = ("frame", "photons", "precision_nm")
ALL = (*PLAIN, "background", "psf_nm", "group")
DEEP = (*ALL, "z_nm", "precision_z_nm")
# What a format has no column for.
LOST = {"thunderstorm": {"group"}}
# Quantities that a format rounds, and by how much at most: three decimals, or float32 pixels (8,192 of 100 nm).
POSITIONS = {"x_nm", "y_nm"}
LENGTHS = {*POSITIONS, "z_nm", "precision_nm", "precision_z_nm", "psf_nm"}
ROUNDED = {"csv": (POSITIONS, 5e-4), "thunderstorm": (LENGTHS, 5e-4), "smap-csv": (LENGTHS, 5e-4), "picasso": (POSITIONS, 0.05)}
EVERY = tuple(LOCS_FORMATS)


def round_trip(unit, format_name, folder):
    """Columns in the order of the exported records and attributes, before and after; the files; the shift that Picasso needed."""
    files = export_campaign(campaign_of(folder, unit), folder / "out", format=format_name, what=["locs"])
    before, attrs = columns_of(unit)
    if format_name not in ("csv", "parquet"):  # ours keep the store's order
        keys = (before["row"], before["channel"]) if format_name == "smlm" else (before["row"],)
        before = {name: values[np.lexsort(keys)] for name, values in before.items()}
    after, again = columns_of(ingested(files[0], folder / f"again-{format_name}"))
    after = {name: values[np.argsort(after["row"])] for name, values in after.items()}
    shift_nm = (0.0, 0.0)
    if format_name == "picasso":
        made = list(yaml.safe_load_all(files[1].read_text()))[-1]
        shift_nm = tuple(made.get(f"Shift {axis} (pixels)", 0) * made["Pixelsize"] for axis in "xy")
    return (before, attrs), (after, again), files, shift_nm


def assert_equal(before, after, format_name, *, shift_nm=(0.0, 0.0)):
    """Same quantities, same locs in the same order; rows are counted anew."""
    assert set(after) == set(before) - LOST.get(format_name, set())
    for name in set(after) - {"row"}:
        found, expected = after[name], before[name]
        if expected.dtype.kind == "f":
            shift = dict(zip(("x_nm", "y_nm"), shift_nm, strict=True)).get(name, 0.0)
            quantities, largest = ROUNDED.get(format_name, (set(), 0.0))
            # positions are rounded to float32 once more on the way back
            tolerance = (largest if name in quantities else 0.0) + (np.spacing(np.float32(20_000)) if name in POSITIONS else 0.0)
            np.testing.assert_allclose(found, expected + shift, rtol=0.0 if name in POSITIONS else 2e-7, atol=tolerance, err_msg=name)
        else:
            assert np.array_equal(found, expected), name


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("quantities", [PLAIN, ALL, DEEP], ids=["plain", "all", "3D"])
@pytest.mark.parametrize("format_name", EVERY)
def test_locs_come_back(stored, tmp_path, format_name, quantities, channels):
    unit = stored((*quantities, "channel"), channels=channels)
    (before, attrs), (after, again), _, _ = round_trip(unit, format_name, tmp_path)
    assert_equal(before, after, format_name)
    assert again["channels"] == attrs["channels"]
    assert again["n_per_channel"] == attrs["n_per_channel"]
    assert again["dims"] == attrs["dims"]


@pytest.mark.parametrize("format_name", [name for name in EVERY if name != "picasso"])
def test_positions_alone_come_back(stored, tmp_path, format_name):
    (before, _), (after, _), _, _ = round_trip(stored(()), format_name, tmp_path)
    assert set(before) == {"x_nm", "y_nm", "channel", "row"}
    assert_equal(before, after, format_name)


@pytest.mark.parametrize("first_frame", [0, 7])
@pytest.mark.parametrize("format_name", EVERY)
def test_frames_are_the_same_wherever_the_movie_begins(stored, tmp_path, format_name, first_frame):
    (before, _), (after, _), _, _ = round_trip(stored(PLAIN, first_frame=first_frame), format_name, tmp_path)
    assert np.array_equal(after["frame"], before["frame"])
    assert before["frame"].min() >= first_frame


@pytest.mark.parametrize("format_name", EVERY)
def test_a_missing_precision_stays_missing(stored, tmp_path, format_name):
    (before, _), (after, _), _, _ = round_trip(stored(DEEP, nan_precision=True), format_name, tmp_path)
    assert np.isnan(before["precision_nm"]).sum() == 72
    assert_equal(before, after, format_name)


@pytest.mark.parametrize("format_name", EVERY)
def test_a_far_field_keeps_its_digits(stored, tmp_path, format_name):
    unit = stored(PLAIN, corner_nm=(-12_345_678.0, 2_000_000.0))
    (before, _), (after, _), _, shift_nm = round_trip(unit, format_name, tmp_path)
    assert (shift_nm[0] > 12_345_000) == (format_name == "picasso")
    assert_equal(before, after, format_name, shift_nm=shift_nm)


@pytest.mark.parametrize("format_name", EVERY)
def test_many_passes_give_the_same_bytes(stored, tmp_path, monkeypatch, format_name):
    campaign = campaign_of(tmp_path, stored((*DEEP, "channel"), channels=3, n=3000))
    once = export_campaign(campaign, tmp_path / "once", format=format_name, what=["locs"])
    monkeypatch.setattr(StoredField.pieces_in_source_order, "__kwdefaults__", {"pass_rows": 700})
    monkeypatch.setattr(stored_field, "PIECE_ROWS", 256)
    many = export_campaign(campaign, tmp_path / "many", format=format_name, what=["locs"])
    if format_name == "parquet":  # row groups are pieces
        assert pyarrow.parquet.read_table(once[0]).equals(pyarrow.parquet.read_table(many[0]))
    else:
        assert [path.read_bytes() for path in once] == [path.read_bytes() for path in many]


def test_source_order_is_the_order_of_records(stored):
    with UnitReader(stored(PLAIN, n=2000)) as unit:
        field = StoredField(unit)
        assert not np.array_equal(np.concatenate([piece["row"] for piece in field.pieces()]), np.arange(2000))
        pieces = list(field.pieces_in_source_order(pass_rows=300))
    assert np.array_equal(np.concatenate([piece["row"] for piece in pieces]), np.arange(2000))
    assert max(len(piece["row"]) for piece in pieces) == 300


# ---- what each program wants


def text_of(stored, tmp_path, format_name, quantities):
    return export_campaign(campaign_of(tmp_path, stored(quantities, n=3)), tmp_path / "out", format=format_name)[0].read_text().splitlines()


def test_thunderstorm_quotes_its_header_and_counts_from_1(stored, tmp_path):
    lines = text_of(stored, tmp_path, "thunderstorm", DEEP)
    assert lines[0].startswith('"id","frame","x [nm]","y [nm]","z [nm]","sigma1 [nm]","sigma2 [nm]","intensity [photon]",')
    assert lines[0].endswith('"uncertainty_xy [nm]","uncertainty_z [nm]"')
    cells = [line.split(",") for line in lines[1:]]
    assert all(row[5] == row[6] for row in cells)  # in 3D, ThunderSTORM has two widths
    assert [row[0] for row in cells] == ["1", "2", "3"]
    assert all(len(row[i].partition(".")[2]) == 3 for row in cells for i in (2, 3, 4, 5, 6, 9, 10))  # lengths


def test_smap_names_its_columns(stored, tmp_path):
    lines = text_of(stored, tmp_path, "smap-csv", DEEP)
    assert lines[0] == "ID,frame,xnm,ynm,znm,phot,bg,locprecnm,locprecznm,PSFxnm,groupindex"
    assert len(lines) == 4


@pytest.mark.parametrize("format_name", ["csv", "thunderstorm", "smap-csv"])
def test_no_number_is_what_java_reads(stored, tmp_path, format_name):
    campaign = campaign_of(tmp_path, stored(PLAIN, n=30, nan_precision=True))
    text = export_campaign(campaign, tmp_path / "out", format=format_name, what=["locs"])[0].read_text()
    assert text.count("NaN") == 5
    assert "nan" not in text
    assert ",," not in text


def test_picasso_finds_what_it_needs(stored, tmp_path):
    data, sidecar = export_campaign(campaign_of(tmp_path, stored(ALL, corner_nm=(20.0, 900.0))), tmp_path / "out", format="picasso")
    assert data.name.endswith("_locs.hdf5")
    assert sidecar == data.with_suffix(".yaml")
    movie, made = yaml.safe_load_all(sidecar.read_text())
    with h5py.File(data) as file:
        locs = file["locs"][:]
    assert {"frame", "x", "y", "photons", "sx", "sy", "bg", "lpx", "lpy", "group"} == set(locs.dtype.names)
    # what picasso.lib.ensure_sanity keeps
    assert ((locs["x"] > 0) & (locs["x"] < movie["Width"]) & (locs["y"] > 0) & (locs["y"] < movie["Height"])).all()
    assert (locs["lpx"] > 0).all()
    assert locs["frame"].max() < movie["Frames"]
    assert (made["Pixelsize"], made["Pixelsize is known"]) == (100.0, False)
    assert (made["Shift x (pixels)"], made["Shift y (pixels)"]) == (1, 0)


def test_picasso_gets_the_camera_s_pixel_where_it_is_known(tmp_path):
    source = tmp_path / "f.csv"
    source.write_text("x [px],y [px],frame,uncertainty [px]\n10,20,1,0.1\n300,400,2,0.2\n")
    unit = ingested(source, tmp_path / "unit", pixel_size_nm=117)
    data, sidecar = export_campaign(campaign_of(tmp_path, unit), tmp_path / "out", format="picasso")
    with h5py.File(data) as file:
        locs = file["locs"][:]
    np.testing.assert_allclose(locs["x"], [9.5, 299.5], rtol=1e-6)  # 0.5 px: Picasso counts from the first pixel's centre
    np.testing.assert_allclose(locs["lpx"], [0.1, 0.2], rtol=1e-6)
    assert list(yaml.safe_load_all(sidecar.read_text()))[-1]["Pixelsize"] == 117


@pytest.mark.parametrize(("quantities", "missing"), [((), "frame and no precision_nm"), (("frame",), "precision_nm")])
def test_picasso_refuses_what_it_could_not_use(stored, tmp_path, quantities, missing):
    lacking = campaign_of(tmp_path, stored(quantities))
    with pytest.raises(ConfigError, match=f"has no {missing}, which the format picasso needs"):
        export_campaign(lacking, tmp_path / "out", format="picasso")
    assert not (tmp_path / "out").exists()


def test_a_field_that_does_not_fit_leaves_the_others_alone(stored, tmp_path):
    campaign = campaign_of(tmp_path, stored((), name="bare"), stored(PLAIN, name="whole"))
    files = export_campaign(campaign, tmp_path / "out", format="picasso")
    assert [path.name for path in files] == [f"{campaign.fields[1].field.key}_locs.{suffix}" for suffix in ("hdf5", "yaml")]
    assert list(unfit_fields(campaign, "picasso")) == ["0.csv"]
    assert unfit_fields(campaign, "csv") == {}


def test_smlm_has_a_manifest_and_a_table_per_channel(stored, tmp_path):
    unit = stored((*PLAIN, "channel"), channels=2, n=101, corner_nm=(-5e6, 7e6))
    (path,) = export_campaign(campaign_of(tmp_path, unit), tmp_path / "out", format="smlm")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        tables = [archive.read(entry["name"]) for entry in manifest["files"]]
    assert manifest["format_version"] == "0.2"
    assert [(entry["channel"], entry["rows"]) for entry in manifest["files"]] == [("0", 51), ("1", 50)]
    form = manifest["formats"]["smlm-table(binary)"]
    assert form["headers"] == ["frame", "x", "y", "intensity", "uncertainty_xy"]
    assert form["units"] == ["frame", "nm", "nm", "photon", "nm"]
    record = np.dtype([(header, kind) for header, kind in zip(form["headers"], form["dtype"], strict=True)])
    columns, _ = columns_of(unit)
    columns = {name: values[np.argsort(columns["row"])] for name, values in columns.items()}
    for number, (entry, table) in enumerate(zip(manifest["files"], tables, strict=True)):
        rows = np.frombuffer(table, record)
        mine = columns["channel"] == number
        assert np.array_equal(rows["frame"], columns["frame"][mine] + 1)
        assert np.array_equal(rows["x"].astype(np.float64) + entry["offset"]["x"], columns["x_nm"][mine])
        assert entry["min"]["x"] == columns["x_nm"][mine].min()
        assert entry["avg"]["y"] == pytest.approx(columns["y_nm"][mine].mean())


def test_parquet_says_its_units_and_what_ingest_knows(stored, tmp_path):
    (path,) = export_campaign(campaign_of(tmp_path, stored(DEEP)), tmp_path / "out", format="parquet", what=["locs"])
    schema = pyarrow.parquet.read_schema(path)
    assert {schema.field(name).metadata[b"unit"] for name in ("x_nm", "precision_z_nm")} == {b"nm"}
    assert json.loads(schema.metadata[b"smlmbatch"])["n"] == 500


@pytest.mark.parametrize("format_name", ["thunderstorm", "picasso", "smap-csv", "smlm"])
def test_tables_of_results_have_no_such_format(stored, tmp_path, format_name):
    campaign = campaign_of(tmp_path, stored(PLAIN))
    with pytest.raises(ConfigError, match=f"--format {format_name} with what rois: wanted one of locs"):
        export_campaign(campaign, tmp_path / "out", format=format_name, what=["rois"])


def test_extreme_numbers_are_written_as_they_are(tmp_path):
    source = tmp_path / "f.csv"
    source.write_text("x_nm,y_nm,photons\n0,0,3e38\n5000,-5000,1e60\n2500,9e9,-12.0625\n0.0005,1,NaN\n")
    unit = ingested(source, tmp_path / "unit")
    for format_name in ("csv", "thunderstorm", "smap-csv"):
        (before, _), (after, _), _, _ = round_trip(unit, format_name, tmp_path / format_name)
        assert np.array_equal(after["photons"], before["photons"], equal_nan=True)
        assert np.isinf(before["photons"]).sum() == 1


# ---- real files


@pytest.mark.parametrize(
    "name",
    [
        "smap_sml_mat/smap_dstorm_data_sml.mat",
        "thunderstorm_3d_csv/ThunderSTORM_TS3D.csv",
        "nikon_nstorm_txt/nstormfull.txt",
        "egfr_ereg_oni_codi/C15_EGFR647_EREG568_FOV7.parquet",
        "origami_cuboctahedron_picasso/7_4_cuboctahedron_DNA-PAINT.hdf5",
        "minflux_npc_2d_npy/2D_ValidOnly.npy.zip",
    ],
)
def test_real_files_come_back(data_folder, tmp_path, name):
    unit = ingested(data_folder / "real" / name, tmp_path / "unit")
    unfit = {name: unfit_fields(campaign_of(tmp_path, unit), name) for name in EVERY}
    assert [name for name in EVERY if unfit[name]] in ([], ["picasso"])
    for format_name in (name for name in EVERY if not unfit[name]):
        (before, attrs), (after, again), _, shift_nm = round_trip(unit, format_name, tmp_path / format_name)
        assert_equal(before, after, format_name, shift_nm=shift_nm)
        assert again["n_per_channel"] == attrs["n_per_channel"]
