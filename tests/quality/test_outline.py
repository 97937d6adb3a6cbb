"""Outlines along the field's edge and as masks, against shapely."""

import numpy as np
import pytest
import shapely

from smlmbatch.quality.outline import EDGE_NM, mask_of, share_cut


def circle(x, y, radius, n=200):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def test_share_cut_against_geometry():
    field = (0.0, 0.0, 20_000.0, 20_000.0)
    cell = shapely.Polygon(circle(1000, 9000, 5000)).intersection(shapely.box(*field))
    ring = np.asarray(cell.exterior.coords)[:-1]
    inner = shapely.box(EDGE_NM, EDGE_NM, 20_000 - EDGE_NM, 20_000 - EDGE_NM)
    wanted = cell.exterior.difference(inner).length / cell.exterior.length
    assert share_cut([ring], field) == pytest.approx(wanted, abs=0.005)
    assert 0.3 < wanted < 0.5
    assert share_cut([circle(10_000, 10_000, 3000)], field) == 0
    assert share_cut([np.array([[0.0, 0], [2e4, 0], [2e4, 2e4], [0, 2e4]])], field) == 1
    assert np.isnan(share_cut([], field))


def test_mask_against_geometry():
    outer, hole, other = circle(3000, 3000, 2500), circle(3000, 3500, 800), circle(5200, 3000, 1500)
    shape = (60, 70)
    found = mask_of([outer, hole, other], [0, 0, 1], origin_nm=(50.0, -30.0), bin_nm=100.0, shape=shape)
    cell = shapely.Polygon(outer, [hole]).union(shapely.Polygon(other))
    x, y = np.meshgrid(50 + 100 * (np.arange(70) + 0.5), -30 + 100 * (np.arange(60) + 0.5))
    assert np.array_equal(found, shapely.contains_xy(cell, x, y))


def test_a_ring_beyond_the_raster():
    assert mask_of([circle(500, 500, 5000)], [0], origin_nm=(0.0, 0.0), bin_nm=100.0, shape=(10, 10)).all()
    assert not mask_of([circle(-9000, 500, 1000)], [0], origin_nm=(0.0, 0.0), bin_nm=100.0, shape=(10, 10)).any()
