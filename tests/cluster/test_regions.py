"""Which region holds a place: against looking at every region."""

from types import SimpleNamespace

import numpy as np

from smlmbatch.cluster.regions import region_of


def tile_of(corner_nm: np.ndarray, kept: np.ndarray, side_nm: float = 100.0) -> SimpleNamespace:
    arrays = {"roi_origin_nm": corner_nm, "roi_kept": kept}
    return SimpleNamespace(attrs={"roi_nm": side_nm}, read=arrays.__getitem__)


def test_against_every_region() -> None:
    """Two grids that overlap, some regions dropped, places on edges and corners."""
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2) * 100.0
    corner_nm = np.concatenate([grid, grid + np.array([530.0, 40.0])])
    kept = (rng.random(len(corner_nm)) < 0.8).astype(np.uint8)
    places = np.concatenate([rng.uniform(-50, 1200, (500, 2)), grid, grid + np.array([100.0, 50.0])])
    found = region_of(*places.T, tile_of(corner_nm, kept))
    away = places[:, None] - corner_nm
    inside = ((away >= 0) & (away < 100.0)).all(axis=2) & (kept == 1)
    expected = np.where(inside.any(axis=1), inside.argmax(axis=1), -1)
    assert found.tolist() == expected.tolist()
    assert 0 < (found == -1).sum() < len(found)


def test_no_region_kept_and_no_place() -> None:
    nowhere = tile_of(np.zeros((1, 2)), np.zeros(1, np.uint8))
    assert region_of(np.array([5.0]), np.array([5.0]), nowhere).tolist() == [-1]
    assert region_of(np.empty(0), np.empty(0), tile_of(np.zeros((1, 2)), np.ones(1, np.uint8))).tolist() == []
