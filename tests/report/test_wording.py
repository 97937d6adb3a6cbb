import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.cli_work import plan
from smlmbatch.report.wording import (
    NO_ROI_HINT,
    NONE,
    length,
    mean_and_sd,
    number,
    p_value,
    percent,
    roi_hint,
    rounded,
    titles,
    warnings_of,
)
from smlmbatch.tile.grid import REASONS


@given(st.floats(min_value=1e-5, max_value=1e9))
def test_numbers_are_true_to_three_digits(value):
    shown = float(number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=0.005, abs=1e-6)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_no_number_is_a_dash(value):
    assert number(value) == NONE


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (123.456, 12.3, ("123", "12")),
        (1234.5, 88.0, ("1,234", "88")),
        (0.01234, 0.00123, ("0.0123", "0.0012")),
        (5.0, 0.0, ("5.00", "0.00")),
        (3.2, math.nan, ("3.20", NONE)),
        (math.nan, math.nan, (NONE, NONE)),
    ],
)
def test_mean_is_rounded_as_its_spread(mean, sd, shown):
    assert mean_and_sd(mean, sd) == shown


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (0.04, math.nan, ("0.04", NONE)),
        (0.04, 0.0812, ("0.04", "0.08")),
        (0.0004, 0.002, ("0.0004", "0.0020")),  # never rounded to nothing
        (3.14159, 0.001, ("3.142", "0.001")),
        (0.0, 0.0, ("0", "0")),
    ],
)
def test_counts_have_few_decimals(mean, sd, shown):
    assert mean_and_sd(mean, sd, most=2) == shown


def test_small_shares_are_not_nothing():
    assert [percent(n, 10_000).replace("\u202f", "") for n in (0, 1, 50, 5000, 10_000)] == ["0%", "<0.1%", "0.5%", "50%", "100%"]
    assert percent(0, 0).startswith("0")


def test_lengths():
    assert [length(v).replace("\u202f", " ") for v in (50.0, 1000.0, 2500.0)] == ["50 nm", "1 µm", "2.5 µm"]


def test_every_descriptor_has_a_title_or_is_left_out_on_purpose():
    assert set(DESCRIPTORS) - set(titles(DESCRIPTORS)) == {"ripley_n"}


ROW = {
    "n": 1000,
    "n_read": 1000,
    "n_dropped": 0,
    "extent_x_um": 40.0,
    "extent_y_um": 40.0,
    "precision_median_nm": 12.0,
    "n_rois": 40,
    "n_rois_kept": 30,
    "warnings": [],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"n": 0, "extent_x_um": None, "n_rois": 0, "n_rois_kept": 0}, "no locs"),
        ({"extent_x_um": 4000.0}, "above 500 µm"),
        ({"extent_x_um": 0.4, "extent_y_um": 0.4}, "below 2 µm"),
        ({"precision_median_nm": 0.1}, "below 0.5 nm"),
        ({"precision_median_nm": 110.0}, "above 60 nm"),
        ({"precision_median_nm": None}, None),
        ({"n_rois": 0, "n_rois_kept": 0}, "no cell"),
        ({"n_rois_kept": 0}, "no ROI kept"),
        ({"n_rois_kept": 3}, "few ROIs"),
        ({"n_dropped": 100, "n_read": 1100}, "100 rows dropped (9"),
        ({"warnings": [("no frames", 1)]}, "no frames"),
        ({"warnings": [("far out", 7)]}, "far out (7)"),
        ({"n": None, "n_read": None, "n_rois": None, "n_rois_kept": None, "n_dropped": None, "warnings": None}, None),
    ],
)
def test_warnings(change, said):
    found = warnings_of(ROW | change)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_hints_name_options_that_exist():
    known = {option for parameter in plan.params for option in parameter.opts}
    hints = [*map(roi_hint, REASONS[1:]), NO_ROI_HINT]
    assert all("--update" in hint for hint in hints)
    named = [set(re.findall(r"--[a-z-]+", hint)) for hint in hints]
    assert named == [{"--roi-nm", "--min-coverage", "--update"}, {"--min-locs", "--update"}, {"--outline", "--update"}]
    assert set.union(*named) <= known
    assert roi_hint("full moon") == ""


@given(value=st.floats(-1e6, 1e6), half=st.floats(1e-6, 1e6))
@example(value=1.0, half=0.015625)
def test_intervals_are_true_to_two_digits_of_their_half_and_three_of_the_value(value, half):
    shown = [float(text.replace(",", "").replace("\u2212", "-")) for text in rounded(value, value - half, value + half)]
    decimals_lost = max(0.06 * half, 0.0051 * abs(value), 1e-6)  # half a step of the half's second digit, or of the value's third
    assert shown == pytest.approx([value, value - half, value + half], abs=decimals_lost)
    assert "-0" not in "".join(rounded(-1e-9, -1.0, 1.0))


@given(st.floats(0, 1))
def test_p_values_have_two_digits_and_three_decimals_at_most(p):
    shown = p_value(p)
    assert (shown == "<0.001") == (p < 0.001)
    assert shown == "<0.001" or float(shown) == pytest.approx(p, rel=0.05, abs=0.0005)
