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
    alone = fading(counts, frame_bound=np.arange(401), recording=(0, 399))[0]
    assert alone == pytest.approx(np.exp(-0.75), rel=1e-4)
    second = np.concatenate([np.zeros(50, np.int64), counts])  # a channel that was taken second
    assert fading(second, frame_bound=np.arange(451), recording=(50, 449))[0] == alone


@pytest.mark.parametrize(("first", "last"), [(40_000, 40_999), (40_099, 41_000), (39_999, 40_900)])
def test_a_short_channel_of_constant_rate_has_not_faded(first, last):
    """Its first and last bin are those of the whole recording, which it fills in part."""
    bound = frame_bounds(0, 41_000)
    counts = np.histogram(np.repeat(np.arange(first, last + 1), 5), bound)[0]
    assert fading(counts, frame_bound=bound, recording=(first, last)) == (pytest.approx(1.0), "")


def test_fading_of_a_few_bins_is_not_told():
    counts = np.histogram(np.repeat(np.arange(40_000, 40_420), 5), frame_bounds(0, 40_419))[0]
    value, reason = fading(counts, frame_bound=frame_bounds(0, 40_419), recording=(40_000, 40_419))
    assert np.isnan(value)
    assert "fewer than 6" in reason


@pytest.mark.parametrize("counts", [[], [0, 0], [199], [500], [60, 60, 60]])
def test_fading_needs_something(counts):
    value, reason = fading(np.array(counts, dtype=np.int64), frame_bound=np.arange(len(counts) + 1), recording=(0, len(counts) - 1))
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
