import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.report.figures import Curves, Effect, Panel, Strip, draw_curves, draw_effects, draw_superplot, drawable, look_of

SVG = "{http://www.w3.org/2000/svg}"


def strip(label="ctrl", number=0, **change):
    values = {
        "rois": np.arange(30.0),
        "lanes": np.arange(30) % 3,
        "replicates": np.array([10.0, 12.0, np.nan]),
        "names": ["a", "b", "c"],
        "blocks": [None, None, None],
        "mean": 11.0,
    } | change
    return Strip(label=label, look=look_of(number), **values)


def effect(row="Density", number=1, ratio=(1.5, 1.2, 2.0), hedges_g=(2.0, 1.0, 4.0), differs=True):
    return Effect(row=row, look=look_of(number), ratio=ratio, hedges_g=hedges_g, differs=differs)


def rng():
    return np.random.default_rng(3)


def markers(drawing, colour):
    """How many marks of a colour are drawn."""
    uses = [e.get("style", "") for e in ET.fromstring(drawing.svg).iter(f"{SVG}use")]
    return sum(colour.lower() in style for style in uses)


def lines(drawing, colour):
    paths = [e.get("style", "") for e in ET.fromstring(drawing.svg).iter(f"{SVG}path")]
    return sum(f"stroke: {colour.lower()}" in style for style in paths)


def test_superplots_are_valid_svg_and_png_with_every_replicate():
    drawing = draw_superplot(Panel(axis="Density (locs/µm²)", strips=[strip(), strip("egf", 1)]), rng=rng())
    for colour in ("#0072B2", "#D55E00"):
        assert markers(drawing, colour) == 2  # two defined replicates
    assert b"<image" in drawing.svg  # dots as pixels
    assert drawing.png.startswith(b"\x89PNG")


def test_replicates_are_joined_only_where_they_are_paired():
    blocks = {"blocks": ["a", "b", "c"]}
    grey = "#5b6670"
    joined, apart = (
        draw_superplot(Panel(axis="x", strips=[strip(**blocks), strip("egf", 1, **blocks)], joined=joined), rng=rng())
        for joined in (True, False)
    )
    assert lines(joined, grey) == lines(apart, grey) + 2  # the third replicate is undefined
    alone = draw_superplot(Panel(axis="x", strips=[strip(**blocks), strip("egf", 1)], joined=True), rng=rng())
    assert lines(alone, grey) <= lines(joined, grey)


def test_each_replicate_has_its_lane():
    """Dots of a replicate stand at the height of its mean: lanes don't overlap."""
    from smlmbatch.report import figures

    for n in (1, 2, 3, 10, 40):
        lanes = figures._lanes(0.0, n)
        reach = min(0.1, 0.24 / n)
        assert np.all(np.diff(lanes) >= 2 * reach - 1e-12)
        assert np.abs(lanes).max() + reach <= 0.5


def test_equal_figures_are_equal_files():
    panel = Panel(axis="x", strips=[strip()])
    assert draw_superplot(panel, rng=rng()) == draw_superplot(panel, rng=rng())
    assert draw_effects([effect()]) == draw_effects([effect()])


def test_undefined_is_said():
    nothing = strip(rois=np.empty(0), lanes=np.empty(0, np.int64), replicates=np.array([np.nan]), names=["a"], blocks=[None], mean=np.nan)
    assert b"undefined" in draw_superplot(Panel(axis="x", strips=[nothing]), rng=rng()).svg


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e12])
def test_one_value_only(value):
    same = strip(rois=np.full(4, value), lanes=np.zeros(4, np.int64), replicates=np.array([value]), names=["a"], blocks=[None], mean=value)
    ET.fromstring(draw_superplot(Panel(axis="x", strips=[same]), rng=rng()).svg)


def test_settings_of_matplotlib_are_left_as_they_were():
    before = dict(matplotlib.rcParams)
    draw_superplot(Panel(axis="x", strips=[strip()]), rng=rng())
    draw_effects([effect()])
    assert dict(matplotlib.rcParams) == before


