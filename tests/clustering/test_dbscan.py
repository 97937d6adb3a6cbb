"""DBSCAN against scikit-learn (core locs, clusters of core locs) and against the definition (border locs, numbering), in the plane and
in space."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN

from smlmbatch.clustering.dbscan import dbscan_labels

EPS_NM = 25.0


def by_definition(xy_nm: np.ndarray, min_locs: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core mask of all pairs' squared distances."""
    square = ((xy_nm[:, None] - xy_nm[None]) ** 2).sum(axis=2)
    near = square <= EPS_NM**2
    core = near.sum(axis=1) >= min_locs
    labels = np.full(len(xy_nm), -1)
    _, component = connected_components(csr_array(near[np.ix_(core, core)]), directed=False)
    _, first, number = np.unique(component, return_index=True, return_inverse=True)
    labels[core] = np.argsort(np.argsort(first))[number]
    for loc in np.flatnonzero(~core & (near & core).any(axis=1)):
        to_core = np.where(core & near[loc], square[loc], np.inf)
        labels[loc] = labels[np.argmin(to_core)]  # the first of equally near ones
    return labels, core


def partition(labels: np.ndarray) -> np.ndarray:
    """Labels renamed by first appearance, so that equal partitions are equal arrays."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


@st.composite
def patterns(draw: st.DrawFn) -> np.ndarray:
    """Lattice points (exact ties, duplicates), clumps and stray locs, stored as float32; coordinates may be negative."""
    return draw_pattern(draw, axes=2)


@st.composite
def patterns_in_space(draw: st.DrawFn) -> np.ndarray:
    return draw_pattern(draw, axes=3)


def draw_pattern(draw: st.DrawFn, *, axes: int) -> np.ndarray:
    reach = 12 if axes == 2 else 4
    lattice = draw(st.lists(st.tuples(*[st.integers(-reach, reach)] * axes), max_size=60))
    seed, n_clumps, spread = draw(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 6), st.sampled_from([3.0, 12.0, 40.0])))
    rng = np.random.default_rng(seed)
    clumps = rng.uniform(-200, 200, (n_clumps, 1, axes)) + rng.normal(0, spread, (n_clumps, 12, axes))
    stray = rng.uniform(-300, 300, (draw(st.integers(0, 40)), axes))
    parts = [np.array(lattice).reshape(-1, axes) * draw(st.sampled_from([5.0, 12.5, 15.0, 25.0])), clumps.reshape(-1, axes), stray]
    return rng.permutation(np.concatenate(parts)).astype(np.float32)


def labels_of(xy_nm: np.ndarray, min_locs: int, eps_nm: float = EPS_NM) -> np.ndarray:
    return dbscan_labels(*xy_nm.T, eps_nm=eps_nm, min_locs=min_locs)


@settings(max_examples=200, deadline=None)
@given(xy_nm=patterns(), min_locs=st.integers(1, 9))
def test_cores_and_their_clusters_are_those_of_scikit_learn(xy_nm: np.ndarray, min_locs: int) -> None:
    if not len(xy_nm):
        return
    theirs = DBSCAN(eps=EPS_NM, min_samples=min_locs).fit(xy_nm.astype(np.float64))
    ours = labels_of(xy_nm, min_locs)
    core = np.zeros(len(xy_nm), bool)
    core[theirs.core_sample_indices_] = True
    np.testing.assert_array_equal(core, by_definition(xy_nm.astype(np.float64), min_locs)[1])
    np.testing.assert_array_equal(partition(ours[core]), partition(theirs.labels_[core]))
    np.testing.assert_array_equal(ours < 0, theirs.labels_ < 0)


@settings(max_examples=200, deadline=None)
@given(xy_nm=patterns(), min_locs=st.integers(1, 9))
def test_labels_follow_the_definition(xy_nm: np.ndarray, min_locs: int) -> None:
    """Everything: borders to the nearest core loc (the first of equally near ones), clusters by first core loc."""
    np.testing.assert_array_equal(labels_of(xy_nm, min_locs), by_definition(xy_nm.astype(np.float64), min_locs)[0])


@settings(max_examples=200, deadline=None)
@given(xyz_nm=patterns_in_space(), min_locs=st.integers(1, 9))
def test_space_follows_definition_and_scikit_learn(xyz_nm: np.ndarray, min_locs: int) -> None:
    labels, core = by_definition(xyz_nm.astype(np.float64), min_locs)
    np.testing.assert_array_equal(labels_of(xyz_nm, min_locs), labels)
    if len(xyz_nm):
        theirs = DBSCAN(eps=EPS_NM, min_samples=min_locs).fit(xyz_nm.astype(np.float64))
        np.testing.assert_array_equal(np.flatnonzero(core), theirs.core_sample_indices_)


@settings(max_examples=100, deadline=None)
@given(xyz_nm=patterns_in_space(), min_locs=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), in_space=st.booleans())
def test_rows_alone_decide_ties_and_numbers(xyz_nm: np.ndarray, min_locs: int, seed: int, in_space: bool) -> None:
    """Locs in any order, with their rows, have the labels that they have in the order of their rows; gaps between rows don't matter."""
    pattern = xyz_nm if in_space else xyz_nm[:, :2]
    shuffled = np.random.default_rng(seed).permutation(len(pattern))
    by_row = dbscan_labels(*pattern[shuffled].T, eps_nm=EPS_NM, min_locs=min_locs, row=7 * shuffled + 3)
    np.testing.assert_array_equal(by_row, labels_of(pattern, min_locs)[shuffled])


