"""The stage as the engine runs it: what it writes, and what it makes of outlines, settings and odd fields."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import roifile
import shapely

from smlmbatch.config import TileConfig
from smlmbatch.errors import InputError
from smlmbatch.store import field_locs as field_locs_module
from smlmbatch.store.schema import SCHEMA
from tests.tile.shapes import cells_on_background, even_locs

BOX = (51_300.0, -8300.0, 71_300.0, 11_700.0)  # far from the source's origin, and below it
DISK = shapely.Point(61_500, 1700).buffer(6000, quad_segs=64)
REASONS = ["kept", "coverage below min_coverage", "fewer locs than min_locs"]


@pytest.fixture(scope="module")
def two_channels():
    """A disk of 60 locs per um2 on faint background; (positions, channels 1 and 4)."""
    rng = np.random.default_rng(4)
    xy_nm = cells_on_background(rng, BOX, background=2, cells=[(DISK, 60)])
    return xy_nm, rng.choice([1, 4], len(xy_nm), p=[0.8, 0.2]).astype(np.uint8)


def write_boxes(path: Path, **boxes: tuple[float, float, float, float]) -> Path:
    """An outline file of rectangles, one region each."""
    rows = [f"{x},{y},{name}" for name, box in boxes.items() for x, y in list(shapely.box(*box).exterior.coords)[:-1]]
    path.write_text("\n".join(["x_nm,y_nm,region", *rows]))
    return path


def check_consistent(found):
    """What holds for every tile unit."""
    arrays, attrs = found.arrays, found.attrs
    n = attrs["n_rois"]
    lengths = {"roi": n, "axis": 2, "channel": len(attrs["channels"]), "ring": len(attrs["cells"]), "ring_bound": len(attrs["cells"]) + 1}
    for name, spec in SCHEMA["tile"].items():
        assert arrays[name].dtype == np.dtype(spec.dtype), name
        for dim, length in zip(spec.dims, arrays[name].shape, strict=True):
            assert lengths.setdefault(dim, length) == length, (name, dim)
    reason = arrays["roi_reason"]
    assert (arrays["roi_kept"] == (reason == 0)).all()
    assert attrs["reasons"] == REASONS
    assert attrs["n_kept"] == (reason == 0).sum()
    assert attrs["dropped"] == {REASONS[code]: int((reason == code).sum()) for code in (1, 2)}
    assert len(attrs["regions"]) == len(attrs["cells"])
    assert set(arrays["roi_cell"]) <= set(range(len(attrs["cells"])))
    assert (np.diff(arrays["roi_cell"]) >= 0).all()
    assert arrays["outline_start"][0] == 0
    assert arrays["outline_start"][-1] == len(arrays["outline_nm"])
    for polygon in found.polygons():
        assert polygon.is_valid
        assert polygon.area > 0


# ---- the three sources of outlines


def test_a_found_outline(tile, two_channels):
    found = tile(*two_channels)
    check_consistent(found)
    assert found.attrs["outline_source"] == "found"
    assert found.attrs["cells"] == ["cell 1"]
    assert 2 < found.attrs["density_threshold_per_um2"] < 60
    (cell,) = found.polygons()
    assert cell.area == pytest.approx(DISK.area, rel=0.03)
    assert found.attrs["n_kept"] >= 6, "nine squares of 3 um at least lie inside a circle of 12 um, if the grid falls well"
    first_nm = two_channels[0].min(axis=0) - found.origin_nm
    assert found.attrs["density_origin_nm"] == pytest.approx(first_nm, abs=0.01), "the raster begins at the first locs"


def test_regions_hold_what_lies_in_them(tile, two_channels):
    """Counts per channel against the positions themselves, absolute; a kept region passes both thresholds."""
    xy_nm, channel = two_channels
    found = tile(xy_nm, channel)
    low = found.arrays["roi_origin_nm"] + found.origin_nm
    for roi in range(len(low)):
        inside = ((xy_nm >= low[roi]) & (xy_nm < low[roi] + 3000)).all(axis=1)
        near_edge = ((np.abs(xy_nm - low[roi]) < 0.01) | (np.abs(xy_nm - low[roi] - 3000) < 0.01)).any(axis=1)
        if not near_edge.any():  # float32 may have moved such a loc across
            assert found.arrays["roi_n_locs"][roi].tolist() == [np.count_nonzero(inside & (channel == c)) for c in (1, 4)]
    kept = found.arrays["roi_kept"] == 1
    assert (found.arrays["roi_coverage"][kept] >= 0.9).all()
    assert (found.arrays["roi_n_locs"][kept].sum(axis=1) >= 50).all()


@pytest.mark.parametrize("roi_nm", [700.0, 3000.0, 20_000.0, 1e6])
def test_a_field_as_its_own_cell_loses_no_loc(tile, two_channels, roi_nm):
    xy_nm, channel = two_channels
    found = tile(xy_nm, channel, TileConfig(outline="field", roi_nm=roi_nm))
    check_consistent(found)
    assert found.attrs["outline_source"] == "field"
    assert found.attrs["density_threshold_per_um2"] is None
    assert found.arrays["roi_n_locs"].sum(axis=0).tolist() == [np.count_nonzero(channel == c) for c in (1, 4)]


def test_no_loc_is_lost_where_all_lie_on_edges(tile):
    """Field of exactly 2 x 3 regions, locs on their corners."""
    x, y = np.meshgrid(np.arange(0, 6001, 1000.0), np.arange(0, 9001, 1000.0))
    xy_nm = np.column_stack([x.ravel(), y.ravel()])
    found = tile(xy_nm, config=TileConfig(outline="field", min_locs=1))
    assert found.arrays["roi_n_locs"].sum() == len(xy_nm)
    assert found.attrs["n_kept"] == 6


def test_a_given_outline_with_two_regions(tile, two_channels, tmp_path):
    soma, process = (55_500.0, -4000.0, 61_500.0, 5000.0), (62_000.0, 0.0, 65_000.0, 3000.0)
    outline = write_boxes(tmp_path / "cells.csv", soma=soma, process=process)
    found = tile(*two_channels, outline=outline)
    check_consistent(found)
    assert found.attrs["outline_source"] == "file"
    assert found.attrs["cells"] == found.attrs["regions"] == ["soma", "process"]
    assert [polygon.bounds for polygon in found.polygons()] == [soma, process]
    assert found.arrays["roi_cell"].tolist() == [0] * 6 + [1]
    assert found.arrays["roi_coverage"].tolist() == [1.0] * 7
    assert found.attrs["n_kept"] == 7


@pytest.mark.parametrize(("in_sheet", "in_file", "wanted_nm"), [(100.0, None, 100.0), (0.0, 160.0, 160.0), (100.0, 160.0, 100.0)])
def test_pixel_size_of_the_sheet_before_the_files(tile, tmp_path, in_sheet, in_file, wanted_nm):
    roi = roifile.ImagejRoi.frompoints(np.array([(2, 3), (60, 3), (60, 50)], np.float32))
    (tmp_path / "cell.roi").write_bytes(roi.tobytes())
    xy_nm = even_locs(np.random.default_rng(0), 5, (0, 0, 10_000, 9000))
    found = tile(xy_nm, outline=tmp_path / "cell.roi", pixel_size_nm=in_sheet, attrs={"pixel_size_nm": in_file})
    assert found.polygons()[0].bounds == pytest.approx((2 * wanted_nm, 3 * wanted_nm, 60 * wanted_nm, 50 * wanted_nm))


def test_an_outline_wins_over_the_setting(tile, two_channels, tmp_path):
    outline = write_boxes(tmp_path / "cells.csv", a=(60_000, 0, 63_000, 3000))
    assert tile(*two_channels, TileConfig(outline="field"), outline=outline).attrs["n_rois"] == 1


def test_an_outline_beside_the_field(tile, two_channels, tmp_path):
    """Drawn in micrometres, say: both extents are named, in the file's own frame."""
    outline = write_boxes(tmp_path / "cells.csv", good=(60_000, 0, 63_000, 3000), wrong=(60.0, 1.0, 63.0, 3.0))
    with pytest.raises(InputError) as caught:
        tile(*two_channels, outline=outline)
    error = caught.value
    assert error.path == str(outline)
    assert error.finding.startswith("wrong spans x 60 to 63 nm, y 1 to 3 nm")
    (left, lower), (right, upper) = two_channels[0].min(axis=0), two_channels[0].max(axis=0)
    assert f"x {left:.0f} to {right:.0f} nm, y {lower:.0f} to {upper:.0f} nm" in error.want
    assert "pixels" in error.mend


