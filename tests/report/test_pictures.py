import base64
import io
import re
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.report import pictures
from smlmbatch.report.pictures import View, choose_view, count_locs, draw_field, png, spread_evenly, thumbnail
from smlmbatch.store.arrays import UnitReader, unit_writer


@pytest.fixture
def field(made, tmp_path):
    """Units of one field of two channels."""
    cell = made.Cell(field=made.field("a.csv", "ctrl", "r1"), channels=(0, 3), n_locs=4000)
    units = made.build(tmp_path, [cell]).fields[0].units
    with UnitReader(units["ingest"]) as ingest, UnitReader(units["tile"]) as tile:
        yield ingest, tile


def pixels_of(uri):
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])), format="png")


def test_every_loc_is_counted_once_in_its_pixel(field):
    ingest, tile = field
    view = choose_view(ingest, tile, size_px=120)
    counts = count_locs(ingest, view)
    channel, x, y = (ingest.read(name) for name in ("channel", "x_nm", "y_nm"))
    for c in (0, 3):
        assert counts[c].sum() == (channel == c).sum()
        edges = [low + view.pixel_nm * np.arange(n + 1) for low, n in zip((view.y_nm, view.x_nm), view.shape, strict=True)]
        expected = np.histogram2d(y[channel == c], x[channel == c], bins=edges)[0]
        # a loc on an edge may fall to either side
        assert np.abs(counts[c] - expected).sum() <= 4


def test_pieces_do_not_change_the_picture(field, monkeypatch):
    ingest, tile = field
    view = choose_view(ingest, tile, size_px=100)
    whole = count_locs(ingest, view)
    monkeypatch.setattr(pictures, "_PIECE", 777)
    for channel, counts in count_locs(ingest, view).items():
        np.testing.assert_array_equal(counts, whole[channel])


def test_view_holds_cell_and_rois(field):
    ingest, tile = field
    view = choose_view(ingest, tile, size_px=200)
    assert max(view.shape) == 200
    assert not view.cropped
    corners = view.to_px(tile.read("roi_origin_nm"))
    assert corners.min() >= 0
    assert (corners + tile.attrs["roi_nm"] / view.pixel_nm).max() <= 200


def test_stray_locs_do_not_shrink_the_cell(tmp_path, made):
    rng = np.random.default_rng(5)
    xy = np.concatenate([rng.uniform(2000, 10_000, (5000, 2)), [[99_000, 99_500]]])
    tile_number = np.floor(xy[:, 1] / 1000) * 100 + np.floor(xy[:, 0] / 1000)
    order = np.argsort(tile_number, kind="stable")
    with unit_writer(tmp_path / "u", "ingest") as out:
        out.write("x_nm", xy[order, 0])
        out.write("y_nm", xy[order, 1])
        out.write("channel", np.zeros(len(xy)))
        out.write("row", order)
        out.write("tile_start", np.searchsorted(tile_number[order], np.arange(100**2 + 1)))
        extent = [[2000.0, 2000.0], [99_000.0, 99_500.0]]
        out.attrs = {"origin_nm": [0.0, 0.0], "extent_nm": extent, "tile_grid": [100, 100], "tile_nm": 1000.0, "channels": [0]}
    made.build(tmp_path, [made.Cell(field=made.field("a.csv", "c", "r"), side_um=12, empty=True)])
    (path,) = (tmp_path / "store").rglob("tile-*")
    with UnitReader(tmp_path / "u") as ingest, UnitReader(path) as tile:
        view = choose_view(ingest, tile, size_px=100)
        assert view.cropped
        assert 8000 <= view.width_nm < 11_000
        assert count_locs(ingest, view)[0].sum() == 5000


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 99))
def test_png_decodes_to_the_palette(rows, columns, seed):
    shades = np.random.default_rng(seed).integers(0, pictures.SHADES, (rows, columns)).astype(np.uint8)
    palette = np.frombuffer(pictures._palette(), dtype=np.uint8).reshape(-1, 3)
    decoded = np.round(255 * pixels_of(png(shades))[..., :3]).astype(np.uint8)
    np.testing.assert_array_equal(decoded, palette[shades])


