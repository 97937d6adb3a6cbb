"""Outline files, good ones against their vertices and bad ones against what the user is told."""

import tracemalloc
import zipfile

import numpy as np
import pytest
import roifile
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smlmbatch.errors import InputError
from smlmbatch.tile import outline as outline_module
from smlmbatch.tile.outline import read_outline

SQUARE = [(1000.0, 2000.0), (5000.0, 2000.0), (5000.0, 4000.0), (1000.0, 4000.0)]
ROWS = "1000,2000\n5000,2000\n5000,4000\n1000,4000\n"
BOW_TIE = [(0, 0), (100, 100), (100, 0), (0, 100)]


def read(path, *, origin_nm=(0.0, 0.0), pixel_size_nm=100.0):
    return read_outline(path, origin_nm=origin_nm, pixel_size_nm=pixel_size_nm)


def roi_bytes(vertices=((10, 20), (50, 20), (50, 40), (10, 40)), **attributes):
    roi = roifile.ImagejRoi.frompoints(np.array(vertices, np.float32))
    for name, value in attributes.items():
        setattr(roi, name, value)
    return roi.tobytes()


@pytest.fixture
def write(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


@pytest.fixture
def write_zip(tmp_path):
    def put(members, name="cells.zip", **options):
        with zipfile.ZipFile(tmp_path / name, "w", **options) as archive:
            for member, content in members:
                archive.writestr(member, content)
        return tmp_path / name

    return put


def refusal(path, **options):
    """The InputError that reading ends with; all its parts say something."""
    with pytest.raises(InputError) as caught:
        read(path, **options)
    error = caught.value
    assert error.path == str(path)
    assert all((error.finding, error.want, error.mend))
    return error


# ---- CSV


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        "x_nm,y_nm\n" + ROWS,
        "X [nm],Y [nm]\n" + ROWS,
        "x,y\n" + ROWS,
        "\ufeffx_nm,y_nm\n" + ROWS,
        "\ufeff" + ROWS,
        "\n\n x_nm , y_nm\n\n" + ROWS.replace("\n", "\n , \n"),
        '"x_nm","y_nm"\r\n' + ROWS.replace("\n", "\r\n"),
        ROWS + "1000,2000\n",
        ROWS.replace("\n", ",\n"),
        "id,y_nm,x_nm\n" + "".join(f"{i},{y},{x}\n" for i, (x, y) in enumerate(SQUARE)),
        "x_nm,y_nm\n" + ROWS.replace("000", "e3"),
    ],
    ids=["bare", "x_nm", "x [nm]", "x", "BOM", "bare BOM", "blank lines", "quoted", "closed", "comma at the end", "swapped", "exponents"],
)
def test_csv(write, text):
    (cell,) = read(write("cell.csv", text), origin_nm=(500.0, -100.0))
    assert cell.polygon.equals(shapely.box(500, 2100, 4500, 4100))
    assert (cell.name, cell.region) == ("cell 1", "")


def test_csv_regions_in_their_order(write):
    """Rows of one region need not stand together; a region's name may hold anything."""
    rows = [f"{x},{y},nucleus" for x, y in SQUARE] + [f"{x + 1e4},{y},'cell, left'" for x, y in SQUARE]
    quoted = [row.replace("'", '"') for row in rows]
    cells = read(write("cells.csv", "x_nm,y_nm,region\n" + "\n".join([quoted[4], *quoted[:4], *quoted[5:]])))
    assert [(cell.name, cell.region) for cell in cells] == [("cell, left", "cell, left"), ("nucleus", "nucleus")]
    assert [cell.polygon.bounds[0] for cell in cells] == [11_000, 1000]


def test_the_suffix_may_be_in_capitals(write):
    assert read(write("cell.CSV", ROWS))[0].polygon.area == 8e6


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "holds no vertices"),
        ("\n \n,\n", "holds no vertices"),
        ("x_nm,y_nm\n", "holds no vertices"),
        ("1,2\n3,4\n", "2 different vertices"),
        ("1,2\n3,4\n1,2\n", "2 different vertices"),
        ("1,2\n3,4\n1,2\n3,4\n1,2\n", "2 different vertices"),
        ("5,5\n" * 9, "1 different vertices"),
        ("0,0\n1,1\n2,2\n", "encloses nothing"),
        ("nan,2\n3,4\n5,9\n", "no finite number"),
        ("1,2\n3,inf\n5,9\n", "no finite number"),
        ("1,2\n3,four\n5,9\n", "vertex 2 is '3,four'"),
        ("1,2\n3\n5,9\n", "vertex 2 is '3'"),
        ("x_nm,y_nm,region\n0,0,a\n9,0\n9,9,a\n", "vertex 2 is '9,0'"),
        ("left,top\n" + ROWS, "'left,top', which names no column x_nm"),
        ("x_nm,top\n" + ROWS, "names no column y_nm"),
        ("pixel,x (px),y (px)\n0,1,2\n0,5,9\n", "names no column x_nm"),
        (ROWS.replace(",", ";"), "names no column x_nm"),
        (ROWS.replace("\n", ",7\n"), "3 columns without names"),
        ("\n".join(f"{x},{y}" for x, y in BOW_TIE), "crosses itself and falls into 2 pieces"),
        ("x_nm,y_nm,region\n0,0,soma\n1,1,soma\n", "region 'soma' has 2 different vertices"),
        (b"x_nm,y_nm\n\xff\xfe\x00\x01", "no text table"),
        (b"\x00\x01\x02\x03" * 50, ""),
        ('"' + "x" * 200_000, "no text table"),
    ],
)
def test_bad_csv(write, text, finding):
    assert finding in refusal(write("cell.csv", text)).finding


