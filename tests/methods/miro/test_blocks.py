"""Fields in blocks: the same as uncut, however cut and in whatever order, for any kind of locs; contexts, channels, parents, z."""

import numpy as np
import pytest
import torch

from smlmbatch.methods.miro import blocks as module
from smlmbatch.methods.miro.blocks import MiroBlocks, group_blocks
from smlmbatch.methods.miro.context import acquisition, cluster_hint
from smlmbatch.methods.miro.group import Grouping
from smlmbatch.methods.miro.infer import find_clusters
from smlmbatch.score.agreement import adjusted_rand
from smlmbatch.score.contingency import contingency
from smlmbatch.store.arrays import UnitReader
from tests.methods.miro.fields import fresh, tiny
from tests.store.test_field_locs import write_unit

SIDE_NM = 8000.0
STRONGER = 3.0  # two hops too few then move a loc by more than 0.01 nm


def network_that_groups(**changes):
    """Weights of chance, strong enough to hear of what is some hops away; all locs belong, in clusters as wide as they are here."""
    network = fresh(tiny(**changes))
    with torch.no_grad():
        network.block.from_edges.weight *= STRONGER
        network.block.from_locs.weight *= STRONGER
        network.head.bias[2], network.head.bias[3] = 4.0, 0.0
    return network


def clustered(seed=0, n=4000):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, SIDE_NM, (60, 2))
    return np.clip(np.concatenate([rng.uniform(0, SIDE_NM, (n, 2)), rng.normal(np.repeat(centres, 30, axis=0), 20.0)]), 0, SIDE_NM)


def voided():
    """Two empty bands, one wider than any edge, and a lone loc in it."""
    xy = clustered(1)
    return np.concatenate([xy[(np.abs(xy[:, 0] - 3000) > 700) & (np.abs(xy[:, 1] - 5000) > 120)], [[3000.0, 4000.0]]])


KINDS = {
    "clusters": clustered,
    "rounded": lambda: np.round(clustered(2)),
    "voided": voided,
    "isolated": lambda: np.random.default_rng(3).uniform(0, 40 * SIDE_NM, (600, 2)),
    "duplicated": lambda: np.repeat(clustered(4, 1500), 2, axis=0),
    "collinear": lambda: np.column_stack([np.sort(np.random.default_rng(5).uniform(0, SIDE_NM, 900)), np.full(900, 700.0)]),
    "one place": lambda: np.full((900, 2), 123.0),
    "two locs": lambda: np.array([[5.0, 5.0], [9.0, 9.0]]),
    "one loc": lambda: np.array([[5.0, 5.0]]),
    "none": lambda: np.empty((0, 2)),
}


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    return {kind: UnitReader(write_unit(folder / f"{number}.zip", make())) for number, (kind, make) in enumerate(KINDS.items())}


def in_memory(unit, network, **more):
    xy = np.column_stack([unit.read("x_nm"), unit.read("y_nm")])
    return find_clusters(network, xy, row=unit.read("row"), **more)


def computed(unit, network, *, channels=(0,), **more):
    cut = MiroBlocks(unit, network=network, channels=channels, **more)
    found = [cut.compute(number) for number in range(cut.count)]
    return cut, found, group_blocks(unit, found, channels=channels, rules=cut.rules)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_one_block_is_the_field_in_memory(units, kind):
    network = network_that_groups()
    cut, _, clusters = computed(units[kind], network)
    wanted = in_memory(units[kind], network)
    assert cut.count == (kind != "none")
    assert (clusters.label == wanted.labels).all()
    assert (np.column_stack([clusters.x_nm, clusters.y_nm]) == wanted.contracted.xy_nm).all()
    assert len(clusters.parent) == len(clusters.channel) == wanted.labels.max(initial=-1) + 1
    assert (clusters.parent == -1).all()
    if kind in ("clusters", "rounded", "voided", "duplicated"):
        assert len(clusters.parent) > 30