def test_an_outline_far_too_large(tile, two_channels, tmp_path):
    """A metre wide: refused before the grid is laid."""
    outline = write_boxes(tmp_path / "cells.csv", huge=(-1e9, -1e9, 1e9, 1e9))
    with pytest.raises(InputError, match=r"4.44e\+11 squares of 3000 nm") as caught:
        tile(*two_channels, outline=outline)
    assert caught.value.path == str(outline)


def test_a_field_far_too_large(tile):
    """Two locs a decimetre from each other, and the field as its own cell."""
    with pytest.raises(InputError, match="squares of 3000 nm") as caught:
        tile(np.array([[0.0, 0], [1e8, 1e8]]), config=TileConfig(outline="field"))
    assert caught.value.path.endswith("FOV1.csv")


def test_no_cell_found(tile):
    """Few locs and one bright speck: two populations, and none of the patches is as large as a cell."""
    rng = np.random.default_rng(1)
    found = tile(np.concatenate([rng.uniform(0, 20_000, (30, 2)), rng.normal(9000, 30, (200, 2))]))
    check_consistent(found)
    assert found.attrs["cells"] == []
    assert found.attrs["n_rois"] == found.attrs["n_kept"] == 0
    assert found.arrays["outline_start"].tolist() == [0]
    assert found.arrays["outline_nm"].shape == (0, 2)


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_very_few_locs(tile, n):
    found = tile(np.random.default_rng(n).uniform(0, 20_000, (n, 2)))
    check_consistent(found)
    assert found.attrs["n_kept"] == 0


