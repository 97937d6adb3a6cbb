"""NeNA against simulated precisions, against a fit by other means, and where there is nothing to find."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree

from smlmbatch.blinks.nena import far_lag, nena_nm

SIDE_NM, N_FRAMES = 15_000.0, 4000


def seen(rng, at_nm, sigma_nm, *, on_frames=3.0, n_frames=N_FRAMES):
    """Molecules (m, 2), each bright once, for a geometric number of frames: x, y, frame of its locs, in any order."""
    length = rng.geometric(1 / on_frames, len(at_nm))
    who = np.repeat(np.arange(len(at_nm)), length)
    frame = rng.integers(0, n_frames, len(at_nm))[who] + np.arange(len(who)) - np.repeat(length.cumsum() - length, length)
    xy_nm = at_nm[who] + rng.normal(0, 1, (len(who), 2)) * np.broadcast_to(sigma_nm, len(at_nm))[who, None]
    order = rng.permutation(len(who))
    return xy_nm[order, 0], xy_nm[order, 1], frame[order].astype(np.int32)


def places(rng, kind, n):
    if kind == "anywhere":
        return rng.uniform(0, SIDE_NM, (n, 2))
    if kind == "clusters":
        return rng.uniform(0, SIDE_NM, (n // 50, 2))[rng.integers(0, n // 50, n)] + rng.normal(0, 60, (n, 2))
    return np.stack([rng.uniform(0, SIDE_NM, n), rng.uniform(0, SIDE_NM, 150)[rng.integers(0, 150, n)]], axis=1)  # fibres


@pytest.mark.parametrize("kind", ["anywhere", "clusters", "fibres"])
@pytest.mark.parametrize("sigma_nm", [1.5, 5, 10, 20, 40])
def test_simulated_precision_is_found(kind, sigma_nm):
    rng = np.random.default_rng(11)
    found = nena_nm(*seen(rng, places(rng, kind, 8000), sigma_nm))
    assert found.reason == ""
    assert found.precision_nm == pytest.approx(sigma_nm, rel=0.03)


def test_a_runaway_loc_changes_nothing():
    rng = np.random.default_rng(5)
    x, y, frame = seen(rng, places(rng, "anywhere", 3000), 5)
    runaway = np.append(x, -1e10), np.append(y, 1e10), np.append(frame, frame[:1])  # 10 m away
    assert nena_nm(*runaway).precision_nm == pytest.approx(nena_nm(x, y, frame).precision_nm, rel=1e-6)


@pytest.mark.parametrize("n_molecules", [300, 1000])
def test_few_molecules(n_molecules):
    """100 pairs are certain to about 6 %; no bias is left in the mean of many fields."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found.append(nena_nm(*seen(rng, places(rng, "anywhere", n_molecules), 10.0, on_frames=2.0)).precision_nm)
    assert np.mean(found) == pytest.approx(10, rel=0.03)
    assert np.std(found) < 0.08 * 10


@pytest.mark.parametrize("spread", [0.3, 0.5])
def test_molecules_of_different_precision(spread):
    """As photons differ, so do precisions: a logarithmic spread of 0.3 to 0.5 is common. The median is what a file's is held against."""
    rng = np.random.default_rng(5)
    sigma_nm = 10 * np.exp(spread * rng.normal(0, 1, 20_000))
    found = nena_nm(*seen(rng, places(rng, "anywhere", 20_000), sigma_nm))
    assert found.precision_nm == pytest.approx(10, rel=0.15)


def test_against_a_fit_by_other_means():
    """All distances by a tree per frame; maximum likelihood of the first term, cut at 4 s, where chance gives next to nothing."""
    rng = np.random.default_rng(3)
    x, y, frame = seen(rng, places(rng, "anywhere", 4000), 8.0)
    distances = []
    for t in np.unique(frame):
        here, there = (np.stack([x, y], axis=1)[frame == f] for f in (t, t + 1))
        if len(there):
            distances.append(cKDTree(there).query(here)[0])
    found = nena_nm(x, y, frame)
    d = np.concatenate(distances)
    counts = np.histogram(d, found.bound_nm)[0]
    assert np.abs(found.pairs - counts).sum() <= 2  # float32 at a bin's edge

    near = d[d < 32]

    def misfit(s):
        return -np.sum(np.log(near / (2 * s**2)) - near**2 / (4 * s**2)) + len(near) * np.log(1 - np.exp(-(32**2) / (4 * s**2)))

    assert found.precision_nm == pytest.approx(minimize_scalar(misfit, bounds=(2, 20), method="bounded").x, rel=0.02)


