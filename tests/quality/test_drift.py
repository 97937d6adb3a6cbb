"""Offsets of simulated halves: found within their own error, and not told where nothing can be told."""

import numpy as np
import pytest

from smlmbatch.quality.drift import LARGEST_NM, DriftSum

SIDE_NM, BLOCK_NM, N_FRAMES = 16_000.0, 4000.0, 8000


def structure(kind, n, rng):
    if kind == "clusters":
        return rng.uniform(0, SIDE_NM, (300, 2))[rng.integers(0, 300, n)] + rng.normal(0, 50, (n, 2))
    if kind == "fibres":
        angle, through = rng.uniform(0, np.pi, 50), rng.uniform(0, SIDE_NM, (50, 2))
        k, along = rng.integers(0, 50, n), rng.uniform(-1e4, 1e4, n)
        return (through[k] + along[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])[k]) % SIDE_NM
    return rng.uniform(0, SIDE_NM, (n, 2))


def offset_of(kind, n, shift_nm, seed):
    """What is found of `n` molecules of three frames each, the later half displaced."""
    rng = np.random.default_rng(seed)
    xy_nm = np.repeat(structure(kind, n, rng), 3, axis=0) + rng.normal(0, 15, (3 * n, 2))
    frame = np.repeat(rng.integers(0, N_FRAMES, n), 3)
    half, odd = frame >= N_FRAMES // 2, frame // 20 % 2 == 1
    xy_nm = np.clip(xy_nm + half[:, None] * np.asarray(shift_nm), 0, SIDE_NM - 0.01)
    drift, block = DriftSum(BLOCK_NM), np.floor(xy_nm / BLOCK_NM).astype(int)
    for corner in np.unique(block, axis=0):
        own = (block == corner).all(axis=1)
        x, y = (xy_nm[own] - corner * BLOCK_NM).astype(np.float32).T
        drift.add(x, y, half[own], odd[own])
    return drift.offset()


@pytest.mark.parametrize("kind", ["clusters", "fibres"])
@pytest.mark.parametrize("shift_nm", [(0, 0), (23, -11), (-300, 150)])
def test_offset_is_found(kind, shift_nm):
    found = offset_of(kind, 20_000, shift_nm, seed=1)
    assert found.reason == ""
    assert found.error_nm < 6
    assert np.hypot(found.x_nm - shift_nm[0], found.y_nm - shift_nm[1]) < 8
    assert found.length_nm == np.hypot(found.x_nm, found.y_nm)


@pytest.mark.parametrize("shift_nm", [(-300, 200), (700, 0)])
def test_offsets_are_neither_too_long_nor_too_short(shift_nm):
    """Many locs of few molecules. Smoothed before the pairs missed at the edges are made up for, they come out 0.7 nm too long.

    Shifts of whole and half pixels: between them, precisions much finer than a pixel move the maximum by up to a nm either way.
    """
    rng = np.random.default_rng(4)
    drift = DriftSum(BLOCK_NM)
    for _ in range(10):
        half, odd = np.arange(20_000) % 2 == 1, np.arange(20_000) // 2 % 2 == 1
        xy_nm = np.repeat(rng.uniform(0, BLOCK_NM, (200, 2)), 100, axis=0) + rng.normal(0, 12, (20_000, 2)) + half[:, None] * shift_nm
        inside = ((xy_nm >= 0) & (xy_nm < BLOCK_NM)).all(axis=1)
        x, y = xy_nm[inside].astype(np.float32).T
        drift.add(x, y, half[inside], odd[inside])
    found = drift.offset()
    assert (found.x_nm, found.y_nm) == pytest.approx(shift_nm, abs=0.35)


def test_the_error_is_the_scatter():
    """Over 24 fields, deviations are as large as their stated errors."""
    found = [offset_of("clusters", 3000, (40, 0), seed) for seed in range(24)]
    deviation = np.sqrt(np.mean([(f.x_nm - 40) ** 2 + f.y_nm**2 for f in found]))
    stated = np.sqrt(np.mean([f.error_nm**2 for f in found]))
    assert 0.6 < deviation / stated < 1.6


@pytest.mark.parametrize("n", [2000, 20_000])
def test_no_structure_no_number(n):
    found = [offset_of("even", n, (100, 0), seed) for seed in range(6)]
    assert all(np.isnan(f.x_nm) and "don't agree" in f.reason for f in found)


def test_an_offset_too_large_is_not_taken_for_a_small_one():
    found = offset_of("clusters", 20_000, (LARGEST_NM + 700, 0), seed=3)
    assert np.isnan(found.length_nm)


def test_few_locs():
    drift = DriftSum(BLOCK_NM)
    assert "fewer than" in drift.offset().reason
    drift.add(np.zeros(300, np.float32), np.zeros(300, np.float32), np.zeros(300, bool), np.arange(300) % 2 == 0)
    assert "fewer than" in drift.offset().reason
