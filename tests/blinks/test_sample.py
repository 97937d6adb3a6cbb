"""The sample for NeNA: whole stretches of frames, few enough, whatever the order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.blinks.nena import nena_nm
from smlmbatch.blinks.sample import FrameSample
from smlmbatch.simulate.blinking import Camera, Fluorophore, blink


def sample_of(frame, *, limit, piece=997):
    """Positions of the locs sampled: x counts them."""
    found = FrameSample(limit=limit)
    for start in range(0, len(frame), piece):
        stop = min(start + piece, len(frame))
        x = np.arange(start, stop, dtype=np.float64)
        found.add({"x_nm": x, "y_nm": -x, "frame": frame[start:stop], "photons": x})
    columns = found.columns()
    assert list(columns) == ["x_nm", "y_nm", "frame", "channel"]
    np.testing.assert_array_equal(columns["frame"], frame[columns["x_nm"].astype(int)])
    return np.sort(columns["x_nm"].astype(int))


def test_a_small_field_is_taken_whole():
    frame = np.random.default_rng(0).integers(10**6, size=5000).astype(np.int32)
    assert len(sample_of(frame, limit=5000)) == 5000


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), n_frames=st.sampled_from([40, 900, 30_000, 2_000_000_000]), piece=st.sampled_from([100, 20_000]))
def test_order_and_pieces_change_nothing(seed, n_frames, piece):
    rng = np.random.default_rng(seed)
    frame = rng.integers(n_frames, size=20_000).astype(np.int32)
    order = rng.permutation(len(frame))
    chosen = sample_of(frame, limit=3000, piece=piece)
    assert len(chosen) <= 3000 or n_frames == 40
    np.testing.assert_array_equal(np.sort(order[sample_of(frame[order], limit=3000)]), chosen)


@pytest.mark.parametrize(("n_frames", "share"), [(64_000, 1 / 8), (1000, 1 / 8)])
def test_frames_are_whole_and_follow_each_other(n_frames, share):
    frame = np.arange(160_000, dtype=np.int32) % n_frames
    chosen = sample_of(frame, limit=20_000)
    assert len(chosen) == 160_000 * share
    kept = np.unique(frame[chosen])
    assert (np.diff(kept) == 1).mean() > 0.99
    for now in kept[::50]:
        assert (frame[chosen] == now).sum() == (frame == now).sum()


def test_the_channel_comes_along():
    found = FrameSample()
    found.add({"x_nm": np.zeros(3), "y_nm": np.zeros(3), "frame": np.arange(3), "channel": np.array([2, 0, 2], np.uint8)})
    assert found.columns()["channel"].tolist() == [2, 0, 2]
    assert FrameSample().columns()["frame"].dtype == np.int32


@pytest.mark.parametrize("n_molecules", [4000, 60_000])
def test_nena_of_a_sample_is_nearly_that_of_all(n_molecules):
    """Also with more pairs by chance."""
    rng = np.random.default_rng(5)
    dye = Fluorophore(mean_on_frames=3.0, min_photons=1500.0, mean_photons=2000.0)
    locs = blink(rng, rng.uniform(0, 1e4, (n_molecules, 2)), fluorophore=dye, camera=Camera(n_frames=16_000))
    found = FrameSample(limit=len(locs) // 5)
    found.add({"x_nm": locs.x_nm, "y_nm": locs.y_nm, "frame": locs.frame})
    assert len(found.columns()["frame"]) < len(locs) // 5
    whole, sampled = nena_nm(locs.x_nm, locs.y_nm, locs.frame), found.nena(np.array([0]))
    assert sampled.precision_nm == pytest.approx(whole.precision_nm, rel=0.04)
    assert sampled.n_pairs * 8 == pytest.approx(whole.n_pairs, rel=0.08)
    assert np.isnan(found.nena(np.array([1])).precision_nm)
