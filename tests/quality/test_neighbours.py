"""Crowding, duplicates and blinks of fields in which they are planted."""

import numpy as np
import pytest

from smlmbatch.locs import Locs
from smlmbatch.quality import neighbours
from smlmbatch.quality.neighbours import CROWDED_NM, LARGEST_CROWDED_NM, Neighbours, crowded_nm

SIDE_NM, N_FRAMES = 20_000.0, 2000


def locs_of(xy_nm, frame):
    x, y = np.asarray(xy_nm, dtype=np.float32).T
    n = len(x)
    return Locs(x, y, np.zeros(n, np.uint8), np.arange(n), frame=np.asarray(frame, dtype=np.int32))


def looked_at(locs, own=None, reach_nm=CROWDED_NM):
    found = Neighbours((0, N_FRAMES - 1), reach_nm)
    found.add(locs, np.ones(len(locs), bool) if own is None else own)
    return found


def scattered(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, SIDE_NM, (n, 2)), rng.integers(0, N_FRAMES, n), rng


def test_crowding_of_scattered_locs_is_that_of_a_poisson_process():
    xy_nm, frame, _ = scattered(60_000)
    found = looked_at(locs_of(xy_nm, frame))
    per_nm2 = 60_000 / N_FRAMES / SIDE_NM**2
    assert found.share(found.n_crowded)[0] == pytest.approx(1 - np.exp(-per_nm2 * np.pi * CROWDED_NM**2), rel=0.06)
    assert found.n_duplicates <= 2


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_duplicates_are_counted(share):
    xy_nm, frame, _ = scattered(20_000)
    again = slice(0, int(20_000 * share))
    found = looked_at(locs_of(np.concatenate([xy_nm, xy_nm[again]]), np.concatenate([frame, frame[again]])))
    assert found.n_duplicates == 2 * len(xy_nm[again])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_blinks_that_go_on(share):
    """A share of the molecules is seen once more in the next frame; of all locs that is share / (1 + share)."""
    xy_nm, frame, rng = scattered(40_000, seed=1)
    second = rng.random(40_000) < share
    both = np.concatenate([xy_nm, xy_nm[second]])
    found = looked_at(locs_of(both + rng.normal(0, 12, both.shape), np.concatenate([frame, frame[second] + 1])))
    within = 1 - np.exp(-9 / 4)  # of two sightings, nearer than 3 precisions
    assert found.blinks(precision_nm=12.0)[0] == pytest.approx(within * second.sum() / len(both), abs=0.003)


@pytest.mark.parametrize("n_scattered", [0, 20_000])
def test_a_bead_is_no_blink(n_scattered):
    """It is there in the next frame and in those far away; that no blinks go on can't be said either."""
    xy_nm, frame, rng = scattered(n_scattered, seed=2)
    beads = np.repeat(rng.uniform(0, SIDE_NM, (5, 2)), N_FRAMES, axis=0)
    xy_nm = np.concatenate([xy_nm, beads + rng.normal(0, 5, beads.shape)])
    found = looked_at(locs_of(xy_nm, np.concatenate([frame, np.tile(np.arange(N_FRAMES), 5)])))
    share, reason = found.blinks(precision_nm=12.0)
    assert np.isnan(share)
    assert "beads" in reason
    assert found.blinks(precision_nm=12.0, merged=True)[0] == pytest.approx(0, abs=0.02)


def test_places_seen_time_and_again_are_no_beads():
    """Binding sites visited in one frame of twenty, each visit merged: pairs are all by chance, and few enough to say so."""
    rng = np.random.default_rng(6)
    sites = rng.uniform(0, SIDE_NM, (200, 2))[rng.integers(0, 200, 20_000)]
    found = looked_at(locs_of(sites + rng.normal(0, 10, sites.shape), rng.integers(0, N_FRAMES, 20_000)))
    assert found.blinks(precision_nm=10.0)[0] < 0.01


def test_a_block_sees_over_its_edges():
    """Halves with a margin add up to the whole."""
    xy_nm, frame, _ = scattered(30_000, seed=3)
    locs = locs_of(xy_nm, frame)
    whole, halves = looked_at(locs), Neighbours((0, N_FRAMES - 1), CROWDED_NM)
    for low, high in ((0, SIDE_NM / 2), (SIDE_NM / 2, SIDE_NM)):
        near = locs.take((locs.x_nm >= low - 500) & (locs.x_nm < high + 500))
        halves.add(near, (near.x_nm >= low) & (near.x_nm < high))
    assert (halves.n, halves.n_crowded) == (whole.n, whole.n_crowded)
    assert np.isfinite(halves.next_frame_nm).sum() == np.isfinite(whole.next_frame_nm).sum()
    assert np.isfinite(halves.far_frames_nm).sum() == np.isfinite(whole.far_frames_nm).sum()


def test_a_block_that_is_too_full_is_sampled(monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_LOCS", 10_000)
    monkeypatch.setattr(neighbours, "_INTERVAL_FRAMES", 250)
    xy_nm, frame, rng = scattered(40_000, seed=4)
    both = np.concatenate([xy_nm, xy_nm]) + rng.normal(0, 12, (80_000, 2))
    found = looked_at(locs_of(both, np.concatenate([frame, frame + 1])))
    assert found.n == pytest.approx(10_000, rel=0.1)
    assert found.blinks(precision_nm=12.0)[0] == pytest.approx((1 - np.exp(-9 / 4)) / 2, abs=0.02)
    assert found.nena().precision_nm == pytest.approx(12, rel=0.05)


def test_too_few_to_tell():
    found = looked_at(locs_of(np.zeros((3, 2)), [0, 1, 2]))
    assert np.isnan(found.share(found.n_crowded)[0])
    assert "fewer than" in found.blinks(precision_nm=10)[1]
    short = Neighbours((0, 5), CROWDED_NM)
    short.add(locs_of(np.zeros((300, 2)), np.arange(300) % 6), np.ones(300, bool))
    assert "frames" in short.blinks(precision_nm=10)[1]


def test_reach_of_crowding():
    assert crowded_nm(130.0) == 520
    assert crowded_nm(float("nan")) == CROWDED_NM
    assert crowded_nm(900.0) == LARGEST_CROWDED_NM