def test_a_freehand_line_may_overlap_where_it_ends(write):
    """The loop at the end is under a twentieth of the whole: it is left out, with what else hangs on the edge."""
    ring = [*SQUARE, (1000, 1990), (1010, 2000), (990, 2005)]
    (cell,) = read(write("cell.csv", "\n".join(f"{x},{y}" for x, y in ring)))
    assert cell.polygon.is_valid
    assert cell.polygon.area == pytest.approx(8e6, rel=1e-3)


def test_a_spike_is_cut_off(write):
    """A line there and back encloses nothing; what is left is the outline."""
    ring = [*SQUARE[:2], (5000.0, 3000.0), (9000.0, 3000.0), (5000.0, 3000.0), *SQUARE[2:]]
    (cell,) = read(write("cell.csv", "\n".join(f"{x},{y}" for x, y in ring)))
    assert cell.polygon.equals(shapely.box(1000, 2000, 5000, 4000))


def test_pieces_and_a_spike_together(write):
    """make_valid gives a collection of a multi-polygon and a line: the pieces in it are seen."""
    ring = [(0, 0), (100, 100), (100, 150), (100, 100), (100, 0), (0, 100)]
    assert "pieces" in refusal(write("cell.csv", "\n".join(f"{x},{y}" for x, y in ring))).finding


# ---- ImageJ


def test_roi_polygon(write):
    (cell,) = read(write("cell.roi", roi_bytes()), origin_nm=(500.0, 0.0))
    assert cell.polygon.equals(shapely.box(500, 2000, 4500, 4000))


def test_roi_at_subpixels(write):
    vertices = [(10.25, 20.5), (50.75, 20.5), (50.75, 40.125)]
    (cell,) = read(write("cell.roi", roi_bytes(vertices)))
    assert cell.polygon.equals(shapely.Polygon(100 * np.array(vertices)))


@pytest.mark.parametrize(("kind", "area_px2"), [("RECT", 800.0), ("OVAL", np.pi * 200)])
def test_roi_rectangle_and_oval(write, kind, area_px2):
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE[kind], version=227, left=10, top=20, right=50, bottom=40)
    (cell,) = read(write("cell.roi", roi.tobytes()), pixel_size_nm=160.0)
    assert cell.polygon.bounds == pytest.approx((1600, 3200, 8000, 6400), abs=160 if kind == "OVAL" else 1e-9)
    assert cell.polygon.area == pytest.approx(area_px2 * 160**2, rel=0.03 if kind == "OVAL" else 1e-12)


def test_zip_of_rois(write_zip):
    shifted = roi_bytes([(110, 20), (150, 20), (150, 40)])
    cells = read(write_zip([("soma.roi", roi_bytes()), ("neurite.roi", shifted), ("notes.txt", "no outline")]))
    assert [(cell.name, cell.region) for cell in cells] == [("soma", "soma"), ("neurite", "neurite")]
    assert cells[1].polygon.bounds == (11_000, 2000, 15_000, 4000)


def test_zip_deflated(write_zip):
    assert len(read(write_zip([("soma.roi", roi_bytes())], compression=zipfile.ZIP_DEFLATED))) == 1


@pytest.mark.parametrize("name", ["cell.roi", "cells.zip"])
def test_pixel_size_must_be_known(write, write_zip, name):
    path = write(name, roi_bytes()) if name.endswith("roi") else write_zip([("a.roi", roi_bytes())], name)
    error = refusal(path, pixel_size_nm=0.0)
    assert "pixel size isn't known" in error.finding
    assert "pixel_size_nm" in error.mend


