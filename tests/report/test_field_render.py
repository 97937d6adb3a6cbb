import base64
import io
import itertools
import re
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.report.field_render import (
    choose_rois,
    densest_view,
    draw_picture,
    draw_zoom,
    hues_of,
    paint,
    paint_merge,
    paintings,
    shade,
    soften,
    zoom_counts,
    zoom_view,
)
from smlmbatch.report.pictures import View, choose_view, count_locs
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs


@pytest.fixture(scope="module")
def field(made, tmp_path_factory):
    """Units of one field of two channels."""
    cell = made.Cell(field=made.field("a.csv", "ctrl", "r1"), channels=(0, 3), n_locs=9000)
    units = made.build(tmp_path_factory.mktemp("render"), [cell]).fields[0].units
    with UnitReader(units["ingest"]) as ingest, UnitReader(units["tile"]) as tile:
        yield ingest, tile


def pixels_of(uri):
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])), format="png")
    return np.round(255 * picture[..., :3]).astype(int)


# ---- brightness


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_more_locs_are_never_darker_and_lit_pixels_never_dark(counts):
    amount = np.array(counts, dtype=np.float32)
    shades = shade(amount, levels=32)
    order = np.argsort(amount, kind="stable")
    assert (np.diff(shades[order].astype(int)) >= 0).all()
    assert ((shades > 0) == (amount > 0)).all()
    assert shades.max() <= 31


@pytest.mark.parametrize("typical", [1, 4, 60])
@pytest.mark.parametrize("brightest", [3, 50, 2000])
def test_the_typical_pixel_is_seen_whatever_the_brightest(typical, brightest):
    rng = np.random.default_rng(1)
    amount = rng.poisson(typical, 20_000).astype(np.float32)
    amount[:100] = typical * brightest
    shades = shade(amount, levels=256) / 255
    assert 0.25 <= np.median(shades[amount > 0]) <= 0.62


def test_softening_keeps_locs_where_they_are_and_enlarges_lone_ones():
    counts = np.zeros((60, 60), dtype=np.int64)
    counts[20, 30] = 5
    soft = soften(counts)
    assert np.unravel_index(np.argmax(soft), soft.shape) == (20, 30)
    assert 9 <= np.count_nonzero(soft) <= 49
    assert soft.sum() == pytest.approx(5, rel=0.15)
    crowded = np.full((10, 10), 3)
    np.testing.assert_array_equal(soften(crowded), crowded)


# ---- colour


def test_a_merge_shows_each_channel_in_its_colour_and_both_as_white():
    first, second = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
    first[0, 0] = first[0, 2] = second[0, 1] = second[0, 2] = 7
    magenta, green, both, none = pixels_of(paint_merge([first, second], hues_of(2)))[0]
    assert magenta.tolist() == [255, 0, 255]
    assert green.tolist() == [0, 255, 0]
    assert both.tolist() == [255, 255, 255]
    assert none.tolist() == [0, 0, 0]


def test_three_channels_add_up_and_more_are_not_merged():
    channels = [np.eye(4, dtype=np.float32)[[i]] for i in range(3)]
    cyan, magenta, yellow, none = pixels_of(paint_merge(channels, hues_of(3)))[0].tolist()
    assert (cyan, magenta, yellow, none) == ([0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0])
    assert [place for place, _ in paintings(channels)] == [None, 0, 1, 2]
    assert [place for place, _ in paintings([*channels, channels[0]])] == [0, 1, 2, 3]
    assert [place for place, _ in paintings(channels[:1])] == [0]


def test_a_channel_alone_uses_all_of_its_palette():
    amount = np.arange(1, 2000, dtype=np.float32)[None]
    assert pixels_of(paint(amount, None)).sum(axis=2).max() > 600  # inferno ends in a light yellow
    assert pixels_of(paint(amount, hues_of(2)[0])).max(axis=(0, 1)).tolist() == [255, 0, 255]


# Machado, Oliveira & Fernandes, IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009): severity 1, in linear RGB
_BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(rgb):
    """CIE L*a*b* of linear RGB."""
    t = _TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear(colour):
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)] if isinstance(colour, str) else colour) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("kind", _BLIND)
def test_the_colour_blind_tell_channels_apart(n, kind):
    for a, b in itertools.combinations(hues_of(n), 2):
        for name in ("on_white", "on_black"):
            seen = [lab(np.array(_BLIND[kind]) @ linear(getattr(hue, name))) for hue in (a, b)]
            assert np.linalg.norm(seen[0] - seen[1]) > 20, (kind, name, a.name, b.name)
        assert a.dash != b.dash or a.on_white != b.on_white


# ---- ROIs


def test_examples_are_the_sparsest_the_middle_and_the_densest(field):
    _, tile = field
    kept = np.flatnonzero(tile.read("roi_kept"))
    density = {int(i): tile.read("roi_n_locs")[i].sum() / tile.read("roi_coverage")[i] for i in kept}
    ranked = sorted(density, key=lambda i: (density[i], i))
    chosen = choose_rois(tile, most=3)
    assert (chosen[0], chosen[-1]) == (ranked[0], ranked[-1])
    assert abs(ranked.index(chosen[1]) - (len(ranked) - 1) / 2) <= 0.5
    assert choose_rois(tile, most=99) == ranked


