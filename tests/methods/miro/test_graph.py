"""The graph: against brute force, on positions that break triangulations, and the same in every cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.methods.miro.graph import (
    HALO_NM,
    LARGEST_CIRCLE_NM,
    LONGEST_EDGE_NM,
    N_LOCAL,
    NEIGHBOURS,
    UNIT_NM,
    build_graph,
    cut_graph,
    hops_around,
    row_jitter,
)


def random_field(seed, n=400, side_nm=2000.0, *, rounded=False):
    rng = np.random.default_rng(seed)
    xy_nm = np.concatenate([rng.uniform(0, side_nm, (n, 2)), rng.normal(side_nm / 3, 20.0, (n // 4, 2))])
    return np.round(xy_nm) if rounded else xy_nm


def edges(graph):
    return set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))


def empty_circle_edges(xy_nm):
    """Pairs of all triples whose circumcircle is small and holds no other loc: the definition, by all n³ triples."""
    found = set()
    n = len(xy_nm)
    for a in range(n):
        for b in range(a + 1, n):
            for c in range(b + 1, n):
                (ax, ay), (bx, by), (cx, cy) = xy_nm[a], xy_nm[b], xy_nm[c]
                d = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
                ux = ((ax**2 + ay**2) * (by - cy) + (bx**2 + by**2) * (cy - ay) + (cx**2 + cy**2) * (ay - by)) / d
                uy = ((ax**2 + ay**2) * (cx - bx) + (bx**2 + by**2) * (ax - cx) + (cx**2 + cy**2) * (bx - ax)) / d
                radius = np.hypot(ax - ux, ay - uy)
                away = np.hypot(*(xy_nm - (ux, uy)).T)
                away[[a, b, c]] = np.inf
                if radius <= LARGEST_CIRCLE_NM and (away > radius).all():
                    for i, j in ((a, b), (b, c), (c, a)):
                        if np.hypot(*(xy_nm[i] - xy_nm[j])) <= LONGEST_EDGE_NM:
                            found |= {(i, j), (j, i)}
    return found


@pytest.mark.parametrize("side_nm", [300.0, 1500.0])
def test_edges_are_those_of_empty_circles(side_nm):
    """1,500 nm: half of the circles are too large."""
    xy_nm = np.random.default_rng(3).uniform(0, side_nm, (22, 2))
    wanted = empty_circle_edges(xy_nm)
    assert len(wanted) > 20
    assert edges(build_graph(xy_nm)) == wanted


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.sampled_from([1.0, 20.0, 400.0]))
def test_any_positions(places, spacing_nm):
    """Duplicates, grids, lines, next to nothing: no loc is lost, edges go both ways, sorted, and none leads to itself."""
    xy_nm = np.array(places, dtype=np.float64).reshape(-1, 2) * spacing_nm
    graph = build_graph(xy_nm)
    assert len(graph.start) == len(xy_nm) + 1
    assert graph.local.shape == (len(xy_nm), N_LOCAL)
    assert np.isfinite(graph.local).all()
    pairs = list(zip(graph.target.tolist(), graph.source.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert all(i != j and (j, i) in set(pairs) for i, j in pairs)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_for_a_triangle(n):
    graph = build_graph(np.zeros((n, 2)))
    assert len(graph.source) == 0
    assert len(graph.start) == n + 1


def test_collinear_locs_have_next_to_no_edges_and_duplicates_have_some():
    """The jitter opens triangles of pm on a line; their circles are larger than any field."""
    assert len(build_graph(np.column_stack([np.arange(50) * 30.0, np.zeros(50)])).source) == 0
    graph = build_graph(np.repeat(random_field(0, 40), 2, axis=0))
    assert (np.diff(graph.start) > 0).mean() > 0.9


def test_features_by_their_definition():
    xy_nm = random_field(1, 100)
    graph = build_graph(xy_nm)
    apart = np.hypot(*(xy_nm[:, None] - xy_nm[None]).transpose(2, 0, 1))
    nearest = np.sort(apart, axis=1)
    for column, k in enumerate(NEIGHBOURS):
        wanted = np.log(np.clip(nearest[:, k], 1.0, HALO_NM) / UNIT_NM)
        np.testing.assert_allclose(graph.local[:, column], wanted, atol=1e-5)
    for loc in range(0, 125, 7):
        ends = graph.source[graph.start[loc] : graph.start[loc + 1]]
        assert graph.local[loc, -2] == pytest.approx(len(ends) / 6)
        assert graph.local[loc, -1] == pytest.approx(np.log(apart[loc, ends].mean() / UNIT_NM), abs=1e-5)


def test_jitter_hangs_on_the_row_alone():
    rows = np.array([7, 10**9, 3])
    assert (row_jitter(rows)[1] == row_jitter(np.array([10**9]))[0]).all()
    many = row_jitter(np.arange(20_000)) / 0.01
    assert np.abs(many).max() <= 1.0
    # uniform in -1 ... 1: mean 0, variance 1/3, axes and neighbouring rows unrelated
    assert np.abs(many.mean(axis=0)).max() < 0.02
    np.testing.assert_allclose(np.cov(many.T), np.eye(2) / 3, atol=0.01)
    assert abs(np.corrcoef(many[1:, 0], many[:-1, 0])[0, 1]) < 0.03


@pytest.mark.parametrize("rounded", [False, True])
def test_a_block_with_its_halo_has_the_edges_and_features_of_the_whole(rounded):
    """Rounded to 1 nm, thousands of quadruples are cocircular; the jitter of a row decides them alike in the whole and in the block."""
    xy_nm = random_field(2, 9000, 3000.0, rounded=rounded)
    rows = np.random.default_rng(0).permutation(10**6)[: len(xy_nm)]
    whole = build_graph(xy_nm, rows)
    core = ((xy_nm > 1000) & (xy_nm < 2000)).all(axis=1)
    near = ((xy_nm > 1000 - HALO_NM) & (xy_nm < 2000 + HALO_NM)).all(axis=1)
    block = build_graph(xy_nm[near], rows[near])
    back = np.flatnonzero(near)
    inside = core[near]
    here = {(int(back[i]), int(back[j])) for i, j in edges(block) if inside[j]}
    assert here == {(i, j) for i, j in edges(whole) if core[j]}
    assert (block.local[inside] == whole.local[core]).all()


def test_cut_graph_holds_the_edges_between_what_is_kept():
    xy_nm = random_field(5)
    graph = build_graph(xy_nm)
    kept = xy_nm[:, 0] < 900
    cut = cut_graph(graph, kept)
    back = np.flatnonzero(kept)
    assert {(int(back[i]), int(back[j])) for i, j in edges(cut)} == {(i, j) for i, j in edges(graph) if kept[i] and kept[j]}
    assert (cut.local == graph.local[kept]).all()


def test_hops_are_those_of_a_breadth_first_search():
    xy_nm = random_field(6)
    graph = build_graph(xy_nm)
    inside = np.zeros(len(xy_nm), dtype=bool)
    inside[[0, 17]] = True
    adjacency = np.zeros((len(xy_nm), len(xy_nm)))
    adjacency[graph.target, graph.source] = 1
    reached = inside.astype(float)
    for hops in range(4):
        assert (hops_around(graph, inside, hops=hops) == (reached > 0)).all()
        reached = reached + adjacency @ reached
