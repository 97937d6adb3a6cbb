"""Pictures of clusters by their content: every loc drawn once, clustered ones coloured and others grey, neighbours told apart."""

import base64
import io

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.report import cluster_pictures
from smlmbatch.report.cluster_pictures import colours_of, draw_clusters, paint_labels, rasters, rows_near, zoom_of
from smlmbatch.report.pictures import View, choose_view
from smlmbatch.store.arrays import UnitReader


@pytest.fixture(scope="module")
def units(made, clustered, tmp_path_factory):
    """One field of two channels with its clusters."""
    cell = made.Cell(field=made.field("a.csv", "ctrl", "r1"), channels=(0, 3), n_locs=6000, side_um=12.0)
    (result,) = clustered.with_clusters(made.build(tmp_path_factory.mktemp("field"), [cell])).fields
    return {name: UnitReader(path) for name, path in result.units.items()}


def pixels_of(uri):
    return np.round(255 * matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])), format="png")[:, :, :3]).astype(int)


def colours(units):
    return colours_of(units["cluster"].read("x_nm"), units["cluster"].read("y_nm"))


# ---- colours


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 400))
def test_a_cluster_differs_from_its_nearest_two(seed, n):
    rng = np.random.default_rng(seed)
    x_nm, y_nm = rng.uniform(0, 1e4, (2, n))
    colour = colours_of(x_nm, y_nm)
    assert set(colour.tolist()) <= set(range(1, 8))
    apart = np.hypot(x_nm[:, None] - x_nm, y_nm[:, None] - y_nm)
    np.fill_diagonal(apart, np.inf)
    alike = sum(colour[i] == colour[j] for i in range(n) for j in np.argsort(apart[i])[: min(2, n - 1)])
    assert alike <= 0.01 * n
    np.testing.assert_array_equal(colours_of(x_nm, y_nm), colour)


def test_colours_of_none_one_and_all_on_one_place():
    assert len(colours_of(np.empty(0), np.empty(0))) == 0
    assert colours_of(np.zeros(1), np.zeros(1)).tolist() == [1]
    assert set(colours_of(np.zeros(50), np.zeros(50)).tolist()) <= set(range(1, 8))


