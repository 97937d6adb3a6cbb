"""Every program's table: written here with its header as the program writes it, read back to the same localisations."""

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smlmbatch.errors import InputError
from smlmbatch.ingest.blocks import TextTable, text_blocks
from smlmbatch.ingest.odd_heads import text_head
from smlmbatch.ingest.source import Malformed
from smlmbatch.ingest.streams import opener_of
from smlmbatch.ingest.vendors import TEXT_FORMATS
from tests.conftest import smlmbatch
from tests.ingest.conftest import ingest_file
from tests.ingest.vendor_tables import (
    BASIC,
    CHANNEL,
    FRAME,
    PALMTRACER_LEAD,
    RAPIDSTORM,
    SAMPLES,
    TRUTH,
    I,
    N,
    Sample,
    X,
    Y,
    const,
    vutara,
)


def check(sample, found, index=I):
    """The records `index` of the truth, under their own numbers, and nothing else."""
    got = found.by_row()
    kept = index if isinstance(index, dict) else dict(zip(index.tolist(), index.tolist(), strict=True))  # record → truth
    rows, truth = np.array(list(kept)), np.array(list(kept.values()))
    np.testing.assert_array_equal(got["row"], rows)
    assert set(found.attrs["columns"]) == set(sample.quantities)
    for name in sample.quantities:
        tolerance = {"atol": 1e-3} if name in ("x_nm", "y_nm") else {"rtol": 2e-6, "atol": 1e-6}
        np.testing.assert_allclose(got[name], TRUTH[name][truth], err_msg=name, **tolerance)
    assert found.attrs["format"] == sample.format
    if "frame" in sample.quantities:
        assert found.attrs["frame_base"] == sample.frame_base


@pytest.mark.parametrize("name", SAMPLES)
def test_every_program(ingest, write, name):
    sample = SAMPLES[name]
    found = ingest(write("f.txt", sample.text()), **sample.row)
    check(sample, found)
    assert (found.attrs["n_read"], found.attrs["dropped"]) == (N, {})
    assert "the last line has no end: is the file cut off?" not in found.attrs["warnings"]


def test_no_format_is_left_out():
    assert {sample.format for sample in SAMPLES.values()} == {form.name for form in TEXT_FORMATS}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("damage", ["few cells", "words"])
def test_a_bad_record_is_counted_and_the_others_join_by_row(ingest, write, name, damage):
    sample = SAMPLES[name]
    records = sample.records()
    cells = records[30].split(sample.delimiter)
    bad = sample.delimiter.join(cells[:-1]) if damage == "few cells" else sample.delimiter.join(["?!"] * len(cells))
    records = [*records[:30], bad, "", *records[30:]]  # the blank line is no record
    found = ingest(write("f.txt", sample.text(records)), **sample.row)
    assert found.attrs["dropped"] == {"malformed": 1}
    check(sample, found, {**{k: k for k in range(30)}, **{k + 1: k for k in range(30, N)}})


@pytest.mark.parametrize("name", SAMPLES)
def test_gzip_of_every_program(ingest, write, name):
    sample = SAMPLES[name]
    check(sample, ingest(write("f.csv.gz", gzip.compress(sample.text())), **sample.row))


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if not sample.header and not sample.lead and not sample.tail])
def test_parquet_with_a_programs_columns(ingest, tmp_path, name):
    """DECODE's pixel size, PALMTracer's and rapidSTORM's names stand in the text's head alone."""
    sample = SAMPLES[name]
    options = pyarrow.csv.ParseOptions(delimiter=sample.delimiter)
    pq.write_table(pyarrow.csv.read_csv(io.BytesIO(sample.text()), parse_options=options), tmp_path / "f.parquet")
    check(sample, ingest(tmp_path / "f.parquet", **sample.row))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_format_may_be_forced(ingest, write, name):
    sample = SAMPLES[name]
    check(sample, ingest(write("f.txt", sample.text()), format=sample.format, **sample.row))


FREE = sorted(name for name, sample in SAMPLES.items() if not sample.header and name != "PoCA")  # that is told by its order


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(FREE))
def test_order_of_columns_is_free(tmp_path, data, name):
    sample = SAMPLES[name]
    first = [key for key in sample.columns if key.startswith("#")]
    names = first + data.draw(st.permutations([key for key in sample.columns if key not in first]))
    moved = Sample(**{**vars(sample), "columns": {key: sample.columns[key] for key in names}})
    (tmp_path / "f.txt").write_bytes(moved.text())
    check(sample, ingest_file(tmp_path / "f.txt", tmp_path / "work", **sample.row))


