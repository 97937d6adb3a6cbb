"""Both scales of a field: a network that knows them, the switch between steps, what it learns from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.data import draw_field, truth_of
from smlmbatch.methods.miro.recipe import MULTISCALE, Miro, MiroConfig
from smlmbatch.methods.miro.started import StartedMiro
from smlmbatch.methods.miro.two_scales import find_two_scales
from smlmbatch.methods.model import Model
from smlmbatch.simulate.cluster_scenarios import draw_scenario
from tests.methods.miro.fields import batch_of, fresh, tiny


class Knowing(torch.nn.Module):
    """Moves each loc to its child's middle in the step before parents begin, to its parent's in the last."""

    def __init__(self, field, config):
        super().__init__()
        self.config, self.n = config, config.steps - config.parents_from + 1
        rows = torch.from_numpy(np.concatenate([np.ones((1, 7), np.float32), truth_of(field)]))[torch.from_numpy(field.cluster).long()]
        self.inside, self.places = torch.from_numpy(field.cluster > 0), torch.from_numpy(field.xy_nm)
        self.child, self.parent = (rows[:, :2], rows[:, 2]), (rows[:, 4:6], rows[:, 6])

    def forward(self, x, edge_index, edge_attr, start, last):
        assert last == self.n
        steps = [self.child] + [self.parent] * (last - 1)
        return torch.stack([self._step(*step) for step in steps])

    def _step(self, centre, rms):
        moved = torch.where(self.inside[:, None], (self.places - centre) / 50, 0.0)
        return torch.cat([moved, torch.where(self.inside, 5.0, -5.0)[:, None], (rms.clamp(min=4.0) / 50).log()[:, None]], dim=1)


def test_children_are_numbered_under_their_parents():
    """Pores whose truth the network knows: every corner of 4 locs or more, and under each pore its own corners."""
    field = draw_scenario("pores", 5, 0)
    found = find_two_scales(Knowing(field, tiny(parents_from=3, steps=5)), field.xy_nm)
    large = np.flatnonzero(field.size >= 4)
    assert found.labels.max() + 1 == len(large) == len(found.parent)
    true_child = np.array([np.unique(field.cluster[found.labels == k]).item() - 1 for k in range(len(large))])
    assert sorted(true_child) == large.tolist()
    # parents with two or more corners of enough locs
    true_parent = field.parent[true_child]
    several = np.bincount(true_parent)[true_parent] >= 2
    assert (found.parent[~several] == -1).all()
    pairs = np.unique(np.column_stack([true_parent[several], found.parent[several]]), axis=0)
    assert len(pairs) == len(np.unique(true_parent[several])) == found.parent.max() + 1, "one to one"
    of = found.of_parents()
    assert ((of >= 0) == ((found.labels >= 0) & (found.parent[found.labels] >= 0))).all()


def test_locs_of_small_corners_still_end_in_their_pore():
    field = draw_scenario("pores", 5, 0)
    found = find_two_scales(Knowing(field, tiny(parents_from=3, steps=5)), field.xy_nm)
    small = (field.cluster > 0) & (np.append(field.size, 0)[field.cluster - 1] < 4)
    assert small.any()
    assert (found.labels[small] == -1).all()
    assert (found.groups[small] >= 0).mean() > 0.95


@pytest.mark.parametrize("n", [0, 2, 5])
def test_few_locs(n):
    found = find_two_scales(fresh(tiny(parents_from=2)), np.random.default_rng(0).uniform(0, 200, (n, 2)))
    assert found.labels.shape == found.groups.shape == found.of_parents().shape == (n,)


def test_a_model_without_parents_is_refused():
    with pytest.raises(ConfigError, match="parents_from"):
        find_two_scales(fresh(tiny()), np.zeros((5, 2)))


def test_the_switch_acts_from_its_step_on():
    """Outputs up to step parents_from hang on nothing but the shared weights; those after it on the switch, which is 0 at first."""
    config = tiny(parents_from=2, steps=4)
    batch, network = batch_of(config, [0]), fresh(config)
    before = _outputs(network, batch, config)
    torch.nn.init.constant_(network.block.onwards, 0.5)
    after = _outputs(network, batch, config)
    assert torch.equal(before[:2], after[:2])
    assert not torch.allclose(before[2:], after[2:])


def test_with_and_without_gradients_the_switch_does_the_same():
    config = tiny(parents_from=2, steps=4)
    batch, network = batch_of(config, [0]), fresh(config)
    torch.nn.init.constant_(network.block.onwards, 0.5)
    with torch.no_grad():
        alone = _outputs(network, batch, config)
    torch.testing.assert_close(alone, _outputs(network, batch, config).detach(), rtol=1e-4, atol=1e-5)


def test_networks_without_parents_have_no_switch():
    assert not [name for name in fresh(tiny()).state_dict() if "onwards" in name]


def _outputs(network, batch, config):
    from smlmbatch.methods.miro.data import batch_graph
    from smlmbatch.methods.miro.network import outputs_of

    return outputs_of(network, batch_graph(batch, config)[0], last=config.steps)


def test_the_recipe_learns_from_nested_fields_and_from_plain_ones():
    config = MiroConfig(parents_from=3, nested_share=0.75, locs=(300, 600), empty_share=0.0)
    nested = [draw_field(config, k).parent.any() for k in range(60)]
    assert np.mean(nested) == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 60))
    assert Miro.recipes["multiscale"] is MULTISCALE
    assert 0 < MULTISCALE.parents_from < MULTISCALE.steps
    assert MULTISCALE.hint_share == 0, "inference gives such a model no hint and one pass"


def started(config, **changes):
    """A model to begin with, and the method that does."""
    network = fresh(config, seed=3)
    return StartedMiro(Model(Miro(), replace(config, **changes), network, "ab" * 32)), network.state_dict()


def test_begun_with_another_model_a_network_has_its_weights():
    """All but the switch, which that model didn't have, and the classes, which the recipe doesn't have."""
    method, given = started(tiny(classes=7, steps=3))
    config = method.recipe(tiny(parents_from=2, steps=4))
    assert config.start == "ab" * 32
    found = method.build(config).state_dict()
    for name, value in found.items():
        if name == "block.onwards":
            assert (value == 0).all()
        else:
            assert torch.equal(value, given[name][: len(value)])
    assert len(found["head.weight"]) == 4


@pytest.mark.parametrize("changes", [{"hidden": 9}, {"network": "paper"}, {"templates": "cd" * 32}])
def test_models_that_do_not_fit_are_no_start(changes):
    method, _ = started(tiny(), **changes)
    with pytest.raises(ConfigError, match="--start"):
        method.recipe(tiny(parents_from=2))


def test_a_recipe_keeps_to_the_model_it_began_with():
    method, _ = started(tiny())
    with pytest.raises(ConfigError, match="another model"):
        method.recipe(tiny(parents_from=2, start="ef" * 32))


def test_a_step_of_learning_reaches_the_switch():
    from smlmbatch.methods.method import Alone

    config = tiny(parents_from=2, steps=4, nested_share=1.0)
    network = fresh(config)
    loss, _ = Miro().loss(network, batch_of(config, [0, 1]), config, Alone())
    loss.backward()
    assert network.block.onwards.grad.abs().sum() > 0


def test_figures_of_both_scales_by_a_network_that_knows_them(monkeypatch):
    """Children of too few locs are background in the truth, and nobody finds them: perfect in all."""
    from smlmbatch.methods.miro import judge_scales as judged

    drawn, config = [], tiny(parents_from=3, steps=5)
    monkeypatch.setattr(judged, "FIELDS", 1)
    monkeypatch.setattr(judged, "draw_nested_field", lambda seed, number: drawn.append(draw_scenario("pores", seed, number)) or drawn[-1])
    monkeypatch.setattr(
        judged, "find_two_scales", lambda network, xy_nm, taken: find_two_scales(Knowing(drawn[-1], config), xy_nm, taken=taken)
    )
    found = judged.judge_scales(fresh(config), seeds=(1,))
    assert found["children"]["JI_c"] == found["children"]["ARI"] == 1.0
    assert found["parents"]["JI_c"] > 0.9, "a pore of which one corner is large enough has no parent"