def test_without_a_kept_roi_the_fullest_dropped_ones_are_shown(made, tmp_path):
    cell = made.Cell(field=made.field("a.csv", "c", "r"), side_um=4.0, n_locs=300)
    with UnitReader(made.build(tmp_path, [cell]).fields[0].units["tile"]) as tile:
        assert not tile.read("roi_kept").any()
        chosen, n_locs = choose_rois(tile, most=3), tile.read("roi_n_locs").sum(axis=1)
        assert chosen
        assert n_locs[chosen].tolist() == sorted(n_locs[chosen].tolist())
        assert n_locs[chosen].max() == n_locs.max()


def test_a_zoom_holds_the_locs_of_its_roi(field):
    ingest, tile = field
    (roi,) = choose_rois(tile, most=1)
    view = zoom_view(tile, roi)
    drawn = zoom_counts(FieldLocs(ingest), view, [0, 3], spot_nm=0.0)
    assert [round(float(counts.sum())) for counts in drawn] == tile.read("roi_n_locs")[roi].tolist()
    x, y, channel = (ingest.read(name) for name in ("x_nm", "y_nm", "channel"))
    inside = (x >= view.x_nm) & (x < view.x_nm + 3000) & (y >= view.y_nm) & (y < view.y_nm + 3000) & (channel == 3)
    rows, columns = ((v[inside] - low) // view.pixel_nm for v, low in ((y, view.y_nm), (x, view.x_nm)))
    expected = np.histogram2d(rows, columns, bins=view.shape, range=((0, view.shape[0]), (0, view.shape[1])))[0]
    assert np.abs(drawn[1] - expected).sum() <= 4  # a loc on a pixel's edge may fall to either side


def test_the_inset_frames_the_densest_place_within_its_roi(field):
    ingest, tile = field
    locs = FieldLocs(ingest)
    for roi in choose_rois(tile, most=3):
        view = zoom_view(tile, roi)
        inset = densest_view(locs, view)
        assert inset.width_nm == pytest.approx(500)
        assert view.x_nm <= inset.x_nm
        assert inset.x_nm + 500 <= view.x_nm + 3000 + 1e-6
        here = len(locs.rectangle(inset.x_nm, inset.y_nm, inset.x_nm + 500, inset.y_nm + 500))
        steps = view.x_nm + np.arange(0, 2501, 250.0), view.y_nm + np.arange(0, 2501, 250.0)
        others = [len(locs.rectangle(x, y, x + 500, y + 500)) for x in steps[0] for y in steps[1]]
        assert here > np.median(others)


# ---- drawings


def bar_of(svg):
    """Length of the scale bar in the drawing's units, and what it says, nm."""
    bar = next(node for node in svg.iter() if node.tag.endswith("rect") and node.get("fill") == "#fff")
    words = [node.text for node in svg.iter() if node.tag.endswith("text")][-1]
    value, unit = words.split("\u202f")
    return float(bar.get("width")), float(value) * {"nm": 1, "µm": 1000}[unit]


def test_scale_bars_are_true_at_both_magnifications(field):
    ingest, tile = field
    view = choose_view(ingest, tile, size_px=700)
    picture = ET.fromstring(draw_picture("data:,", view, tile, shown_px=880, label="x", rois=True))
    drawn, said_nm = bar_of(picture)
    columns = float(picture.get("viewBox").split()[2])
    assert drawn / columns * view.width_nm == pytest.approx(said_nm, rel=0.01)
    (roi,) = choose_rois(tile, most=1)
    zoom = zoom_view(tile, roi)
    for near in (zoom, densest_view(FieldLocs(ingest), zoom)):
        part = ET.fromstring(draw_zoom("data:,", near, corner=(0, 0), side_px=340, words="A"))
        drawn, said_nm = bar_of(part)
        assert drawn / float(part.get("viewBox").split()[2]) * near.width_nm == pytest.approx(said_nm, rel=0.01)


def test_every_roi_is_drawn_by_its_fate_and_says_why(field):
    ingest, tile = field
    view = choose_view(ingest, tile, size_px=700)
    drawing = draw_picture("data:,", view, tile, shown_px=880, label='a "field"', rois=True, letters={2: "A"})
    groups = re.findall(r"<g ([^>]*)>(.*?)</g>", drawing)
    reasons = tile.read("roi_reason")
    assert [content.count("<rect") for _, content in groups] == [(reasons == r).sum() for r in sorted(set(reasons.tolist()), reverse=True)]
    dashes = [re.search(r'stroke-dasharray="([^"]+)"', head) for head, _ in groups]
    assert dashes[-1] is None  # kept ones are drawn solid
    assert len({d[1] for d in dashes[:-1]}) == len(dashes) - 1
    assert drawing.count("<title>") == len(reasons)
    assert ">A</text>" in drawing
    assert "a &quot;field&quot;" in drawing
    assert "<g " not in draw_picture("data:,", view, tile, shown_px=514, label="x", rois=False)


def test_a_view_of_a_flat_field_can_be_drawn(field):
    _, tile = field
    drawing = draw_picture("data:,", View(0.0, 0.0, 9000.0, 100.0, 9.0, False), tile, shown_px=880, label="x", rois=True)
    assert ET.fromstring(drawing).get("viewBox") == "0 0 1000 11"


def test_softened_counts_of_a_field_keep_its_channels(field):
    ingest, tile = field
    counts = count_locs(ingest, choose_view(ingest, tile, size_px=300))
    for channel, values in counts.items():
        assert soften(values).sum() == pytest.approx((ingest.read("channel") == channel).sum(), rel=0.15)
