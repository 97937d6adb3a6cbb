import base64
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.report.figures import Curves, Panel, Strip, draw_curves, draw_strips, drawable, look_of


def strip(label="ctrl", number=0, **change):
    values = {"rois": np.arange(30.0), "replicates": np.array([10.0, 12.0, np.nan]), "mean": 11.0} | change
    return Strip(label=label, look=look_of(number), **values)


def svg_of(uri):
    assert uri.startswith("data:image/svg+xml;base64,")
    return base64.b64decode(uri.partition(",")[2])


def rng():
    return np.random.default_rng(3)


def test_strips_are_valid_svg_with_every_replicate():
    panel = Panel(axis="Density (locs/µm²)", strips=[strip(), strip("egf", 1)])
    text = svg_of(draw_strips([panel] * 4, rng=rng()))
    root = ET.fromstring(text)
    uses = [e.get("style", "") for e in root.iter("{http://www.w3.org/2000/svg}use")]
    for colour in ("#0072b2", "#d55e00"):
        assert sum(colour in style for style in uses) == 4 * 2  # two defined replicates in four panels
    assert b"<image" in text  # dots as pixels


def test_equal_figures_are_equal_files():
    panel = Panel(axis="x", strips=[strip()])
    assert draw_strips([panel], rng=rng()) == draw_strips([panel], rng=rng())


def test_undefined_is_said():
    nothing = strip(rois=np.empty(0), replicates=np.array([np.nan]), mean=np.nan)
    assert b"undefined" in svg_of(draw_strips([Panel(axis="x", strips=[nothing])], rng=rng()))


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e12])
def test_one_value_only(value):
    same = strip(rois=np.full(4, value), replicates=np.array([value]), mean=value)
    ET.fromstring(svg_of(draw_strips([Panel(axis="x", strips=[same])], rng=rng())))


def test_settings_of_matplotlib_are_left_as_they_were():
    before = dict(matplotlib.rcParams)
    draw_strips([Panel(axis="x", strips=[strip()])], rng=rng())
    assert dict(matplotlib.rcParams) == before


@settings(max_examples=25, deadline=None)
@given(label=st.text(max_size=60) | st.sampled_from(["$\\frac{", "a$b$c", "日本語", "x--><script>", "\udcff"]))
def test_any_name_can_be_drawn(label):
    shown = drawable(label)
    assert len(shown) <= 24
    assert "\n" not in shown
    curve = Curves(label=label, look=look_of(2), radius_nm=np.arange(5.0), replicates_nm=np.ones((2, 5)))
    ET.fromstring(svg_of(draw_curves([curve])))


def test_curves_of_one_replicate_have_no_band():
    one = Curves(label="a", look=look_of(0), radius_nm=np.arange(1.0, 20), replicates_nm=np.arange(1.0, 20)[None])
    two = Curves(
        label="a", look=look_of(0), radius_nm=np.arange(1.0, 20), replicates_nm=np.arange(1.0, 20)[None] + np.array([[0.0], [1.0]])
    )
    assert b"FillBetween" not in svg_of(draw_curves([one]))
    assert b"FillBetween" in svg_of(draw_curves([two]))


def test_many_conditions_look_different():
    looks = {(look.colour, look.marker, look.line) for look in map(look_of, range(21))}
    assert len(looks) == 21
