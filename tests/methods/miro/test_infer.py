"""From locs to labels with a network that is told, not trained: the passes, the hint, odd fields."""

import numpy as np
import pytest
import torch

from smlmbatch.methods.miro.context import NO_HINT, acquisition, cluster_hint, density_context, inexact_hint
from smlmbatch.methods.miro.graph import N_LOCAL, build_graph
from smlmbatch.methods.miro.infer import cluster_sizes, find_clusters, group_paper, hint_of
from tests.methods.miro.fields import fresh, tiny

CENTRES = np.array([[500.0, 500.0], [1500.0, 500.0], [500.0, 1500.0]])


class Knowing(torch.nn.Module):
    """Knows the clusters, and notes the hints it is given."""

    def __init__(self, xy):
        super().__init__()
        self.hints, self.size_nm, self.else_logit = [], 20.0, -5.0
        cell = np.floor(xy / 500.0)
        self.places = torch.from_numpy(xy[np.lexsort((np.arange(len(xy)), cell[:, 0], cell[:, 1]))])

    def forward(self, x, edge_index, edge_attr, start, last):
        self.hints.append(x[0, -5:].numpy().copy())
        away = self.places[:, None] - torch.from_numpy(CENTRES)
        nearest = away.square().sum(dim=2).argmin(dim=1)
        delta = away[torch.arange(len(away)), nearest]
        inside = delta.square().sum(dim=1).sqrt() < 60
        logit = torch.where(inside, 5.0, self.else_logit)
        radius = torch.full_like(logit, float(np.log(self.size_nm / 50)))
        return torch.cat([delta / 50, logit[:, None], radius[:, None]], dim=1).float()[None]


def field(seed=0):
    rng = np.random.default_rng(seed)
    xy = np.concatenate([rng.normal(c, 20.0, (40, 2)) for c in CENTRES] + [rng.uniform(0, 2000, (200, 2))])
    return xy, np.repeat([0, 1, 2, -1], [40, 40, 40, 200])


def test_the_second_pass_gets_what_the_first_found():
    xy, truth = field()
    network = Knowing(xy)
    found = find_clusters(network, xy)
    assert (found.labels[:120] == truth[:120]).mean() > 0.95
    assert len(network.hints) == 2
    assert (network.hints[0] == NO_HINT).all()
    assert (network.hints[1] == found.hint).all()
    flag, radius, _, count, _ = found.hint
    assert flag == 1.0
    assert 50 * np.exp(radius) == pytest.approx(20 * np.sqrt(2), rel=0.4)
    assert 30 * np.exp(count) == pytest.approx(42, rel=0.1)


@pytest.mark.parametrize(("blinking", "doubtful_take_part"), [(None, True), (True, True), (False, False)])
def test_where_molecules_are_seen_once_only_the_probable_take_part(blinking, doubtful_take_part):
    """Locs outside of clusters, that the network brings to them, with a probability of 0.45."""
    xy, truth = field()
    network = Knowing(xy)
    network.else_logit = -0.2
    labels = find_clusters(network, xy, taken=acquisition(blinking=blinking), hint=NO_HINT).labels
    assert (labels[truth >= 0] >= 0).mean() > 0.95
    near = np.hypot(*(xy[:, None] - CENTRES).transpose(2, 0, 1)).min(axis=1) < 60
    assert (labels[~near] >= 0).all() == (labels[~near] >= 0).any() == doubtful_take_part


def test_a_hint_from_outside_takes_the_first_pass_place():
    xy, hint = field()[0], cluster_hint(np.array([30.0]), np.array([40]))
    network = Knowing(xy)
    assert (find_clusters(network, xy, hint=hint).hint == hint).all()
    assert len(network.hints) == 1


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_locs(n):
    found = find_clusters(fresh(tiny()), field()[0][:n])
    assert found.labels.shape == (n,)