@settings(max_examples=25, deadline=None)
@given(label=st.text(max_size=60) | st.sampled_from(["$\\frac{", "a$b$c", "日本語", "x--><script>", "\udcff"]))
def test_any_name_can_be_drawn(label):
    shown = drawable(label)
    assert len(shown) <= 24
    assert "\n" not in shown
    curve = Curves(label=label, look=look_of(2), radius_nm=np.arange(5.0), replicates_nm=np.ones((2, 5)))
    ET.fromstring(draw_curves([curve]).svg)


def test_curves_of_one_replicate_have_no_band():
    radius_nm = np.arange(1.0, 20)
    one = Curves(label="a", look=look_of(0), radius_nm=radius_nm, replicates_nm=radius_nm[None])
    two = Curves(label="a", look=look_of(0), radius_nm=radius_nm, replicates_nm=radius_nm[None] + np.array([[0.0], [1.0]]))
    assert b"FillBetween" not in draw_curves([one]).svg
    assert b"FillBetween" in draw_curves([two]).svg


def test_many_conditions_look_different():
    looks = {(look.colour, look.marker, look.line) for look in map(look_of, range(21))}
    assert len(looks) == 21


def test_effects_that_differ_are_full_and_others_open():
    full, open_ = (draw_effects([effect(differs=differs)]) for differs in (True, False))
    assert markers(full, "fill: #d55e00") == 2  # in both halves
    assert markers(open_, "fill: #d55e00") == 0
    assert markers(open_, "fill: #ffffff") == 2


def test_effects_without_a_ratio_stand_on_the_right_only():
    nan = (np.nan, np.nan, np.nan)
    assert markers(draw_effects([effect(ratio=nan)]), "#d55e00") == 1
    alone = draw_effects([effect(hedges_g=nan)])
    assert markers(alone, "#d55e00") == 1
    assert b"Needs 2 replicates" in alone.svg
    assert markers(draw_effects([effect(ratio=(0.0, np.nan, np.nan), hedges_g=nan)]), "#d55e00") == 0


def test_endless_intervals_do_not_squeeze_the_axis():
    """An interval a hundred times as long as the effect ends in an arrow."""
    from smlmbatch.report import figures

    values = np.array([[2.0, 1.0, 200.0], [1.0, 0.5, 1.5]])
    assert figures._reach(values) == pytest.approx(1.08 * 3 * 2.0)
    wide, usual = (draw_effects([effect(hedges_g=g)]) for g in ((2.0, 1.0, 200.0), (2.0, 1.0, 4.0)))
    assert markers(wide, "#d55e00") == markers(usual, "#d55e00") + 1


@given(st.floats(0.01, 20.0))
def test_ratio_axes_have_readable_ticks_on_both_sides(reach):
    from matplotlib.figure import Figure

    from smlmbatch.report import figures

    axes = Figure().add_subplot()
    axes.set_xlim(-reach, reach)
    figures._ratio_axis(axes, reach)
    labels = [float(text.get_text()) for text in axes.get_xticklabels()]
    assert 1.0 in labels
    assert len(labels) <= 9
    assert all(abs(np.log2(label)) <= reach + 0.06 for label in labels)
    assert len(labels) >= 3 or reach < np.log2(1.02)


def test_rows_stand_in_the_order_given():
    drawing = draw_effects([effect("B"), effect("A"), effect("B", 2)])
    names = re.findall(rb"<!-- ([AB]) -->", drawing.svg)
    assert [name.decode() for name in names] == ["B", "A"]


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 5e4])
def test_labels_of_ticks_end_within_the_picture(scale):
    """The page's ground is white: nothing but white in the last pixels of each row."""
    from matplotlib.image import imread

    for end in np.linspace(0.9, 1.1, 9):
        rois = np.linspace(2.7, 5.0 * end, 30) * scale
        drawing = draw_superplot(Panel(axis="n", strips=[strip(rois=rois, replicates=rois[:3], mean=rois[1])]), rng=rng())
        assert (imread(io.BytesIO(drawing.png))[-120:, -2:, :3] == 1).all()
