"""Rows of nested clusters, and the shapes that locs tell."""

import numpy as np
import pytest

from smlmbatch.cluster.rows import NOT_TOLD, Labelled, cluster_rows, most_told


def test_parents_hold_their_childrens_locs() -> None:
    """Three children, two of which make a parent; in another channel one alone."""
    x_nm = np.array([0.0, 2, 10, 12, 100, 102, 50, 52])
    y_nm = np.zeros(8)
    found = Labelled(
        label=np.array([0, 0, 1, 1, 2, 2, 4, -1], np.int32),
        channel=np.array([0, 0, 0, 0, 1], np.uint8),
        parent=np.array([3, 3, -1, -1, -1], np.int32),
        belonging=np.array([1, 1, 0.5, 0.5, 1, 1, 1, 0], np.float32),
        shape=np.array([1, 1, 1, 1, 2, 0, 0, 3], np.uint8),
    )
    rows = cluster_rows(found, x_nm, y_nm, None, locs_per_molecule=2.0)
    assert rows["n_locs"].tolist() == [2, 2, 2, 4, 1]
    assert rows["x_nm"].tolist() == [1, 11, 101, 6, 50]
    assert rows["n_children"].tolist() == [0, 0, 0, 2, 0]
    assert rows["radius_of_gyration_nm"].tolist() == pytest.approx([1, 1, 1, np.sqrt(26), 0])
    assert rows["belonging_mean"].tolist() == [1, 0.5, 1, 0.75, 1]
    assert rows["n_molecules"].tolist() == [1, 1, 1, 2, 0.5]
    assert rows["nearest_nm"][:3].tolist() == [10, 10, 90], "the parent is no neighbour of its children"
    assert np.isnan(rows["nearest_nm"][3:]).all()
    assert rows["shape"].tolist() == [0, 0, 1, NOT_TOLD, NOT_TOLD]
    assert rows["shape_share"][:3].tolist() == [1, 1, 0.5]
    assert np.isnan(rows["shape_share"][3:]).all()
    assert np.isnan(rows["z_nm"]).all()


def test_the_shape_that_most_tell() -> None:
    shape, label = np.array([2, 2, 1, 0, 0, 0, 1, 2], np.uint8), np.array([0, 0, 0, 0, 1, 1, 2, 2])
    told, share = most_told(shape, label, np.array([4, 2, 2]))
    assert told.tolist() == [1, NOT_TOLD, 0], "background is no shape; of a tie, the first"
    np.testing.assert_array_equal(share, [0.5, np.nan, 0.5])
    told, share = most_told(np.zeros(2, np.uint8), np.array([0, 0]), np.array([2]))
    assert told.tolist() == [NOT_TOLD]
    assert np.isnan(share).all()


def test_nothing_at_all() -> None:
    none = np.empty(0)
    found = Labelled(label=none.astype(np.int32), channel=none.astype(np.uint8), parent=none.astype(np.int32))
    rows = cluster_rows(found, none, none, none, locs_per_molecule=0.0)
    assert {len(values) for values in rows.values()} == {0}
