"""Which locs become one blink: against all pairs looked at, one by one, and cases that can be thought through."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.blinks.link import link_frames, no_traces


def plain_links(x, y, frame, channel, radius_nm, dark_frames):
    """Trace of each loc by the rule itself: in every frame all pairs within reach, nearest first, one loc a trace."""
    last, trace = [], np.full(len(x), -1)
    for now in np.unique(frame):
        locs = sorted(np.flatnonzero(frame == now), key=lambda i: (x[i], y[i], i))
        pairs = []
        for place, i in enumerate(locs):
            for t, j in enumerate(last):
                distance2 = (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2
                if now - frame[j] <= dark_frames + 1 and channel[i] == channel[j] and distance2 <= radius_nm[channel[i]] ** 2:
                    pairs.append((distance2, t, place))
        taken = set()
        for _, t, place in sorted(pairs):
            if t not in taken and trace[locs[place]] < 0:
                taken.add(t)
                trace[locs[place]] = t
                last[t] = locs[place]
        for i in locs:
            if trace[i] < 0:
                trace[i] = len(last)
                last.append(i)
    return trace


def link(x, y, frame, channel=None, *, radius_nm=10.0, dark_frames=0, pieces=1):
    """Trace of each loc (frames ascending), the frames cut into so many pieces and closed traces put away in between."""
    x, y, frame = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(frame, dtype=np.int64)
    channel = np.zeros(len(x), dtype=np.uint8) if channel is None else np.asarray(channel, dtype=np.uint8)
    radius_nm = np.broadcast_to(np.float64(radius_nm), 256).copy()
    traces, number, found, n_found = no_traces(), np.empty(0, dtype=np.int64), [], 0
    for some in np.array_split(np.unique(frame), pieces):
        chosen = np.isin(frame, some)
        if not chosen.any():
            continue
        columns = (x[chosen], y[chosen], frame[chosen], channel[chosen])
        traces, trace, opener = link_frames(traces, *columns, radius_nm=radius_nm, dark_frames=dark_frames)
        number = np.concatenate([number, n_found + np.arange(len(opener))])
        n_found += len(opener)
        found.append(number[trace])
        goes_on = traces.frame >= some[-1] - dark_frames
        traces, number = traces.take(goes_on), number[goes_on]
    return np.concatenate(found)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 90),
    seed=st.integers(0, 2**32),
    side=st.sampled_from([5.0, 40.0, 300.0]),
    frames=st.sampled_from([2, 9, 60]),
    step=st.sampled_from([0.0, 1.0, 4.0]),
    channels=st.integers(1, 3),
    dark_frames=st.integers(0, 4),
    pieces=st.integers(1, 5),
    offset=st.sampled_from([0.0, -1e6, 3e9]),
)
def test_against_all_pairs(n, seed, side, frames, step, channels, dark_frames, pieces, offset):
    """Also on grids, where many distances are equal."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-side, side, (2, n))
    if step:
        x, y = np.round(x / step) * step, np.round(y / step) * step
    x = np.round(x + offset, 3)
    frame, channel = np.sort(rng.integers(frames, size=n)), rng.integers(channels, size=n)
    radius_nm = np.full(256, 10.0)
    radius_nm[1] = 4.0
    expected = plain_links(x, y, frame, channel, radius_nm, dark_frames)
    np.testing.assert_array_equal(link(x, y, frame, channel, radius_nm=radius_nm, dark_frames=dark_frames, pieces=pieces), expected)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), dark_frames=st.integers(0, 3))
def test_the_order_of_locs_within_a_frame_changes_nothing(seed, dark_frames):
    rng = np.random.default_rng(seed)
    n = 200
    x, y = rng.uniform(0, 60, (2, n))
    frame = np.sort(rng.integers(12, size=n))
    order = np.lexsort((rng.random(n), frame))
    trace, again = link(x, y, frame, dark_frames=dark_frames), link(x[order], y[order], frame[order], dark_frames=dark_frames)
    np.testing.assert_array_equal(again, trace[order])


def test_the_radius_is_inclusive_and_counts_from_the_last_loc():
    assert link([0, 3, 6, 9], [0, 4, 8, 12], [1, 2, 3, 4], radius_nm=5.0).tolist() == [0, 0, 0, 0]
    assert link([0, 3, 6.001], [0, 4, 8], [1, 2, 3], radius_nm=5.0).tolist() == [0, 0, 1]


@pytest.mark.parametrize(("gap", "dark_frames", "joined"), [(1, 0, True), (2, 0, False), (2, 1, True), (6, 4, False), (6, 5, True)])
def test_dark_frames(gap, dark_frames, joined):
    assert (link([0, 1], [0, 0], [7, 7 + gap], dark_frames=dark_frames)[1] == 0) == joined


def test_the_nearest_pair_comes_first_and_the_other_takes_what_is_left():
    # Both locs of frame 2 are nearest to the trace at 0; the nearer one gets it, the other the trace at 8.
    assert link([0, 8, 1, 3], [0, 0, 0, 0], [1, 1, 2, 2]).tolist() == [0, 1, 0, 1]
    # Nothing is left for a third.
    assert link([0, 8, 1, 3, 5], [0, 0, 0, 0, 0], [1, 1, 2, 2, 2]).tolist() == [0, 1, 0, 2, 1]


def test_locs_of_one_frame_or_of_two_channels_are_never_one_blink():
    assert link([0, 0], [0, 0], [5, 5]).tolist() == [0, 1]
    assert link([0, 0], [0, 0], [5, 6], [0, 1]).tolist() == [0, 1]


def test_a_channel_of_no_radius_is_not_linked():
    radius_nm = np.zeros(256)
    assert link([0, 0], [0, 0], [5, 6], radius_nm=radius_nm).tolist() == [0, 1]
    radius_nm[2] = 1.0
    assert link([0, 0, 0, 0], [0, 0, 0, 0], [5, 5, 6, 6], [2, 3, 2, 3], radius_nm=radius_nm).tolist() == [0, 1, 0, 2]


def test_a_crowd_at_one_place():
    """Every loc within reach of every other: as many traces as locs in the fullest frame."""
    rng = np.random.default_rng(3)
    frame = np.repeat(np.arange(5), [40, 300, 300, 7, 200])
    x, y = rng.uniform(0, 5, (2, len(frame)))
    trace = link(x, y, frame, radius_nm=50.0, dark_frames=1)
    assert trace.max() + 1 == 300
    for now in range(5):
        assert len(np.unique(trace[frame == now])) == (frame == now).sum()
