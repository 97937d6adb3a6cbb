"""The losses against their formulas, written out loc by loc."""

import numpy as np
import pytest
import torch

from smlmbatch.methods.method import Alone
from smlmbatch.methods.miro.data import batch_graph, training_field, truth_of
from smlmbatch.methods.miro.loss import generalist_loss, paper_loss
from smlmbatch.methods.miro.recipe import Miro
from smlmbatch.simulate.clusters import ClusterField
from tests.methods.miro.fields import batch_of, fresh, tiny


@pytest.fixture(params=[0, 3])
def case(request):
    config = tiny(steps=5, parents_from=request.param, nested_share=1.0)
    graph, truth = batch_graph(batch_of(config, [0, 1, 2], double=True), config)
    torch.manual_seed(2)
    return config, graph, truth, torch.randn(config.steps_seen, graph.num_nodes, 4, dtype=torch.double)


def written_out(config, graph, truth, outputs):
    """The default loss by loops over steps, fields, locs and pairs."""
    rows, cluster, field, pos = truth.rows.numpy(), truth.cluster.numpy(), graph.batch.numpy(), graph.pos.numpy()
    first = config.steps - len(outputs)
    step_weights = np.arange(first + 1, config.steps + 1) / np.arange(first + 1, config.steps + 1).sum()
    pairs = [(i, j) for i, j in graph.edge_index.T.tolist() if i < j and cluster[i] and cluster[j]]
    total = dict.fromkeys(("moved", "apart", "belongs", "radius"), 0.0)
    for s, weight in enumerate(step_weights):
        out = outputs[s].numpy()
        at_parent = 0 < config.parents_from <= first + s
        centre, rms = (rows[cluster, 4:6], rows[cluster, 6]) if at_parent else (rows[cluster, :2], rows[cluster, 2])
        rms = np.maximum(rms, 4.0)
        moved = pos - 50.0 * out[:, :2]
        for k in range(truth.n_fields):
            inside, share = (field == k) & (cluster > 0), weight / truth.n_fields
            if inside.any():
                total["moved"] += share * (np.abs(moved - centre).mean(axis=1) / rms)[inside].mean()
                total["radius"] += share * np.abs(out[:, 3] - np.log(rms / 50.0))[inside].mean()
            p = 1 / (1 + np.exp(-out[field == k, 2]))
            total["belongs"] -= share * np.log(np.where(cluster[field == k] > 0, p, 1 - p)).mean()
            errors = [
                abs(np.sqrt(((moved[i] - moved[j]) ** 2).sum() + 0.01) - np.hypot(*(centre[i] - centre[j]))) / ((rms[i] + rms[j]) / 2)
                for i, j in pairs
                if field[i] == k
            ]
            total["apart"] += share * np.mean(errors) if errors else 0.0
    return total["moved"] + total["apart"] + total["belongs"] + 0.2 * total["radius"], total


def test_default_loss_is_its_formula(case):
    config, graph, truth, outputs = case
    wanted, parts = written_out(config, graph, truth, outputs)
    loss, figures = generalist_loss(outputs, graph, truth, config)
    assert float(loss) == pytest.approx(wanted, rel=1e-9)
    assert {name: float(figures[name]) for name in parts} == pytest.approx(parts, rel=1e-9)


def test_perfect_outputs_cost_next_to_nothing():
    """Right places, right sizes, sure of it. 0.1 nm under the root of lengths remains."""
    config = tiny()
    graph, truth = batch_graph(batch_of(config, [0, 1], double=True), config)
    of = truth.rows[truth.cluster]
    moved = torch.where(truth.cluster[:, None] > 0, (graph.pos - of[:, :2]) / 50.0, 0.0)
    logit = torch.where(truth.cluster > 0, 20.0, -20.0)
    outputs = torch.cat([moved, logit[:, None], (of[:, 2:3] / 50.0).log()], dim=1).expand(2, -1, -1)
    assert float(generalist_loss(outputs, graph, truth, config)[0]) < 0.02


def test_the_loss_of_a_batch_is_the_mean_of_its_fields_losses():
    """Whatever their numbers of locs: so gradients of two ranks with a field each are those of one with both."""
    config = tiny()
    network = fresh(config).double()
    losses = [Miro().loss(network, batch_of(config, fields, double=True), config, Alone())[0].detach() for fields in ([0], [3], [0, 3])]
    assert float(losses[2]) == pytest.approx((float(losses[0]) + float(losses[1])) / 2, rel=1e-9)


def test_a_field_without_clusters_costs_its_logits_only():
    config = tiny(empty_share=1.0)
    loss, figures = Miro().loss(fresh(config), batch_of(config, [0, 1]), config, Alone())
    assert float(loss.detach()) == float(figures["belongs"]) > 0
    loss.backward()


def test_paper_loss_is_the_published_formula():
    config = tiny(network="paper", steps=3)
    graph, truth = batch_graph(batch_of(config, [0, 1], double=True), config)
    torch.manual_seed(0)
    outputs = torch.randn(3, graph.num_nodes, 2, dtype=torch.double)
    pos, unit, cluster = graph.pos.numpy(), truth.unit_nm.numpy(), truth.cluster.numpy()
    centre = np.where(cluster[:, None] > 0, truth.rows.numpy()[cluster, :2], pos)
    i, j = graph.edge_index.numpy()
    extent = unit / 0.2  # in nm; the unit square's side
    wanted = 0.0
    for out in outputs.numpy():
        squeezed, target = pos / extent - out * 0.2, centre / extent
        apart = np.hypot(*(squeezed[i] - squeezed[j]).T) - np.hypot(*(target[i] - target[j]).T)
        wanted += (np.abs(out - (pos - centre) / unit).mean() + 10 * np.abs(apart).mean()) / 3
    loss, _ = paper_loss(outputs, graph, truth, config, Alone())
    assert float(loss) == pytest.approx(wanted, rel=1e-6)


def test_truth_of_parents():
    """Two children of one parent, and a cluster of its own: the parent's rms by its locs, not by a formula."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(c, 10.0, (n, 2)) for c, n in (((0, 0), 40), ((200, 0), 20), ((900, 900), 30))]).astype(np.float32)
    cluster = np.repeat([1, 2, 3], [40, 20, 30]).astype(np.int32)
    of = [xy[cluster == k].astype(float) for k in (1, 2, 3)]
    centre = np.array([p.mean(axis=0) for p in of], np.float32)
    rms = np.array([np.sqrt(((p - p.mean(axis=0)) ** 2).sum(axis=1).mean()) for p in of], np.float32)
    field = ClusterField(xy, cluster, centre, rms, np.zeros(3, np.int32), np.array([1, 1, 0], np.int32), False, 0.0)
    rows = truth_of(field)
    both = np.concatenate(of[:2])
    wanted = np.sqrt(((both - both.mean(axis=0)) ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(rows[:2, 4:], np.tile([*both.mean(axis=0), wanted], (2, 1)), rtol=1e-4)
    np.testing.assert_allclose(rows[2, 4:], [*centre[2], rms[2]], rtol=1e-5)


def test_training_fields_are_a_function_of_seed_and_number():
    one, again, other = (training_field(tiny(), k) for k in (5, 5, 6))
    assert all((one[name] == again[name]).all() for name in one)
    assert len(one["xy_nm"]) != len(other["xy_nm"]) or (one["xy_nm"] != other["xy_nm"]).any()
    hinted = [training_field(tiny(hint_share=share), 5)["context"][-5] for share in (0.0, 1.0)]
    assert hinted == [0.0, 1.0]
