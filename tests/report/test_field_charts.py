import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.report.field_charts import Axis, Band, Ink, Line, Mark, Steps, draw_chart, ticks, written
from smlmbatch.report.field_maps import Offset, draw_map, draw_offsets

BLUE = Ink(colour="#00f")
# of a chart of the usual size: where the plot lies, px
LEFT, RIGHT, TOP, BOTTOM = 58.0, 520 - 24.0, 14.0, 250 - 42.0


def axis(low, high, **more):
    return Axis(label="label", low=low, high=high, **more)


def paths(svg, stroke="#00f"):
    """Paths' data of one colour, outlines before fills."""
    drawn = [node.attrib for node in ET.fromstring(svg).iter() if node.tag.endswith("path")]
    return [a["d"] for a in drawn if a.get("stroke") == stroke]


def corners(d):
    """Points of a path of M, L, H, V commands with absolute coordinates."""
    found, x, y = [], 0.0, 0.0
    for command, numbers in re.findall(r"([MLHV])([\d. -]+)", d):
        values = [float(n) for n in numbers.split()]
        x, y = {"M": values, "L": values, "H": [values[0], y], "V": [x, values[0]]}[command]
        found.append((x, y))
    return np.array(found)


@given(low=st.floats(-1e5, 1e5), span=st.floats(1e-3, 1e6), most=st.integers(2, 8))
def test_ticks_are_round_evenly_spaced_and_inside(low, span, most):
    shown = ticks(axis(low, low + span), most=most)
    values = np.array([value for value, _ in shown])
    assert 1 <= len(values) + 1 <= most + 2
    assert values.min(initial=low) >= low - 1e-6 * span
    assert values.max(initial=low) <= low + span * (1 + 1e-6)
    if len(values) > 1:
        step = np.diff(values)
        np.testing.assert_allclose(step, step[0], rtol=1e-6)
        assert f"{step[0]:e}"[:3] in ("1.0", "2.0", "2.5", "5.0", "1.0")


@given(low=st.floats(0.01, 1e4), decades=st.floats(0.05, 7))
def test_ticks_of_a_logarithm_are_inside_and_few(low, decades):
    shown = ticks(axis(low, low * 10**decades, log=True), most=7)
    values = [value for value, _ in shown]
    assert values == sorted(values)
    assert all(low * 0.999 <= value <= low * 10**decades * 1.001 for value in values)
    assert 1 <= len(values) <= 8
    assert len(values) >= 3 or decades < 0.3


def test_written_numbers_do_not_carry_rounding():
    assert [written(v) for v in (0.1 + 0.2, 1e-17, -1500.0, 0.00012)] == ["0.3", "0", "\u22121,500", "0.00012"]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_area_of_steps_is_that_of_the_histogram(heights):
    bounds = np.arange(len(heights) + 1, dtype=float)
    svg = draw_chart(axis(0, len(heights)), axis(0, 10), [Steps(bounds, np.array(heights, dtype=float), BLUE)], label="h")
    total = 0.0
    for d in paths(svg):
        for piece in re.findall(r"M[^M]*", d):
            x, y = corners(piece).T
            total += abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    unit = (RIGHT - LEFT) / len(heights) * (BOTTOM - TOP) / 10
    assert total == pytest.approx(sum(heights) * unit, abs=0.1 * (RIGHT - LEFT + 1))


def test_a_line_lies_where_its_values_are_and_breaks_at_nan():
    x, y = np.array([0.0, 5.0, 10.0, 20.0]), np.array([0.0, 2.0, np.nan, 4.0])
    (d,) = paths(draw_chart(axis(0, 20), axis(0, 4), [Line(x, y, BLUE)], label="l"))
    assert d.count("M") == 2
    expected = [(LEFT, BOTTOM), (LEFT + (RIGHT - LEFT) / 4, (TOP + BOTTOM) / 2), (RIGHT, TOP)]
    np.testing.assert_allclose(corners(d), expected, atol=0.06)


def test_a_logarithmic_axis_places_decades_evenly():
    (d,) = paths(draw_chart(axis(10, 1000, log=True), axis(0, 1), [Line(np.array([10.0, 100.0, 1000.0]), np.ones(3), BLUE)], label="l"))
    np.testing.assert_allclose(np.diff(corners(d)[:, 0]), (RIGHT - LEFT) / 2, atol=0.11)


def test_band_and_mark_are_drawn():
    x = np.array([0.0, 1.0])
    svg = draw_chart(axis(0, 1), axis(0, 1), [Band(x, x, x + 0.5, BLUE), Mark(0.5, "here & now", Ink(colour="#f00"))], label="b")
    (d,) = paths(svg, stroke="#f00")
    assert corners(d)[0, 0] == pytest.approx((LEFT + RIGHT) / 2, abs=0.1)
    assert "here &amp; now" in svg
    assert sum(node.get("fill") == "#00f" for node in ET.fromstring(svg).iter()) == 1


def test_a_key_names_the_curves_and_makes_room():
    x = np.array([0.0, 1.0])
    names = ["a" * 200, "<b>", "short"]
    svg = draw_chart(axis(0, 1), axis(0, 1), [Line(x, x, Ink(colour="#00f", label=name)) for name in names], label="k")
    said = [node.text for node in ET.fromstring(svg).iter() if node.tag.endswith("text")]
    assert "<b>" in said
    assert any(text and text.endswith("\u2026") and len(text) < 60 for text in said)
    assert float(ET.fromstring(svg).get("height")) > 250


def test_an_offset_is_drawn_where_it_lies_against_the_rings():
    ink = Ink(colour="#00f")
    root = ET.fromstring(draw_offsets([Offset(x_nm=30.0, y_nm=-10.0, error_nm=5.0, ink=ink)], [(15.0, "a"), (40.0, "b")], label="d"))
    small, large, disc = (node for node in root.iter() if node.tag.endswith("circle"))
    px_per_nm = float(large.get("r")) / 40
    assert float(small.get("r")) == pytest.approx(15 * px_per_nm, abs=0.06)
    assert float(disc.get("r")) == pytest.approx(5 * px_per_nm, abs=0.06)
    assert float(disc.get("cx")) - float(large.get("cx")) == pytest.approx(30 * px_per_nm, abs=0.11)
    assert float(disc.get("cy")) - float(large.get("cy")) == pytest.approx(-10 * px_per_nm, abs=0.11)  # y grows downward


def test_a_map_keeps_its_shape_and_its_scale_starts_at_zero():
    values = np.array([[1.0, 2.0, np.nan, 400.0]])
    root = ET.fromstring(draw_map(values, unit="Photons", label="m"))
    image = next(node for node in root.iter() if node.tag.endswith("image"))
    assert float(image.get("width")) == pytest.approx(4 * float(image.get("height")))
    words = [node.text for node in root.iter() if node.tag.endswith("text")]
    assert words[:2] == ["Photons", "0"]
    assert words[-1] == "400"
