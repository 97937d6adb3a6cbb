"""Fading and gaps of recordings whose course is known."""

import numpy as np
import pytest

from smlmbatch.quality.recording import fading, frame_bounds, gaps, recorded


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 398), (0, 399), (0, 400), (5, 99_999), (100, 2**31 - 1)])
def test_bins_of_frames(first, last):
    bounds = frame_bounds(first, last)
    assert bounds[0] == first
    assert bounds[-2] <= last < bounds[-1]
    assert 1 <= len(bounds) - 1 <= 400
    assert set(np.diff(bounds)) == {-(-(last - first + 1) // 400)}


def test_fading_of_an_exponential():
    """Quarters of exp(-t / T) with T the whole recording: exp(-3/4) of the first is left in the last."""
    counts = np.rint(1e6 * np.exp(-np.arange(400) / 400)).astype(np.int64)
    assert fading(counts)[0] == pytest.approx(np.exp(-0.75), rel=1e-4)
    assert fading(np.concatenate([np.zeros(50, np.int64), counts]))[0] == fading(counts)[0]  # a channel that was taken second


@pytest.mark.parametrize("counts", [[], [0, 0], [199], [500], [60, 60, 60]])
def test_fading_needs_something(counts):
    value, reason = fading(np.array(counts, dtype=np.int64))
    assert np.isnan(value)
    assert reason


def test_a_gap_is_what_is_missing():
    counts = np.full((400, 1), 30)
    counts[100:140] = 0
    assert gaps(counts, frames_per_bin=50, channel=0) == (0.1, "")


def test_sparse_and_faded_recordings_have_no_gap():
    rng = np.random.default_rng(2)
    sparse = rng.poisson(0.7, (400, 1))
    faded = rng.poisson(200 * np.exp(-np.arange(400) / 40.0))[:, None]
    assert (sparse == 0).mean() > 0.4
    assert (faded[: recorded(faded[:, 0])[1]] == 0).any()
    assert gaps(sparse, frames_per_bin=50, channel=0) == (0.0, "")
    assert gaps(faded, frames_per_bin=50, channel=0) == (0.0, "")


def test_alternating_and_successive_channels_have_no_gap():
    alternating = np.zeros((400, 2), np.int64)
    alternating[::2, 0] = alternating[1::2, 1] = 40
    successive = np.zeros((400, 2), np.int64)
    successive[:200, 0] = successive[200:, 1] = 40
    for counts in (alternating, successive):
        assert [gaps(counts, frames_per_bin=1, channel=c)[0] for c in (0, 1)] == [0.0, 0.0]


def test_gaps_of_few_locs_are_not_told():
    assert np.isnan(gaps(np.full((10, 1), 2), frames_per_bin=1, channel=0)[0])
