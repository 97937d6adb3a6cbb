"""Parents from two sets of labels, by hand."""

import numpy as np

from smlmbatch.methods.miro.family import parents_of


def labels(*values):
    return np.array(values, dtype=np.int32)


def test_a_cluster_belongs_where_most_of_its_locs_end():
    leaf = labels(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, -1)
    group = labels(5, 5, 4, 5, 5, 5, 4, 4, -1, 4, 4, 5)
    assert parents_of(leaf, group, row=np.arange(12)).tolist() == [0, 0, 1, 1]


def test_no_parent_without_a_majority_or_a_sibling():
    leaf = labels(0, 0, 1, 1, 2, 2)
    group = labels(0, 1, 0, 0, 2, 2)
    assert parents_of(leaf, group, row=np.arange(6)).tolist() == [-1, -1, -1]
    assert parents_of(leaf, labels(*[-1] * 6), row=np.arange(6)).tolist() == [-1, -1, -1]
    assert parents_of(labels(-1, -1), labels(0, 0), row=np.arange(2)).tolist() == []


def test_parents_are_numbered_by_their_smallest_row():
    leaf, group = labels(0, 0, 1, 1, 2, 2, 3, 3), labels(1, 1, 1, 1, 0, 0, 0, 0)
    assert parents_of(leaf, group, row=np.arange(8)).tolist() == [0, 0, 1, 1]
    assert parents_of(leaf, group, row=np.arange(8)[::-1]).tolist() == [1, 1, 0, 0]