def test_thumbnail_is_bright_where_the_cell_is(field):
    image = pixels_of(thumbnail(field[1]))[..., :3].sum(axis=2)
    assert max(image.shape) <= pictures._THUMB_PX
    assert image[image.shape[0] // 2, image.shape[1] // 2] > 3 * max(image[0, 0], 0.05)


def test_drawing_shows_outline_rois_and_scale(field):
    ingest, tile = field
    view = choose_view(ingest, tile, size_px=300)
    drawing = draw_field(count_locs(ingest, view)[0], view, tile, shown_px=300, label='a "field"')
    kept = tile.read("roi_kept").astype(bool)
    _, dashed, solid = drawing.split("<g ")
    assert "stroke-dasharray" in dashed.split(">")[0]
    assert "stroke-dasharray" not in solid.split(">")[0]
    assert dashed.count("<title>") == (~kept).sum()
    assert solid.split("</g>")[0].count("<title>") == kept.sum()
    assert "dropped, coverage" in dashed
    assert "5\u202fµm</text>" in drawing or "2\u202fµm</text>" in drawing
    assert "a &quot;field&quot;" in drawing


def test_scale_bar_is_as_long_as_it_says():
    for width_nm in (150.0, 3300.0, 41_000.0):
        view = View(0.0, 0.0, width_nm, width_nm, width_nm / 400, False)
        ground, bar, text = pictures.scale_bar(view, 1.0)
        drawn_px = float(bar.split('width="')[1].split('"')[0])
        value, unit = text.split(">")[1].split("<")[0].split("\u202f")
        assert drawn_px * view.pixel_nm == pytest.approx(float(value) * {"nm": 1, "µm": 1000}[unit], rel=0.01)
        assert 0.05 < drawn_px / 400 <= 0.22
        x, y, width, height = (box_of(ground)[name] for name in ("x", "y", "width", "height"))
        inner = box_of(bar)
        assert 0 <= x < inner["x"]
        assert inner["x"] + inner["width"] < x + width <= 400
        assert y < box_of(text)["y"] - box_of(text)["font-size"]
        assert inner["y"] + inner["height"] < y + height <= 400
        assert 'fill="#000004"' in ground


def box_of(drawn):
    return {name: float(value) for name, value in re.findall(r'([a-z-]+)="([\d.]+)"', drawn)}


def test_dense_grids_are_faint():
    def lines(n):
        arrays = {"roi_origin_nm": np.zeros((n, 2)), "roi_kept": np.arange(n) % 2}
        tile = SimpleNamespace(read=arrays.__getitem__, attrs={"roi_nm": 100.0})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pictures, "roi_tooltips", lambda _: [None] * n)
            dropped, kept = pictures._rois(tile, View(0.0, 0.0, 1000.0, 1000.0, 10.0, False), 1.0)
        return [box_of(group.split(">")[0])[name] for group in (dropped, kept) for name in ("stroke-opacity", "stroke-width")]

    few, some, many = lines(10), lines(80), lines(300)
    assert all(a > b > c for a, b, c in zip(few, some, many, strict=True))
    assert max(many[0], many[2]) <= 0.2
    assert few[0] < few[2]  # dropped ones are fainter


def test_sparse_pictures_have_larger_dots():
    counts = np.zeros((50, 50), dtype=np.int64)
    counts[10, 10] = counts[0, 49] = 2
    thick = pictures._thicken(counts)
    assert (thick[9:12, 9:12] == 2).all()
    assert np.count_nonzero(thick) == 9 + 4
    dense = np.ones((5, 5), dtype=np.int64)
    assert pictures._thicken(dense) is dense


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(0, 40))
def test_fields_are_spread_evenly(sizes, most):
    groups = [[(g, i) for i in range(n)] for g, n in enumerate(sizes)]
    chosen = spread_evenly(groups, most=most)
    assert len(chosen) == len(set(chosen)) == min(most, sum(sizes))
    quotas = [sum(1 for g, _ in chosen if g == group) for group in range(len(sizes))]
    short = [q for q, n in zip(quotas, sizes, strict=True) if q < n]
    assert not short or max(quotas) - min(short) <= 1