def test_fit_follows_the_histogram():
    rng = np.random.default_rng(4)
    found = nena_nm(*seen(rng, places(rng, "clusters", 8000), 10.0))
    fit = found.fit(found.bound_nm)
    assert np.abs(fit - found.pairs).sum() < 0.1 * found.pairs.sum()
    assert found.fit(np.linspace(0, 50, 11)).sum() == pytest.approx(found.fit(np.linspace(0, 50, 501)).sum(), rel=0.01)


@pytest.mark.parametrize("kind", ["anywhere", "clusters", "fibres"])
def test_no_blink_goes_on(kind):
    """Structure alone brings locs of following frames near to each other; frames far apart tell."""
    rng = np.random.default_rng(6)
    found = nena_nm(*seen(rng, places(rng, kind, 40_000), 10.0, on_frames=1.0))
    assert np.isnan(found.precision_nm)
    assert "beyond chance" in found.reason or "frames far away" in found.reason
    assert np.isnan(found.fit(np.linspace(0, 10, 3))).all()


def test_bleaching_is_no_blinking():
    """Three quarters of the molecules in the first tenth of the recording: later frames hold less, earlier ones more."""
    rng = np.random.default_rng(7)
    x, y, _ = seen(rng, places(rng, "clusters", 60_000), 10.0, on_frames=1.0)
    frame = (rng.exponential(0.07, len(x)) * N_FRAMES).astype(np.int32)
    assert np.isnan(nena_nm(x, y, frame).precision_nm)


def test_merged_blinks_are_recognised():
    """Merging within 60 nm leaves pairs beyond 60 nm only: of molecules that moved, or of neighbours."""
    rng = np.random.default_rng(8)
    x, y, frame = seen(rng, places(rng, "anywhere", 30_000), 30.0, on_frames=2.0)
    order = np.argsort(frame, kind="stable")
    x, y, frame = x[order], y[order], frame[order]
    kept = np.ones(len(x), dtype=bool)
    for t in range(1, frame.max() + 1):
        here, before = np.flatnonzero(frame == t), np.flatnonzero(frame == t - 1)
        if len(here) and len(before):
            kept[here[np.hypot(x[here, None] - x[before], y[here, None] - y[before]).min(axis=1) < 60]] = False
    found = nena_nm(x[kept], y[kept], frame[kept])
    assert np.isnan(found.precision_nm)
    assert "merged already" in found.reason


def test_beads_alone_give_no_precision():
    rng = np.random.default_rng(9)
    frame = np.tile(np.arange(1000, dtype=np.int32), 5)
    at_nm = np.repeat(rng.uniform(0, SIDE_NM, (5, 2)), 1000, axis=0) + rng.normal(0, 3, (5000, 2))
    assert np.isnan(nena_nm(at_nm[:, 0], at_nm[:, 1], frame).precision_nm)


def test_sample_of_frames():
    """Nothing random: whole intervals of frames, and the same precision."""
    rng = np.random.default_rng(10)
    x, y, frame = seen(rng, places(rng, "clusters", 30_000), 12.0, n_frames=20_000)
    sample, again = (nena_nm(x, y, frame, max_locs=30_000) for _ in range(2))
    assert sample.pairs.tobytes() == again.pairs.tobytes()
    assert 0.2 < sample.n_pairs / nena_nm(x, y, frame).n_pairs < 0.45
    assert sample.precision_nm == pytest.approx(12, rel=0.03)
    merged = seen(rng, places(rng, "clusters", 60_000), 12.0, n_frames=20_000, on_frames=1.0)
    assert np.isnan(nena_nm(*merged, max_locs=20_000).precision_nm)


@pytest.mark.parametrize(("n_frames", "lag"), [(1, 0), (7, 0), (8, 2), (40, 10), (400, 100), (100_000, 100)])
def test_frames_far_apart(n_frames, lag):
    assert far_lag(n_frames) == lag


@pytest.mark.parametrize("n", [0, 1, 3])
def test_hardly_a_loc(n):
    found = nena_nm(np.arange(float(n)), np.arange(float(n)), np.zeros(n, np.int32))
    assert np.isnan(found.precision_nm)
    assert found.reason


def test_equal_positions_are_no_precision():
    """Quantised to pixels: every distance is 0."""
    frame = np.repeat(np.arange(500, dtype=np.int32), 2)
    x = np.repeat(np.random.default_rng(1).integers(0, 1000, 100) * 100.0, 10)
    assert np.isnan(nena_nm(x, np.zeros(1000), frame).precision_nm)