@pytest.mark.parametrize("kind", ["POINT", "POLYLINE", "FREELINE", "ANGLE", "LINE", "NOROI"])
def test_rois_that_are_no_outline(write, kind):
    roi = roi_bytes(roitype=roifile.ROI_TYPE[kind])
    assert f"of type {kind.lower()}" in refusal(write("cell.roi", roi)).finding


def test_a_name_in_a_zip_leads_nowhere(write_zip, tmp_path):
    (cell,) = read(write_zip([("../../x.roi", roi_bytes())]))
    assert cell.name == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["cells.zip"]
    assert not (tmp_path.parent.parent / "x.roi").exists()


def test_two_outlines_of_one_name(write_zip):
    assert "two outlines named x" in refusal(write_zip([("a/x.roi", roi_bytes()), ("b/x.roi", roi_bytes())])).finding


@pytest.mark.parametrize("suffix", [".csv", ".roi", ".zip"])
@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n\x00\x00", b"Iout", b"Iout" + b"\xff" * 300, b"PK\x03\x04" + bytes(100), bytes(5000)]
)
def test_rubbish_of_each_suffix(write, suffix, content):
    refusal(write(f"cell{suffix}", content))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".roi", ".zip"]), changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_damaged_files_are_read_or_refused(write, write_zip, suffix, changes):
    """Some bytes of a good file changed: an outline, or an InputError; nothing else, and nothing endless."""
    path = write("a.roi", roi_bytes()) if suffix == ".roi" else write_zip([("a.roi", roi_bytes())], compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path = write(f"damaged{suffix}", bytes(content))
    try:
        cells = read(path)
    except InputError:
        return
    assert all(cell.polygon.area > 0 for cell in cells)


@pytest.mark.parametrize("cut", range(0, 200, 13))
def test_a_file_cut_short(write, write_zip, cut):
    whole = write_zip([("a.roi", roi_bytes())], compression=zipfile.ZIP_DEFLATED).read_bytes()
    refusal(write("short.zip", whole[:cut]))


def test_a_broken_deflate_stream(write, write_zip):
    content = bytearray(write_zip([("a.roi", roi_bytes())], compression=zipfile.ZIP_DEFLATED).read_bytes())
    content[30 + len("a.roi")] = 0b111  # RFC 1951: the last block, of the reserved type
    assert "invalid block type" in refusal(write("broken.zip", bytes(content))).finding


def test_zip_without_outlines(write_zip):
    assert "holds no .roi" in refusal(write_zip([("readme.txt", "hello")])).finding


def test_encrypted_zip(write_zip):
    path = write_zip([("a.roi", roi_bytes())])
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(bytes(content))
    assert "encrypted" in refusal(path).finding


def test_many_members(write_zip, monkeypatch):
    monkeypatch.setattr(outline_module, "_MAX_MEMBERS", 5)
    assert "far more" in refusal(write_zip([(f"{i}.roi", b"") for i in range(6)])).finding


def test_a_member_that_unpacks_to_very_much(write_zip):
    path = write_zip([("a.roi", bytes(outline_module._MAX_BYTES + 1))], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert "far more" in refusal(path).finding


def test_a_member_that_unpacks_to_more_than_it_says(write_zip):
    """Only the announced bytes are unpacked (there are 50 MiB), and then the checksum or the content is wrong."""
    path = write_zip([("a.roi", roi_bytes() + bytes(50 << 20))], compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + offset
        content[start : start + 4] = (200).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    tracemalloc.start()
    refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_imagej_does_not_write(write_zip, compression):
    assert "compressed" in refusal(write_zip([("a.roi", roi_bytes())], compression=compression)).finding


# ---- any file


@pytest.mark.parametrize("name", ["cell.tif", "cell", "cell.csv.gz", "cell.txt"])
def test_wrong_suffix(write, name):
    error = refusal(write(name, ROWS))
    assert "suffix" in error.finding
    assert ".roi" in error.want


def test_a_table_of_locs_is_too_large(write, monkeypatch):
    monkeypatch.setattr(outline_module, "_MAX_BYTES", 1 << 20)
    error = refusal(write("cell.csv", bytes(2 << 20)))
    assert error.finding == "has 2 MiB"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 30))
def test_any_star_shaped_outline_comes_back(write, seed, n):
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(n) + rng.uniform(0, 0.8, n)) / n
    ring = 5e4 + rng.uniform(1e3, 9e3, (n, 1)) * np.column_stack([np.cos(angle), np.sin(angle)])
    text = "\n".join(f"{x!r},{y!r}" for x, y in ring.tolist())
    (cell,) = read(write("cell.csv", text), origin_nm=(3e4, 2e4))
    x, y = (ring - (3e4, 2e4)).T
    shoelace = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert cell.polygon.area == pytest.approx(shoelace, rel=1e-9)