def test_hint_is_off_without_clusters_and_where_sizes_differ_widely():
    assert (hint_of(field()[0], np.full(320, -1)) == NO_HINT).all()
    assert cluster_hint(np.array([20.0, 25, 30]), np.array([10, 20, 30]))[0] == 1.0
    assert (cluster_hint(np.array([10.0, 20, 100]), np.array([10, 20, 30])) == NO_HINT).all()


def test_hint_by_its_definition():
    hint = cluster_hint(np.array([50.0, 50 * np.e, 50.0]), np.array([30, 30, 60]))
    np.testing.assert_allclose(hint, [1, 0, np.std([0, 1, 0]), 0, np.std([0, 0, np.log(2)])], rtol=1e-6)


def test_inexact_hints_are_off_as_those_of_first_passes_are():
    """Radius and count err together; counts are too high, and spreads too wide."""
    hint, rng = cluster_hint(np.array([30.0, 40]), np.array([20, 25])), np.random.default_rng(0)
    many = np.array([inexact_hint(hint, rng) for _ in range(4000)])
    assert (many[:, 0] == 1).all()
    np.testing.assert_allclose(many[:, [1, 3]].mean(axis=0) - hint[[1, 3]], [0.0, 0.18], atol=0.04)
    np.testing.assert_allclose(many[:, [1, 3]].std(axis=0), [0.4, 0.6], rtol=0.05)
    assert np.corrcoef(many[:, 1], many[:, 3])[0, 1] == pytest.approx(0.74, abs=0.04)
    assert (many[:, [2, 4]] >= 0).all()
    assert (many[:, [2, 4]].mean(axis=0) > hint[[2, 4]] + 0.05).all()
    assert inexact_hint(hint, rng).dtype == np.float32
    assert (inexact_hint(NO_HINT, rng) == NO_HINT).all()


def test_density_context_is_a_table_of_quantiles():
    local = np.random.default_rng(0).normal(size=(500, N_LOCAL)).astype(np.float32)
    found = density_context(local).reshape(4, 3)
    for row, column in enumerate((0, 2, 4, 5)):
        np.testing.assert_allclose(found[row], np.quantile(local[:, column], [0.1, 0.5, 0.9]), rtol=1e-5)
    assert (density_context(build_graph(np.empty((0, 2))).local) == 0).all()


def test_cluster_sizes():
    xy = np.array([[0.0, 0], [6, 0], [100, 100], [100, 108], [5, 5]])
    size, rms = cluster_sizes(xy, np.array([0, 0, 1, 1, -1]))
    assert size.tolist() == [2, 2]
    np.testing.assert_allclose(rms, [3.0, 4.0])


def test_labels_do_not_hang_on_the_order_of_the_locs():
    """The same rows in another order: the same clusters, the same places to the bit."""
    xy, _ = field(3)
    order = np.random.default_rng(1).permutation(len(xy))
    network = fresh(tiny())
    there, here = find_clusters(network, xy[order], row=order), find_clusters(network, xy)
    assert (there.labels == here.labels[order]).all()
    assert (there.contracted.xy_nm == here.contracted.xy_nm[order]).all()


def test_paper_groups_what_it_contracted():
    """A network that leaves every loc where it is: DBSCAN of the locs themselves."""
    config = tiny(network="paper", paper_eps_nm=25.0, paper_min_locs=5)
    network = fresh(config)
    for p in network.head.parameters():
        torch.nn.init.zeros_(p)
    xy, truth = field()
    labels = group_paper(network, xy, config)
    assert (labels[:120] == truth[:120]).mean() > 0.9
    assert (labels[120:] == -1).mean() > 0.8


def test_computes_on_one_thread_and_gives_the_others_back():
    """Sums in one order everywhere; and a forked process whose parent had several would wait for threads that it hasn't."""
    seen, network = [], fresh(tiny())
    network.block.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        find_clusters(network, np.random.default_rng(0).uniform(0.0, 1000.0, (200, 2)))
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