OPTIONAL = {
    "N-STORM": {"Photons": "photons", "Lateral Localization Accuracy": "precision_nm", "Width": "psf_nm", "BG": "background", "Phi": None},
    "Zeiss ELYRA": {"Precision [nm]": "precision_nm", "Number Photons": "photons", "Channel": "channel", "Chi square": None},
    "NimOS, long": {"X precision (nm)": "precision_nm", "Photons": "photons", "Background": "background", "Channel": "channel"},
    "CODI": {"variance_y[nm^2]": "precision_nm", "sigmaX_mean[nm]": "psf_nm", "channelIndex[]": "channel", "z[nm]": "z_nm"},
    "DECODE": {"bg": "background", "z_sig": "precision_z_nm", "prob": None},
    "Vutara": {"precisionx": "precision_nm", "probe": "channel", "valid": None, "fiducial": None, "precisionz": "precision_z_nm"},
    "SMAP": {"phot": "photons", "bg": "background", "locprecnm ": "precision_nm", "znm": "z_nm", "ID": None},
    "PALMTracer": {"SigmaX(px)": "psf_nm", "CentroidZ(um)": "z_nm", "Angle(rad)": None},
    "ThunderSTORM": {'"sigma [nm]"': "psf_nm", '"uncertainty_xy [nm]"': "precision_nm", '"id"': None, '"frame"': "frame"},
}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(OPTIONAL)))
def test_columns_may_be_absent(tmp_path, data, name):
    sample = SAMPLES[name]
    gone = data.draw(st.sets(st.sampled_from(sorted(OPTIONAL[name]))))
    columns = {key: values for key, values in sample.columns.items() if key not in gone}
    quantities = tuple(q for q in sample.quantities if q not in {OPTIONAL[name][key] for key in gone})
    fewer = Sample(**{**vars(sample), "columns": columns, "quantities": quantities})
    (tmp_path / "f.txt").write_bytes(fewer.text())
    check(fewer, ingest_file(tmp_path / "f.txt", tmp_path / "work", **sample.row))


# ---- filters


def test_records_nstorm_rejects_are_dropped_by_reason(ingest, write):
    sample = SAMPLES["N-STORM"]
    marks = {5: "Z Rejected", 6: "Non Specific Activation", 7: "Alexa405 Crosstalk", 8: "Z Rejected", 9: "Crosstalk"}
    names = [marks.get(i, name) for i, name in enumerate(sample.columns["Channel Name"])]
    marked = Sample(**{**vars(sample), "columns": sample.columns | {"Channel Name": names}})
    found = ingest(write("f.txt", marked.text()))
    assert found.attrs["dropped"] == {"rejected": 2, "non-specific activation": 1, "crosstalk": 2}
    check(marked, found, np.delete(I, list(marks)))
    assert found.attrs["channel_names"] == ["Alexa405/Alexa647", "Cy3/Alexa647"]  # the dropped take no number


def test_records_vutara_rejects_are_dropped_by_reason(ingest, write, tmp_path):
    sample = SAMPLES["Vutara"]
    marked = vutara() | {"valid": np.where(I % 10 == 3, 0, 1), "fiducial": np.where((I % 10 == 3) | (I == 20), 1, 0)}
    marked = Sample(**{**vars(sample), "columns": marked})
    found = ingest(write("f.csv", marked.text()))
    assert found.attrs["dropped"] == {"marked as not valid": 6, "fiducial": 1}
    check(marked, found, I[(I % 10 != 3) & (I != 20)])
    pq.write_table(pa.table({name: np.asarray(values) for name, values in marked.columns.items()}), tmp_path / "f.parquet")
    assert ingest(tmp_path / "f.parquet").digest != ""
    check(marked, ingest(tmp_path / "f.parquet"), I[(I % 10 != 3) & (I != 20)])


def test_all_rejected_is_said(ingest, write):
    columns = vutara() | {"valid": const(0)}
    with pytest.raises(InputError, match=r"none of the 60 records is a localisation \(.*marked as not valid: 60"):
        ingest(write("f.csv", Sample("vutara", columns, ()).text()))


# ---- what lies in odd heads


