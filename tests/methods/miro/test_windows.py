"""Densities by window: against plain quantiles of those locs, on mosaics, at edges, where locs are few, however asked for."""

import numpy as np
import pytest

from smlmbatch.methods.miro import windows as module
from smlmbatch.methods.miro.blocks import MiroBlocks, group_blocks
from smlmbatch.methods.miro.context import N_DENSITY, acquisition, cluster_hint, density_context, with_densities
from smlmbatch.methods.miro.graph import build_graph
from smlmbatch.methods.miro.infer import find_clusters
from smlmbatch.methods.miro.recipe import MiroConfig
from smlmbatch.methods.miro.unseen import unseen
from smlmbatch.methods.miro.windows import LEAST_LOCS, MOST_RINGS, Windows, densities_of
from smlmbatch.store.arrays import UnitReader
from tests.methods.miro.fields import fresh, tiny
from tests.store.test_field_locs import write_unit


def uniform(n, x_um, y_um=(0.0, 6.0), seed=0):
    rng = np.random.default_rng(seed)
    return 1e3 * np.column_stack([rng.uniform(*x_um, n), rng.uniform(*y_um, n)])


def mixed():
    """6 um of 30 locs per um2, then 6 um of 300."""
    return np.concatenate([uniform(36 * 30, (0.0, 6.0)), uniform(36 * 300, (6.0, 12.0), seed=1)])


def found(xy_nm):
    return densities_of(xy_nm, np.arange(len(xy_nm)), build_graph(xy_nm))


def wanted(xy_nm, square, rings):
    """Quantiles of all locs of the window about a square (column, row)."""
    apart = np.abs(np.floor(xy_nm / 1e3) - square).max(axis=1)
    return density_context(build_graph(xy_nm).local[apart <= rings])


def test_a_small_field_is_one_window():
    xy = uniform(500, (0.0, 4.0), (3.0, 7.0))
    assert (found(xy) == density_context(build_graph(xy).local)).all()
    assert found(np.empty((0, 2))).shape == (N_DENSITY,)
    assert found(np.concatenate([xy, [[5000.0, 3000.0]]])).shape == (501, N_DENSITY)


@pytest.mark.parametrize("square", [(3, 3), (0, 0), (5, 2), (6, 2), (11, 5)])
def test_a_window_is_three_squares_wide(monkeypatch, square):
    """In the middle, in corners, and on both sides of where the density changes."""
    monkeypatch.setattr(module, "SPEAKING", 10_000)
    xy = mixed()
    mine = (np.floor(xy / 1e3) == square).all(axis=1)
    own = found(xy)[mine]
    assert (own == own[0]).all()
    assert (np.abs(np.floor(xy / 1e3) - square).max(axis=1) <= 1).sum() >= LEAST_LOCS
    np.testing.assert_allclose(own[0], wanted(xy, square, 1), atol=1e-5)


def test_some_locs_speak_for_all():
    """128 of 300 a square: what is apart from the quantiles of all is what 1152 draws scatter."""
    xy = mixed()
    mine = (np.floor(xy / 1e3) == (9, 3)).all(axis=1)
    np.testing.assert_allclose(found(xy)[mine][0], wanted(xy, (9, 3), 1), atol=0.15)


def test_each_part_of_a_mosaic_has_its_own():
    """Away from its edges a part has what it has alone, and not what the whole has."""
    xy = mixed()
    densities, whole = found(xy), density_context(build_graph(xy).local)
    for inner, own in ((xy[:, 0] < 4e3, xy[xy[:, 0] < 6e3]), (xy[:, 0] > 8e3, xy[xy[:, 0] >= 6e3])):
        alone = density_context(build_graph(own).local)
        middle = np.median(densities[inner], axis=0)
        assert np.abs(middle - alone).max() < 0.25
    assert np.abs(np.median(densities[xy[:, 0] < 4e3], axis=0) - whole).max() > 0.8


@pytest.mark.parametrize(("n_near", "rings"), [(99, 1), (80, 2), (0, MOST_RINGS)])
def test_few_locs_look_farther(monkeypatch, n_near, rings):
    """A loc by itself, others in its own square, 30 in the next ring but one, and more than enough beyond all rings."""
    monkeypatch.setattr(module, "SPEAKING", 10_000)
    near = uniform(n_near, (10.1, 10.9), (10.1, 10.9))
    ring2 = uniform(30, (12.1, 12.9), (10.1, 10.9), seed=1)
    far = uniform(400, (10.0 + MOST_RINGS + 1, 10.0 + MOST_RINGS + 2), (10.0, 11.0), seed=2)
    xy = np.concatenate([[[10_500.0, 10_500.0]], near, ring2, far])
    np.testing.assert_allclose(found(xy)[0], wanted(xy, (10, 10), rings), atol=1e-5)


def test_however_asked_for_they_are_the_same():
    """All at once, or a strip at a time in either direction, locs in any order, negative places too."""
    xy = mixed() - [4321.0, 2345.0]
    row, calls = np.arange(len(xy)), []

    def load(box):
        inside = np.random.default_rng(0).permutation(np.flatnonzero(((xy >= box[:2]) & (xy < box[2:])).all(axis=1)))
        calls.append(len(inside))
        return xy[inside], row[inside]

    at_once, strips = found(xy), np.floor(xy[:, 0] / 700.0)
    for order in (np.unique(strips), np.unique(strips)[::-1]):
        windows = Windows(xy[:, 0], xy[:, 1], load)
        for strip in order:
            assert (windows.around(xy[strips == strip]) == at_once[strips == strip]).all()
    n_before = len(calls)
    windows.around(xy)
    assert len(calls) == n_before  # all are known
    assert max(calls) < len(xy)


def test_blocks_of_a_mixed_field_are_the_field(tmp_path):
    unit = UnitReader(write_unit(tmp_path / "u.zip", mixed()))
    network = fresh(tiny())
    uncut = find_clusters(network, np.column_stack([unit.read("x_nm"), unit.read("y_nm")]), row=unit.read("row")).contracted
    cut = MiroBlocks(unit, network=network, channels=[0], most_locs=2500)
    whole = group_blocks(unit, [cut.compute(number) for number in reversed(range(cut.count))], channels=[0], rules=cut.rules)
    assert cut.count > 4
    assert np.abs(np.column_stack([whole.x_nm, whole.y_nm]) - uncut.xy_nm).max() < 2e-3


def test_windows_outside_of_the_recipe_are_told_of():
    """4 and 300 locs per um2: a twentieth of the locs lies in sparse windows, or a fifth."""
    hint, config = cluster_hint(np.array([30.0]), np.array([20])), MiroConfig()
    for dense_um, sentences in ((6.0, 0), (1.0, 1)):
        xy = np.concatenate([uniform(24 * 6 * 4, (0.0, 24.0)), uniform(int(dense_um * 6 * 300), (24.0, 24.0 + dense_um), seed=1)])
        said = unseen(with_densities(found(xy), acquisition(blinking=None), hint), config)
        assert len(said) == sentences
        assert all(sentence.startswith("sparser") and "%" in sentence for sentence in said)
