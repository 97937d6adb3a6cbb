"""Hull areas against scipy's, radii against their definition, and clusters that have no hull."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from smlmbatch.clustering.clusters import describe_clusters


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(3, 60), min_size=1, max_size=5), lattice=st.booleans())
def test_each_cluster_against_scipy(seed: int, sizes: list[int], lattice: bool) -> None:
    """Labels interleaved with each other and with noise; on a lattice hull edges hold many locs."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.r_[np.repeat(np.arange(len(sizes)), sizes), np.full(20, -1)])
    xy_nm = rng.normal(1e4, 30, (len(labels), 2)).astype(np.float32)
    if lattice:
        xy_nm = np.round(xy_nm / 15) * 15
        for label in range(len(sizes)):  # not all on one line
            xy_nm[np.flatnonzero(labels == label)[:3]] = [[9985, 9985], [10015, 9985], [9985, 10015]]
    clusters = describe_clusters(*xy_nm.T, labels)
    assert clusters.n_locs.tolist() == sizes
    for label in range(len(sizes)):
        own = xy_nm[labels == label].astype(np.float64)
        assert clusters.area_nm2[label] == pytest.approx(ConvexHull(own).volume, rel=1e-9)
        assert clusters.radius_nm[label] == pytest.approx(np.sqrt(own.var(axis=0).sum()), rel=1e-9)
        assert (clusters.x_nm[label], clusters.y_nm[label]) == pytest.approx(own.mean(axis=0), rel=1e-12)
        smaller, larger = np.linalg.eigvalsh(np.cov(own.T))
        assert clusters.eccentricity[label] ** 2 == pytest.approx(1 - smaller / larger, abs=1e-9)


@pytest.mark.parametrize(
    "xy_nm",
    [
        [[5, 5]],
        [[5, 5], [7, 9]],
        [[5, 5], [5, 5], [5, 5], [5, 5]],
        [[0, 0], [10, 20], [20, 40], [5, 10]],
        [[3, 0], [3, 1], [3, 7], [3, 2]],
        [[0, 4], [9, 4], [1, 4]],
    ],
)
def test_fewer_than_three_or_on_a_line_have_no_area(xy_nm: list[list[float]]) -> None:
    points = np.array(xy_nm, dtype=np.float32)
    clusters = describe_clusters(*points.T, np.zeros(len(points), np.int32))
    assert clusters.area_nm2.tolist() == [0]
    assert clusters.radius_nm[0] == pytest.approx(np.sqrt(points.astype(float).var(axis=0).sum()))


def test_closed_forms() -> None:
    """A ring of radius 40, an ellipse of half axes 50 and 30 (eccentricity 0.8), a line, and one place twice."""
    turn = 2 * np.pi * np.arange(360) / 360
    ring = 1000 + 40 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    ellipse = ring / 40 * [50, 30]
    line = np.stack([np.arange(11.0), 2 * np.arange(11.0)], axis=1)
    place = np.full((2, 2), 7.0)
    shapes = [ring, ellipse, line, place]
    clusters = describe_clusters(*np.concatenate(shapes).T, np.repeat(np.arange(4), [len(shape) for shape in shapes]))
    assert clusters.radius_nm == pytest.approx([40, np.hypot(50, 30) / np.sqrt(2), np.sqrt(5 * 10), 0])
    assert clusters.eccentricity[:3] == pytest.approx([0, 0.8, 1], abs=1e-6)
    assert np.isnan(clusters.eccentricity[3])
    polygon = 360 / 2 * np.sin(2 * np.pi / 360)  # area of a regular 360-gon of radius 1
    assert clusters.area_nm2 == pytest.approx([40**2 * polygon, 50 * 30 * polygon, 0, 0])
    assert clusters.x_nm == pytest.approx([1000, 1250, 5, 7])
    assert clusters.y_nm == pytest.approx([1000, 750, 10, 7])


@pytest.mark.parametrize("labels", [[], [-1, -1, -1]])
def test_no_clusters(labels: list[int]) -> None:
    xy_nm = np.zeros(len(labels), np.float32)
    clusters = describe_clusters(xy_nm, xy_nm, np.array(labels, dtype=np.int32))
    assert len(clusters) == len(clusters.area_nm2) == len(clusters.radius_nm) == 0