def test_thresholds_do_what_they_say(tile, two_channels):
    all_touched = tile(*two_channels, TileConfig(min_coverage=0.0, min_locs=1))
    assert all_touched.attrs["n_kept"] == np.count_nonzero(all_touched.arrays["roi_n_locs"].sum(axis=1))
    none = tile(*two_channels, TileConfig(min_locs=10_000))
    assert none.attrs["n_kept"] == 0
    wholly = all_touched.arrays["roi_coverage"] >= 0.9
    assert none.attrs["dropped"]["fewer locs than min_locs"] == wholly.sum()


# ---- same digest


def test_same_digest_however_many_rows_are_kept(tile, two_channels, monkeypatch):
    """Band by band or whole; FieldLocs takes its default when the class is made, so that is what is changed."""
    whole = tile(*two_channels)
    monkeypatch.setitem(field_locs_module.FieldLocs.__init__.__kwdefaults__, "keep_rows", 10)
    assert tile(*two_channels).digest == whole.digest


def test_same_digest_for_permuted_locs(tile, two_channels):
    """Locs whose order ingest's key leaves open."""
    xy_nm, channel = two_channels
    order = np.random.default_rng(0).permutation(len(xy_nm))
    assert tile(xy_nm[order], channel[order]).digest == tile(xy_nm, channel).digest


def test_another_setting_is_another_digest(tile, two_channels):
    assert len({tile(*two_channels, TileConfig(roi_nm=side)).digest for side in (1000.0, 3000.0)}) == 2


# ---- real cells


def real_positions(path: Path) -> np.ndarray:
    if path.suffix == ".parquet":
        table, names = pyarrow.parquet.read_table(path), ("x", "y")
    else:
        table, names = pyarrow.csv.read_csv(path), ("x [nm]", "y [nm]")
    return np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)


# Hand-checked on renderings: a bacterium is 0.9-1.1 um wide; cells that touch have one outline. Areas in um2.
BACTERIA = {"01": (7, 25, 40), "02": (7, 25, 40), "03": (5, 15, 26), "04": (6, 26, 40), "05": (6, 22, 34)}


@pytest.mark.parametrize("number", BACTERIA)
def test_bacteria(data_folder, tile, number):
    path = data_folder / "real" / "ecoli_lacy_thunderstorm" / f"{number}_storm.csv"
    if not path.exists():
        pytest.skip(f"no {path}")
    found = tile(real_positions(path))
    check_consistent(found)
    n_cells, least_um2, most_um2 = BACTERIA[number]
    assert abs(len(found.polygons()) - n_cells) <= 1
    assert least_um2 < sum(cell.area for cell in found.polygons()) / 1e6 < most_um2


@pytest.mark.parametrize(
    ("name", "least_share", "most_share"),
    [
        ("C15_EGFR568_EREG647_FOV2", 0.78, 0.88),  # confluent; the corners and a lens-shaped gap in the middle are darker
        ("C15_EGFR568_EREG647_FOV3", 0.82, 0.94),
        ("C15_EGFR647_EREG568_FOV3", 0.50, 0.64),  # empty above, a gap across
        ("C15_EGFR647_EREG568_FOV6", 0.55, 0.68),  # an island with empty margins above and right
        ("C15_EREG568_EGFR647_FOV1", 0.78, 0.90),
        ("C15_EREG568_EGFR647_FOV2", 0.74, 0.86),
    ],
)
def test_cells_in_a_layer(data_folder, tile, name, least_share, most_share):
    """One connected layer of cells takes this share of the 50 x 80 um; what else is found is small."""
    path = data_folder / "real" / "egfr_ereg_cells" / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"no {path}")
    xy_nm = real_positions(path)
    found = tile(xy_nm)
    areas = sorted(cell.area for cell in found.polygons())
    assert least_share < areas[-1] / np.prod(np.ptp(xy_nm, axis=0)) < most_share
    assert sum(areas[:-1]) < 0.05 * areas[-1]
    assert 180 <= found.attrs["n_kept"] <= 360