# linear RGB as people see it who lack a kind of cones, after Machado et al. 2009, severity 1
SIGHT = {
    "normal": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


def lab_of(linear):
    """CIELAB of linear sRGB, white D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart_from_each_other_and_from_grey(sight):
    brightest_grey = cluster_pictures._RAMPS[0][1] * np.array(cluster_pictures._GREY)
    rgb = np.array([brightest_grey, *cluster_pictures._COLOURS]) / 255
    lab = lab_of(np.clip(rgb**2.2 @ SIGHT[sight].T, 0, 1))
    assert np.ptp(rgb[0]) == 0
    assert min(np.linalg.norm(lab[i] - lab[j]) for i in range(len(lab)) for j in range(i)) >= 24
    assert (lab[:, 0] > 40).all()  # on black


def test_locs_in_clusters_are_coloured_and_others_grey():
    counts, colour = np.zeros((9, 9), dtype=np.float32), np.full((9, 9), 255, dtype=np.uint8)
    counts[2, 2], colour[2, 2] = 3.0, 0  # alone
    counts[6, 6], colour[6, 6] = 3.0, 2  # in a cluster of the second colour
    counts[6, 7] = 1.0  # the rim of its spot, which no loc lies in
    pixels = pixels_of(paint_labels(counts, colour))
    assert np.ptp(pixels[2, 2]) == 0 < pixels[2, 2].max()
    sky = np.array(cluster_pictures._COLOURS[1])
    for place in ((6, 6), (6, 7)):
        assert np.ptp(pixels[place]) > 40
        np.testing.assert_allclose(pixels[place] / pixels[place].max(), sky / sky.max(), atol=0.02)
    lit = np.zeros((9, 9), dtype=bool)
    lit[[2, 6, 6], [2, 6, 7]] = True
    assert (pixels[~lit] == 0).all()


# ---- rasters


def test_every_loc_is_drawn_once_and_only_clustered_ones_coloured(units):
    ingest, tile, cluster = (units[name] for name in ("ingest", "tile", "cluster"))
    view, colour = choose_view(ingest, tile, size_px=150), colours(units)
    channel, label = ingest.read("channel"), cluster.read("label")
    column, row = ((ingest.read(f"{axis}_nm") - low) / view.pixel_nm for axis, low in (("x", view.x_nm), ("y", view.y_nm)))
    for raster, c in zip(rasters(ingest, cluster, view, colour), (0, 3), strict=True):
        own = channel == c
        assert raster.recorded.sum() == raster.contracted.sum() == own.sum()
        here = {(int(y), int(x)): set() for y, x in zip(row[own], column[own], strict=True)}
        for y, x, n in zip(row[own], column[own], label[own], strict=True):
            here[int(y), int(x)].add(0 if n < 0 else int(colour[n]))
        for place, found in here.items():
            assert raster.colour[place] in (found - {0} or {0})
        assert (raster.colour < 255).sum() == len(here)


def test_pieces_do_not_change_the_picture(units, monkeypatch):
    ingest, tile, cluster = (units[name] for name in ("ingest", "tile", "cluster"))
    view, colour = choose_view(ingest, tile, size_px=90), colours(units)
    whole = rasters(ingest, cluster, view, colour)
    monkeypatch.setattr(cluster_pictures, "_PIECE", 701)
    for one, other in zip(rasters(ingest, cluster, view, colour), whole, strict=True):
        for name in ("recorded", "contracted", "colour"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_view_near_by_needs_only_the_rows_about_it(units):
    ingest, tile, cluster = (units[name] for name in ("ingest", "tile", "cluster"))
    zoom = zoom_of(tile, int(np.flatnonzero(tile.read("roi_kept"))[0]))
    assert zoom.width_nm == zoom.height_nm == 3000.0
    start, stop = rows_near(ingest, zoom)
    assert stop - start < ingest.length("x_nm")
    for one, other in zip(
        rasters(ingest, cluster, zoom, colours(units), start=start, stop=stop), rasters(ingest, cluster, zoom, colours(units)), strict=True
    ):
        np.testing.assert_array_equal(one.recorded, other.recorded)
        np.testing.assert_array_equal(one.contracted, other.contracted)


class _Changed:
    """A unit some of whose arrays are others."""

    def __init__(self, unit, **arrays):
        self.attrs, self._unit, self._arrays = unit.attrs, unit, arrays

    def has(self, name):
        return self._arrays.get(name, self._unit.has(name)) is not False

    def read(self, name, start=0, stop=None):
        return self._arrays[name][start:stop] if name in self._arrays else self._unit.read(name, start, stop)


def test_locs_without_a_contracted_place_are_not_drawn_there(units):
    ingest, tile, cluster = (units[name] for name in ("ingest", "tile", "cluster"))
    moved = cluster.read("contracted_x_nm").copy()
    moved[::2] = np.nan
    raster, other = rasters(ingest, _Changed(cluster, contracted_x_nm=moved), choose_view(ingest, tile, size_px=90), colours(units))
    assert raster.contracted.sum() + other.contracted.sum() == len(moved) - len(moved[::2])
    assert raster.recorded.sum() + other.recorded.sum() == len(moved)


def test_without_contraction_there_is_no_middle_picture(units):
    ingest, tile = units["ingest"], units["tile"]
    cluster = _Changed(units["cluster"], contracted_x_nm=False)
    panels = draw_clusters(ingest, tile, cluster, rois=[None, None], labels=["a", "b"])
    assert [place for place, _, _ in panels] == [0, 1]
    assert [panel.count("<image") for _, panel, _ in panels] == [2, 2]
    assert "Contracted" not in panels[0][1]


# ---- panels


def test_a_panel_has_two_rows_of_three_and_frames_what_is_near_by(units):
    ingest, tile, cluster = (units[name] for name in ("ingest", "tile", "cluster"))
    roi = int(np.flatnonzero(tile.read("roi_kept"))[0])
    panels = draw_clusters(ingest, tile, cluster, rois=[roi, None], labels=["one", "two"])
    (_, first, view), (_, second, _) = panels
    assert (first.count("<image"), second.count("<image")) == (6, 3)
    assert 'aria-label="one"' in first
    corner = view.to_px(tile.read("roi_origin_nm")[[roi]])[0]
    side = 3000.0 / view.pixel_nm
    framed = f'x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{side:.1f}" height="{side:.1f}"'
    assert first.count(framed) == 6  # dark and light line, three pictures
    assert "#fff" in first
    assert 'fill="none"' not in second
    assert len(first) < 400_000


def test_a_channel_without_locs_has_no_panel(units):
    ingest, tile, cluster = (units[name] for name in ("ingest", "tile", "cluster"))
    only = _Changed(ingest, channel=np.zeros(ingest.length("x_nm"), dtype=np.uint8))
    only.length = ingest.length
    assert [place for place, _, _ in draw_clusters(only, tile, cluster, rois=[None, None], labels=["a", "b"])] == [0]


def test_a_roi_wider_than_three_um_is_cut_to_its_middle(units):
    tile = _Changed(units["tile"])
    tile.attrs = {**units["tile"].attrs, "roi_nm": 5000.0}
    corner = tile.read("roi_origin_nm")[0]
    zoom = zoom_of(tile, 0)
    assert isinstance(zoom, View)
    assert (zoom.x_nm, zoom.y_nm, zoom.width_nm) == (corner[0] + 1000.0, corner[1] + 1000.0, 3000.0)