def test_layers_do_not_touch() -> None:
    """In space the last strip of a layer and the first of the next stand beside each other in memory, not in the field."""
    corner_nm = np.array([[0.0, 0, 0], [0, 1000, 0], [0, 0, 25.1], [0, 1000, 25.1], [0, 0, 50.3]])
    assert labels_of(corner_nm, 1).tolist() == [0, 1, 2, 3, 4]
    assert labels_of(corner_nm, 1, eps_nm=25.2).tolist() == [0, 1, 0, 1, 0]


@settings(max_examples=100, deadline=None)
@given(xy_nm=patterns(), min_locs=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_partition_of_cores_does_not_depend_on_order(xy_nm: np.ndarray, min_locs: int, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(len(xy_nm))
    core = by_definition(xy_nm.astype(np.float64), min_locs)[1]
    before, after = labels_of(xy_nm, min_locs)[shuffled], labels_of(xy_nm[shuffled], min_locs)
    np.testing.assert_array_equal(partition(before[core[shuffled]]), partition(after[core[shuffled]]))
    np.testing.assert_array_equal(before < 0, after < 0)


def test_reach_is_inclusive_and_the_loc_counts_itself() -> None:
    pair = np.array([[0.0, 0], [15, 20]])  # 25 nm apart, exactly
    assert labels_of(pair, 2).tolist() == [0, 0]
    assert labels_of(pair, 3).tolist() == [-1, -1]
    assert labels_of(pair, 2, eps_nm=np.nextafter(25.0, 0)).tolist() == [-1, -1]


def test_neighbours_that_rounding_puts_two_strips_apart_are_found() -> None:
    """(y - lowest) / 25 rounds to just below 2 and to 3, though the two are 25 nm apart; a loc lies between."""
    xy_nm = np.array([[0, -0.4293123800981483], [0, 49.57068761990185], [0, 74.57068761990185], [500, 60]])
    assert labels_of(xy_nm, 1).tolist() == [0, 1, 1, 2]


def two_clusters_around(border_x_nm: float) -> np.ndarray:
    """A loc between two clusters, in reach of one core loc of each (at x = 0 and 40 nm), so no core itself."""
    left, right = np.array([[0.0, 0], *[[-10, 0]] * 4]), np.array([[40.0, 0], *[[50, 0]] * 4])
    return np.concatenate([left, right, [[border_x_nm, 0]]])


def test_a_border_loc_joins_its_nearest_core_else_the_first() -> None:
    assert labels_of(two_clusters_around(19), 5).tolist() == [0] * 5 + [1] * 5 + [0]
    assert labels_of(two_clusters_around(21), 5).tolist() == [0] * 5 + [1] * 5 + [1]
    assert labels_of(two_clusters_around(20), 5).tolist() == [0] * 5 + [1] * 5 + [0]
    assert labels_of(two_clusters_around(20)[::-1], 5).tolist() == [0] + [0] * 5 + [1] * 5  # now the right one comes first


def test_nothing_and_strays() -> None:
    assert labels_of(np.empty((0, 2), np.float32), 5).dtype == np.int32
    assert labels_of(np.array([[0.0, 0], [1e9, -1e9]]), 1).tolist() == [0, 1]  # a grid over this would not fit in memory
    assert labels_of(np.array([[0.0, 0, 0], [1e9, -1e9, 1e9]]), 1).tolist() == [0, 1]
    assert labels_of(np.array([[0.0, 0], [5, 5]]), 2**40).tolist() == [-1, -1]


def test_a_bead_costs_no_square() -> None:
    """300,000 locs within the reach of each other: 4.5e10 pairs, out of the question if each were looked at."""
    rng = np.random.default_rng(0)
    bead, same, stray = rng.normal(0, 4, (250_000, 2)), np.zeros((50_000, 2)), np.array([[1000.0, 1000.0]])
    labels = labels_of(np.concatenate([stray, bead, same]), 100)
    assert labels[0] == -1
    assert np.count_nonzero(labels[1:] == 0) == 300_000
    in_space = labels_of(np.column_stack([np.concatenate([stray, bead, same]), np.zeros(300_001)]), 100)
    np.testing.assert_array_equal(in_space, labels)


def test_beads_out_of_reach_of_each_other_cost_no_square() -> None:
    """Side by side in the window of x, 2e10 pairs: their bounds say that none is in reach."""
    rng = np.random.default_rng(1)
    for shift_nm in ([0, 38], [24, 24], [24, -24]):
        beads = np.concatenate([rng.uniform(-2, 2, (150_000, 2)), rng.uniform(-2, 2, (150_000, 2)) + shift_nm])
        np.testing.assert_array_equal(labels_of(beads, 20), np.repeat([0, 1], 150_000))