def test_pixels_that_are_not_square_are_told(ingest, write):
    sample = SAMPLES["DECODE"]
    found = ingest(write("f.csv", sample.text()))
    assert found.attrs["warnings"] == {"camera pixels are 127 nm wide and 117 nm high": 1}
    assert (found.attrs["unit"], found.attrs["pixel_size_nm"], found.attrs["pixel_offset_px"]) == ("px", None, 0.5)
    found = ingest(write("f.csv", sample.text()), pixel_size_nm=100)
    assert (found.attrs["warnings"], found.attrs["pixel_size_nm"]) == ({}, 100)
    np.testing.assert_allclose(found.by_row()["x_nm"], X / 127 * 100, atol=1e-3)
    found = ingest(write("f.csv", sample.text()), config={"pixel_size_nm": 100.0})  # for all files: not for those that say theirs
    assert found.attrs["warnings"] == {"camera pixels are 127 nm wide and 117 nm high": 1}


@pytest.mark.parametrize("meta", ["", "# null\n", "# {broken\n", '# {"xy_unit": null, "px_size": [0, -1]}\n', "# " + "[" * 9999 + "\n"])
def test_decode_without_a_unit_asks_for_it(ingest, write, meta):
    sample = SAMPLES["DECODE in nm"]
    bare = Sample(**{**vars(sample), "lead": "# DECODE EmitterSet\n" + meta})
    path = write("f.csv", bare.text())
    with pytest.raises(InputError, match="nothing says in which unit x and y are") as caught:
        ingest(path)
    assert "--unit" in caught.value.mend
    assert ingest(path, unit="nm").attrs["pixel_offset_px"] == 0  # no pixel known: the half of one neither


def test_decode_in_pixels_of_unknown_size_asks_for_it(ingest, write):
    sample = SAMPLES["DECODE"]
    lead = '# DECODE EmitterSet\n# {}\n# {"xy_unit": "px", "px_size": null}\n'
    path = write("f.csv", Sample(**{**vars(sample), "lead": lead}).text())
    with pytest.raises(InputError, match="no pixel size is known"):
        ingest(path)
    assert ingest(path, pixel_size_nm=100).attrs["pixel_size_nm"] == 100


def test_palmtracer_minus_one_is_no_width(ingest, write):
    sample = SAMPLES["PALMTracer"]
    columns = sample.columns | {"SigmaX(px)": const(-1), "SigmaY(px)": const(-1)}
    found = ingest(write("f.txt", Sample(**{**vars(sample), "columns": columns}).text()))
    assert np.isnan(found.psf_nm).all()
    assert found.attrs["pixel_size_nm"] == pytest.approx(106)


@pytest.mark.parametrize("size", ["0", "-1", "none", "inf"])
def test_palmtracer_without_a_pixel_size_asks_for_it(ingest, write, size):
    sample = SAMPLES["PALMTracer"]
    path = write("f.txt", Sample(**{**vars(sample), "lead": PALMTRACER_LEAD.replace("0.106", size)}).text())
    with pytest.raises(InputError, match="no pixel size is known"):
        ingest(path)
    check(sample, ingest(path, pixel_size_nm=106))


def test_rapidstorm_track_files_are_refused(ingest, write):
    nested = RAPIDSTORM.replace("</localizations>", RAPIDSTORM.removeprefix("# ") + "</localizations>")
    path = write("f.txt", nested + "\n5417.67 8439.85 1 4339.29 2 5421.22 25\n")
    for row in ({}, {"format": "rapidstorm"}):
        with pytest.raises(InputError, match="track file") as caught:
            ingest(path, **row)
        assert "without tracks" in caught.value.mend


def test_rapidstorm_without_identifiers(ingest, write):
    """What versions before the identifiers wrote, and trailing blanks."""
    fields = [("x-position", "nanometer"), ("y-position", "nanometer"), ("frame number", "frame"), ("emission strength", "A/D count")]
    header = "".join(f'<field syntax="s" semantic="{meaning}" unit="{unit}" />' for meaning, unit in fields)
    text = f'# <localizations insequence="true">{header}</localizations>\n' + "".join(
        f"{x} {y} {f} 7 \n" for x, y, f in zip(X, Y, FRAME, strict=True)
    )
    found = ingest(write("f.txt", text))
    check(Sample("rapidstorm", {}, BASIC), found)


def test_elyra_ends_where_its_trailer_begins(ingest, write):
    sample = SAMPLES["Zeiss ELYRA"]
    numbers = sample.tail + b"1\t2\t3\t4\t5\t6\t7\t8\t9\t10\t11\t12\t13\r\n" * 5  # whatever the trailer holds, it is none
    found = ingest(write("f.txt", Sample(**{**vars(sample), "tail": numbers}).text()))
    assert (found.attrs["n_read"], found.attrs["warnings"]) == (N, {})
    lines = sample.text().split(b"\r\n")
    lines[31] = lines[31].replace(b"\t", b"\x00")  # damage within a record is not the end
    found = ingest(write("f.txt", b"\r\n".join(lines)))
    assert (found.attrs["n_read"], found.attrs["dropped"]) == (N, {"malformed": 1})


