"""The network against its equations in numpy, the kernel against torch's own operations, and cuts against the whole."""

import dataclasses

import numpy as np
import pytest
import torch

from smlmbatch.methods.method import Alone
from smlmbatch.methods.miro.context import N_CONTEXT
from smlmbatch.methods.miro.data import batch_graph
from smlmbatch.methods.miro.graph import build_graph, cut_graph, hops_around
from smlmbatch.methods.miro.infer import contract
from smlmbatch.methods.miro.kernel import step_along_edges
from smlmbatch.methods.miro.network import outputs_of
from smlmbatch.methods.miro.paper_graph import laplacian_eigenvectors
from smlmbatch.methods.miro.recipe import Miro
from tests.methods.miro.fields import batch_of, fresh, tiny


@pytest.fixture
def graph():
    return batch_graph(batch_of(tiny(), [0, 1], double=True), tiny())[0]


def numbers(layer):
    return [p.detach().double().numpy() for p in layer.parameters()]


def test_kernel_gives_what_torch_gives_with_gradients(graph):
    """Values, and gradients from both results at once; in float64, so that only the formula can differ."""
    torch.manual_seed(1)
    n_edges, width = graph.edge_index.shape[1], 5
    ends = torch.randn(graph.num_nodes, 2 * width, dtype=torch.double, requires_grad=True)
    own = torch.randn(n_edges, width, dtype=torch.double, requires_grad=True)
    source, target = graph.edge_index
    to_states, to_sums = torch.randn(n_edges, width).double(), torch.randn(graph.num_nodes, width).double()

    states = torch.relu(ends[source, :width] + ends[target, width:] + own)
    sums = torch.zeros(graph.num_nodes, width, dtype=torch.double).index_add(0, target, states)
    plain = torch.autograd.grad((states * to_states).sum() + (sums * to_sums).sum(), (ends, own))
    fused_states, fused_sums = step_along_edges(ends, own, source, graph.start)
    fused = torch.autograd.grad((fused_states * to_states).sum() + (fused_sums * to_sums).sum(), (ends, own))
    for a, b in ((states, fused_states), (sums, fused_sums), *zip(plain, fused, strict=True)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert float(fused[0].abs().sum()) > 1.0


def test_network_gives_the_same_with_and_without_the_kernel(graph):
    """The whole loss and each weight's gradient, through MessagePassing and through the kernel."""
    config, batch = tiny(), batch_of(tiny(), [0, 1], double=True)
    gradients = []
    for fused in (True, False):
        network = fresh(config).double()
        network.block.fused = fused
        loss, _ = Miro().loss(network, batch, config, Alone())
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in network.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("stretch", [1, 40, 8192])
def test_inference_in_place_gives_the_same(graph, stretch, monkeypatch):
    """In stretches of any length, one of a single loc's edges among them."""
    monkeypatch.setattr("smlmbatch.methods.miro.kernel._STRETCH", stretch)
    network = fresh(tiny()).double()
    wanted = outputs_of(network, graph, last=3).detach()
    with torch.inference_mode():
        torch.testing.assert_close(outputs_of(network, graph, last=3), wanted, rtol=0, atol=1e-12)


def test_generalist_is_its_equations(graph):
    config = tiny()
    network = fresh(config).double()
    block = network.block
    (rw, rb), (xw, xb), (gw, gb), (ew, eb) = map(numbers, (block.read, block.locs_in, block.gates, block.edges_in))
    (lw,), (fw,), (hw, hb) = map(numbers, (block.from_locs, block.from_edges, block.to_locs))
    (bw, bb), (ow, ob) = map(numbers, (network.before_head, network.head))
    source, target = graph.edge_index.numpy()
    read = np.maximum(0, graph.x.numpy() @ rw.T + rb)
    given, gate, edge = read @ xw.T + xb, 2 / (1 + np.exp(-(read @ gw.T + gb))), graph.edge_attr.numpy() @ ew.T + eb
    h, f = np.zeros((len(given), config.hidden)), np.zeros((len(edge), config.edge_hidden))
    for _ in range(config.steps):
        ends = given + h @ lw.T
        f = np.maximum(0, ends[source, : config.edge_hidden] + ends[target, config.edge_hidden :] + edge + f @ fw.T)
        sums = np.zeros((len(given), config.edge_hidden))
        np.add.at(sums, target, f)
        h = np.maximum(0, (sums / 6 @ hw.T + hb) * gate)
    wanted = np.maximum(0, h @ bw.T + bb) @ ow.T + ob
    np.testing.assert_allclose(outputs_of(network, graph)[0].detach().numpy(), wanted, atol=1e-12)


def test_paper_is_the_published_equations():
    """a = A[h|v'], b = B[f|e'], f = ReLU(F[a_j|a_i|b]), h = ReLU(H sum f), out = O h, subtracted."""
    config = tiny(network="paper", hidden=5, steps=3)
    network = fresh(config).double()
    batch = batch_of(config, [0], double=True)
    graph, _ = batch_graph(batch, config)
    source, target = graph.edge_index.numpy()
    unit = batch["unit_nm"][0].numpy()
    delta = (graph.pos.numpy()[source] - graph.pos.numpy()[target]) / unit
    np.testing.assert_allclose(graph.edge_attr.numpy(), np.column_stack([delta, np.hypot(*delta.T)]), rtol=1e-9)

    def linear(layer, values):
        weight, bias = numbers(layer)
        return values @ weight.T + bias

    v, e = linear(network.locs_in, graph.x.numpy()), linear(network.edges_in, graph.edge_attr.numpy())
    h, f = np.zeros_like(v), np.zeros_like(e)
    outputs = []
    for _ in range(config.steps):
        a, b = linear(network.join_locs, np.hstack([h, v])), linear(network.join_edges, np.hstack([f, e]))
        f = np.maximum(0, linear(network.to_edges, np.hstack([a[source], a[target], b])))
        sums = np.zeros_like(h)
        np.add.at(sums, target, f)
        h = np.maximum(0, linear(network.to_locs, sums))
        outputs.append(linear(network.head, h))
    np.testing.assert_allclose(outputs_of(network, graph, last=config.steps).detach().numpy(), outputs, atol=1e-12)


def test_paper_has_as_many_parameters_as_published():
    from smlmbatch.methods.miro.recipe import PAPER

    assert sum(p.numel() for p in fresh(PAPER).parameters()) == 528_386


def test_eigenvectors_are_those_of_the_normalised_laplacian():
    """By numpy on the dense matrix; then by ARPACK on a larger graph, which must solve the equation."""
    for n in (30, 200):
        graph = build_graph(np.random.default_rng(n).uniform(0, 100.0 * np.sqrt(n) / 3, (n, 2)))
        adjacency = np.zeros((n, n))
        adjacency[graph.target, graph.source] = 1
        scale = np.diag(1 / np.sqrt(adjacency.sum(axis=1)))
        values, vectors = np.linalg.eigh(np.eye(n) - scale @ adjacency @ scale)
        assert values[1] > 1e-3, "one component, or signs and orders are free"
        np.testing.assert_allclose(laplacian_eigenvectors(graph.source, graph.start), np.abs(vectors[:, 1:6]), atol=1e-5)
    assert laplacian_eigenvectors(np.empty(0, dtype=np.int64), np.zeros(4, dtype=np.int64)).shape == (3, 5)


@pytest.mark.parametrize("network", ["generalist", "paper"])
def test_fields_of_a_batch_do_not_touch(network):
    """Two fields in one batch come out as each alone."""
    config = tiny(network=network)
    model = fresh(config).double()
    both = outputs_of(model, batch_graph(batch_of(config, [0, 3], double=True), config)[0])[0]
    alone = [outputs_of(model, batch_graph(batch_of(config, [k], double=True), config)[0])[0] for k in (0, 3)]
    torch.testing.assert_close(both, torch.cat(alone), rtol=0, atol=1e-10)


def test_a_block_with_a_halo_of_k_hops_is_contracted_as_in_the_whole_field():
    """Bitwise, with one hop fewer no more: the network sees exactly its steps far."""
    rng = np.random.default_rng(0)
    xy_nm = rng.uniform(0, 3000, (6000, 2))
    config = tiny(steps=6, hidden=64, edge_hidden=32)
    network, context = fresh(config), rng.normal(size=N_CONTEXT).astype(np.float32)
    graph = build_graph(xy_nm)
    whole = contract(network, xy_nm, graph, context)
    core = ((xy_nm > 1000) & (xy_nm < 2000)).all(axis=1)

    def furthest(hops):
        kept = hops_around(graph, core, hops=hops)
        part = contract(network, xy_nm[kept], cut_graph(graph, kept), context)
        return np.abs(part.xy_nm[core[kept]] - whole.xy_nm[core]).max()

    assert furthest(config.steps) == 0.0
    assert furthest(config.steps - 2) > 0.0


@pytest.mark.parametrize("n", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("spread_nm", [0.0, 1000.0])
def test_any_field_can_be_contracted(n, spread_nm):
    xy_nm = np.random.default_rng(n).uniform(0, 1, (n, 2)) * spread_nm
    found = contract(fresh(tiny()), xy_nm, build_graph(xy_nm), np.zeros(N_CONTEXT, np.float32))
    assert found.xy_nm.shape == (n, 2)
    assert np.isfinite(found.xy_nm).all()
    assert ((found.belonging >= 0) & (found.belonging <= 1)).all()


def test_classes_are_further_outputs():
    config = dataclasses.replace(tiny(), classes=7)
    loss, figures = Miro().loss(fresh(config), batch_of(config, [0, 1]), config, Alone())
    assert np.isfinite(float(loss.detach()))
    assert float(figures["class"]) > 0