@pytest.mark.parametrize("pieces", [2, 4, 8])
@pytest.mark.parametrize("kind", ["clusters", "rounded", "voided", "isolated", "duplicated", "collinear"])
def test_a_field_cut_is_the_field_uncut(units, kind, pieces):
    network, unit = network_that_groups(steps=6), units[kind]
    cut, found, clusters = computed(unit, network, most_locs=-(-unit.length("x_nm") // pieces) + 2)
    wanted = in_memory(unit, network)
    assert cut.count == pieces
    assert (np.sort(np.concatenate([block["index"] for block in found])) == np.arange(unit.length("x_nm"))).all()
    places = np.column_stack([clusters.x_nm, clusters.y_nm])
    rounding = np.spacing(np.float32(places.max()))  # of float32, above 1e-3 nm in the widest field only
    assert np.abs(places - wanted.contracted.xy_nm).max() <= max(1e-3, 2 * rounding)
    np.testing.assert_allclose(clusters.belonging, wanted.contracted.belonging, atol=1e-5)
    if (wanted.labels >= 0).any():
        assert adjusted_rand(contingency(wanted.labels, clusters.label)) >= 0.9999


def test_too_near_a_guess_is_loaded_again(units, monkeypatch):
    """Without any room for hops, sides must be found too short; with more than enough, none."""
    network = network_that_groups(steps=6)
    monkeypatch.setattr("smlmbatch.methods.miro.seen._HOP_SPACINGS", 0.0)
    near = computed(units["voided"], network, most_locs=700)[2]
    monkeypatch.setattr("smlmbatch.methods.miro.seen._HOP_SPACINGS", 1e9)
    far = computed(units["voided"], network, most_locs=700)[2]
    np.testing.assert_allclose(near.x_nm, far.x_nm, atol=1e-3)
    assert (near.label == far.label).all()


def test_blocks_have_the_same_bits_in_any_order_and_process(units):
    network, unit = network_that_groups(), units["clusters"]
    forwards = MiroBlocks(unit, network=network, channels=[0], most_locs=2000)
    in_order = [forwards.compute(number) for number in range(forwards.count)]
    for number in reversed(range(forwards.count)):
        alone = MiroBlocks(unit, network=network, channels=[0], most_locs=2000).compute(number)
        assert all((alone[name] == values).all() for name, values in in_order[number].items())
    there = group_blocks(unit, in_order, channels=[0], rules=forwards.rules)
    here = group_blocks(unit, in_order[::-1], channels=[0], rules=forwards.rules)
    assert (there.label == here.label).all()


def test_channels_are_fields_of_their_own(tmp_path):
    xy, network = [clustered(6), clustered(7, 1000)], network_that_groups()
    channel = np.repeat([0, 3], [len(one) for one in xy])
    order = np.random.default_rng(0).permutation(len(channel))
    unit = UnitReader(write_unit(tmp_path / "u.zip", np.concatenate(xy)[order], channel=channel[order]))
    cut, _, clusters = computed(unit, network, channels=(0, 3), most_locs=3000)
    n_before = 0
    for one in (0, 3):
        mine = unit.read("channel") == one
        places = np.column_stack([unit.read("x_nm"), unit.read("y_nm")])[mine]
        wanted = find_clusters(network, places, row=unit.read("row")[mine]).labels
        assert (clusters.label[mine] == np.where(wanted >= 0, wanted + n_before, -1)).all()
        n_own = wanted.max() + 1
        assert (clusters.channel[n_before : n_before + n_own] == one).all()
        n_before += n_own
    assert len(clusters.channel) == n_before
    assert np.abs(cut.told(0) - cut.told(1)).max() > 0.01


def test_a_large_channel_takes_its_hint_from_a_sample_whatever_its_blocks(units, monkeypatch):
    network, unit = network_that_groups(), units["clusters"]
    whole = MiroBlocks(unit, network=network, channels=[0]).told(0)
    monkeypatch.setattr(module, "WHOLE_LOCS", 1000)
    monkeypatch.setattr(module, "_SAMPLE_LOCS", 400)
    samples = [MiroBlocks(unit, network=network, channels=[0], most_locs=most).told(0) for most in (700, 3000)]
    assert (samples[0] == samples[1]).all()
    assert (samples[0] != whole).any()
    np.testing.assert_allclose(samples[0][[4, 5, 7]], whole[[4, 5, 7]], atol=0.35)


class Counts(torch.nn.Module):
    """Counts how often it is asked."""

    def __init__(self, network):
        super().__init__()
        self.network, self.config, self.asked, self.contexts = network, network.config, 0, []

    def forward(self, x, *rest):
        self.asked += 1
        self.contexts.append(x[0, 8:].numpy().copy())
        return self.network(x, *rest)


@pytest.mark.parametrize(("changes", "hint", "asked"), [({}, None, 2), ({"hint_share": 0.0}, None, 1), ({}, (40.0, 50), 1)])
def test_a_first_pass_only_where_it_serves(units, changes, hint, asked):
    """None for a model that never saw a hint, nor where a user gives one."""
    network = Counts(network_that_groups(**changes))
    given = None if hint is None else cluster_hint(np.array([hint[0]]), np.array([hint[1]]))
    taken = acquisition(blinking=True, error_nm=12.0)
    MiroBlocks(units["clusters"], network=network, channels=[0], taken=[taken], hint=given).compute(0)
    assert network.asked == asked
    assert (network.contexts[-1][12:16] == taken).all()
    assert network.contexts[-1][16] == (0.0 if changes else 1.0)
    if given is not None:
        assert (network.contexts[-1][16:] == given).all()


def test_a_network_with_parents_gives_both_scales(units):
    network = network_that_groups(steps=5, parents_from=3)
    found = MiroBlocks(units["clusters"], network=network, channels=[0]).compute(0)
    assert {name.removeprefix("child_") for name in found if name.startswith("child_")} == {"x_nm", "y_nm", "belonging", "radius_nm"}
    assert np.abs(found["x_nm"] - found["child_x_nm"]).max() > 0.01


def test_classes_are_told(units):
    found = MiroBlocks(units["clusters"], network=network_that_groups(classes=7), channels=[0]).compute(0)
    assert found["shape"].dtype == np.uint8
    assert found["shape"].max() < 7


def said(xy_nm, of, size_nm):
    """What a perfect network would say: locs on their centres."""
    return {
        "x_nm": xy_nm[of, 0].astype(np.float32),
        "y_nm": xy_nm[of, 1].astype(np.float32),
        "belonging": np.ones(len(of), np.float32),
        "radius_nm": np.full(len(of), size_nm, np.float32),
    }


def test_parents_follow_their_channels_clusters(tmp_path):
    """Two groups of three clusters and a cluster by itself in each of two channels."""
    centres = np.array([[500.0, 500], [700, 500], [600, 650], [3500, 500], [3700, 500], [3600, 650], [2000, 2000]])
    middles = np.array([[600.0, 550]] * 3 + [[3600.0, 550]] * 3 + [[2000.0, 2000]])
    of = np.tile(np.repeat(np.arange(7), 10), 2)
    unit = UnitReader(write_unit(tmp_path / "u.zip", centres[of], channel=np.repeat([0, 1], 70)))
    row = unit.read("row")  # ingest sorted them
    child = {f"child_{name}": values for name, values in said(centres, of[row], 10.0).items()}
    blocks = [{"index": np.arange(140), **said(middles, of[row], 40.0), **child}]
    clusters = group_blocks(unit, blocks, channels=(0, 1), rules=[Grouping()] * 2)
    assert (clusters.label == (of + np.repeat([0, 9], 70))[row]).all()
    assert clusters.channel.tolist() == [0] * 9 + [1] * 9
    assert clusters.parent.tolist() == [7, 7, 7, 8, 8, 8, -1, -1, -1, 16, 16, 16, 17, 17, 17, -1, -1, -1]


def test_clusters_above_each_other_come_apart(tmp_path):
    """Sigma 10 nm in the plane, 30 nm in z: pairs 10 sigma of z apart, and single ones, which stay whole."""
    rng, n = np.random.default_rng(0), 40
    centres = rng.uniform(200, 7800, (30, 2))
    of = np.repeat(np.arange(60), n)  # 2k and 2k + 1 lie above each other; both are one where k is odd
    z = rng.normal(0, 30.0, len(of)) + np.where((of % 2 == 1) & (of // 2 % 2 == 0), 300.0, 0.0)
    xy = np.clip(rng.normal(centres[of // 2], 10.0), 0, SIDE_NM)
    unit = UnitReader(write_unit(tmp_path / "u.zip", xy))
    row = unit.read("row")

    class WithDepth:
        def has(self, name):
            return name == "z_nm" or unit.has(name)

        def read(self, name):
            return z[row].astype(np.float32) if name == "z_nm" else unit.read(name)

        length = staticmethod(unit.length)

    blocks = [{"index": np.arange(len(row)), **said(centres, of[row] // 2, 14.0)}]
    truth = np.where(of // 2 % 2 == 0, of, of // 2 * 2)
    flat, deep = (group_blocks(own, blocks, channels=[0], rules=[Grouping()]) for own in (unit, WithDepth()))
    assert flat.label.max() + 1 == 30
    assert deep.label.max() + 1 == 45
    assert (deep.label >= 0).mean() > 0.98
    inside = deep.label >= 0
    assert adjusted_rand(contingency(truth[row][inside], deep.label[inside])) > 0.9999
    first = [row[deep.label == number].min() for number in range(45)]
    assert first == sorted(first)