@pytest.mark.parametrize("block_bytes", [150, 151, 152, 153, 1000])
def test_the_end_is_seen_wherever_a_block_is_cut(write, block_bytes):
    sample = SAMPLES["Zeiss ELYRA"]
    path = write("f.txt", sample.text())
    table = TextTable(path, opener_of(path), text_head(sample.text()), {4: pa.float64()}, end=b"\x00")
    blocks = list(text_blocks(table, Malformed(), block_bytes=block_bytes))
    np.testing.assert_array_equal(np.concatenate([block.columns["4"] for block in blocks]), X)
    assert sum(block.n_records for block in blocks) == N


# ---- units and frames given by the user


def test_a_unit_that_contradicts_the_file_is_refused(ingest, write):
    for name, unit in (("ThunderSTORM", "um"), ("N-STORM", "px"), ("PALMTracer", "nm"), ("DECODE", "nm")):
        with pytest.raises(InputError, match=f"the unit given is {unit}"):
            ingest(write("f.txt", SAMPLES[name].text()), config={"unit": unit})
    with pytest.raises(InputError, match="the unit given is um"):
        ingest(write("f.txt", "x_nm,y_nm\n1,2\n3,4\n"), unit="um")
    check(SAMPLES["ThunderSTORM"], ingest(write("f.txt", SAMPLES["ThunderSTORM"].text()), unit="nm"))
    check(SAMPLES["PALMTracer"], ingest(write("f.txt", SAMPLES["PALMTracer"].text()), unit="px"))


def test_the_sheets_unit_wins_over_the_configurations(ingest, write):
    sample = SAMPLES["vLUME in um"]
    check(sample, ingest(write("f.txt", sample.text()), unit="um", config={"unit": "nm"}))


def test_a_unit_for_a_map_that_has_none(ingest, write):
    path = write("f.csv", "X,Y,T\n0.1,0.2,1\n0.3,0.4,2\n")
    found = ingest(path, map="x=X,y=Y,frame=T", unit="um", frame_base=1)
    assert (found.attrs["unit"], found.attrs["frame_base"], found.by_row()["x_nm"].tolist()) == ("um", 1, pytest.approx([100, 300]))
    found = ingest(path, map="x=X,y=Y,frame=T,unit=mm,frame_base=0", unit="um", frame_base=1)  # the map says more
    assert (found.attrs["unit"], found.attrs["frame_base"]) == ("mm", 0)


@pytest.mark.parametrize(("name", "base"), [("N-STORM", 0), ("NimOS, short", 1), ("ThunderSTORM", 0), ("exported by Picasso", 0)])
def test_frames_counted_from_another_number(ingest, write, name, base):
    sample = SAMPLES[name]
    if name == "NimOS, short":
        sample = Sample(**{**vars(sample), "columns": sample.columns | {"Frame": FRAME + 1}})
    found = ingest(write("f.txt", sample.text()), frame_base=base)
    assert found.attrs["frame_base"] == base
    shift = {"N-STORM": 1, "ThunderSTORM": 1}.get(name, 0)
    np.testing.assert_array_equal(found.by_row()["frame"], FRAME + shift)


def test_two_columns_of_one_name(ingest, write):
    text = "Channel,Frame,X (nm),x (nm),Y (nm)\n0,1,2,3,4\n0,1,2,3,4\n"
    with pytest.raises(InputError, match=r"2 columns are called X \(nm\)"):
        ingest(write("f.csv", text))


def test_channel_numbers_where_words_are_usual(ingest, tmp_path):
    """A filter of words drops no numbers."""
    sample = SAMPLES["N-STORM"]
    columns = {name: np.asarray(values) for name, values in (sample.columns | {"Channel Name": CHANNEL}).items()}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    check(sample, ingest(tmp_path / "f.parquet"))


def test_units_by_the_command_line(write, tmp_path):
    write("f.csv", "x,y,frame\n" + "".join(f"{x / 1e3},{y / 1e3},{frame}\n" for x, y, frame in zip(X, Y, FRAME + 5, strict=True)))
    refused = smlmbatch("validate", tmp_path, "--json", expect=3).stdout
    assert "--unit nm" in refused
    report = json.loads(smlmbatch("validate", tmp_path, "--unit", "um", "--frame-base", "0", "--json").stdout)["files"][0]["report"]
    assert report["frame_extent"] == [5, 24]
    np.testing.assert_allclose(report["extent_nm"], [[X[0], Y[0]], [X[-1], Y[-1]]])
