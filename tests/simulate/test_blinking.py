"""Blinking: counts, times, photons and errors against the distributions they are drawn from."""

import numpy as np
import pytest
from scipy import stats

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.blinking import Camera, Fluorophore, blink, precision_nm

ENDLESS = Camera(n_frames=1_000_000_000)
N = 20_000


def _blink(fluorophore=None, camera=ENDLESS, n=N, seed=1):
    xy_nm = np.random.default_rng(0).uniform(0, 10_000, (n, 2))
    return xy_nm, blink(np.random.default_rng(seed), xy_nm, fluorophore=fluorophore or Fluorophore(), camera=camera)


def test_by_default_every_molecule_is_seen_once():
    _, locs = _blink(camera=Camera())
    assert np.array_equal(np.sort(locs.molecule), np.arange(N))


def _runs(locs):
    """(molecule, length) of every run of consecutive frames, and the dark frames between runs of one molecule."""
    order = np.lexsort((locs.frame, locs.molecule))
    molecule, frame = locs.molecule[order], locs.frame[order].astype(np.int64)
    same = molecule[1:] == molecule[:-1]
    begins = np.r_[True, ~same | (np.diff(frame) != 1)]
    lengths = np.diff(np.r_[np.flatnonzero(begins), len(frame)])
    dark = (np.diff(frame) - 1)[same & (np.diff(frame) != 1)]
    return molecule[begins], lengths, dark


def test_blinks_on_times_and_dark_times_are_geometric():
    _, locs = _blink(Fluorophore(mean_blinks=3.0, mean_on_frames=2.0, mean_dark_frames=40.0))
    owner, on, dark = _runs(locs)
    for counts, mean in ((np.bincount(owner, minlength=N), 3.0), (on, 2.0), (dark, 40.0)):
        sd = np.sqrt(mean * (mean - 1))  # of a geometric distribution from 1
        assert counts.min() == 1
        assert counts.mean() == pytest.approx(mean, abs=4.5 * sd / np.sqrt(len(counts)))
        once = 1 / mean
        assert (counts == 1).mean() == pytest.approx(once, abs=4.5 * np.sqrt(once * (1 - once) / len(counts)))
    assert len(locs) / N == pytest.approx(3.0 * 2.0, rel=0.03)


def test_nothing_is_recorded_after_the_last_frame():
    _, locs = _blink(Fluorophore(mean_blinks=5.0, mean_dark_frames=300.0), Camera(n_frames=500))
    assert locs.frame.min() == 0
    assert locs.frame.max() == 499
    assert len(locs) < 0.8 * 5 * N


def test_localisations_come_in_order_of_frame_then_molecule():
    _, locs = _blink(Fluorophore(mean_blinks=4.0, mean_on_frames=2.0), Camera(n_frames=300))
    key = locs.frame.astype(np.int64) * N + locs.molecule
    assert (np.diff(key) > 0).all()  # and no molecule twice in a frame


@pytest.mark.parametrize("shape", [1.0, 4.0])
def test_photons_are_a_gamma_above_the_detection_limit(shape):
    _, locs = _blink(Fluorophore(mean_photons=1500.0, min_photons=300.0, photon_shape=shape))
    assert stats.kstest(locs.photons, stats.gamma(shape, loc=300.0, scale=1200.0 / shape).cdf).pvalue > 1e-3
    assert locs.photons.mean() == pytest.approx(1500.0, rel=0.03)


def test_precision_without_background_is_the_spot_over_root_n():
    photons = np.array([100.0, 400.0, 10_000.0])
    bare = Camera(psf_nm=120.0, pixel_nm=1e-6, background_sd=0.0)
    np.testing.assert_allclose(precision_nm(photons, bare), [12.0, 6.0, 1.2], rtol=1e-12)
    pixelated = Camera(psf_nm=120.0, pixel_nm=120.0, background_sd=0.0)
    np.testing.assert_allclose(precision_nm(photons, pixelated) ** 2, 120**2 * (13 / 12) / photons, rtol=1e-12)


def test_background_adds_what_thompson_says():
    photons = np.array([500.0, 1000.0])
    quiet, noisy = (precision_nm(photons, Camera(psf_nm=100.0, pixel_nm=100.0, background_sd=sd)) ** 2 for sd in (0.0, 10.0))
    # 8 pi s^4 b^2 / (a^2 N^2) with s = a = 100 nm, b = 10: 8 pi 1e4 100 / N^2
    np.testing.assert_allclose(noisy - quiet, [100.53096491487338, 25.132741228718345], rtol=1e-9)


def test_positions_scatter_by_their_precision():
    xy_nm, locs = _blink(Fluorophore(mean_blinks=2.0))
    for seen_nm, axis in ((locs.x_nm, 0), (locs.y_nm, 1)):
        assert stats.kstest((seen_nm - xy_nm[locs.molecule, axis]) / locs.precision_nm, "norm").pvalue > 1e-3
    np.testing.assert_array_equal(locs.precision_nm, precision_nm(locs.photons, ENDLESS))


def test_same_generator_same_locs_and_no_molecules_no_locs():
    first, second = _blink(seed=5)[1], _blink(seed=5)[1]
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in first.__slots__)
    assert len(blink(np.random.default_rng(0), np.empty((0, 2)), fluorophore=Fluorophore(), camera=Camera())) == 0


@pytest.mark.parametrize("wish", [{"mean_blinks": 0.5}, {"min_photons": 2000.0}, {"photon_shape": 0.0}])
def test_impossible_dyes_are_refused(wish):
    with pytest.raises(ConfigError, match="wanted"):
        Fluorophore(**wish)


def test_impossible_cameras_are_refused():
    with pytest.raises(ConfigError, match="wanted"):
        Camera(pixel_nm=0.0)
