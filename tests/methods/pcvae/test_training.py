"""Training: to the bit after an interruption, alike on any number of ranks, worth it, and honest where latents collapse."""

import dataclasses

import numpy as np
import pytest
import torch

from smlmbatch.errors import ConfigError, Interrupted
from smlmbatch.hpc.place import Place
from smlmbatch.methods.layers import set_step
from smlmbatch.methods.method import Alone
from smlmbatch.methods.model import config_of, load_model, save_model
from smlmbatch.methods.pcvae.axes import agreement, principal_axes
from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.infer import encode, encode_halves
from smlmbatch.methods.pcvae.judge import halves_agree, life_of
from smlmbatch.methods.pcvae.loss import divergence, total_correlation, warm_up
from smlmbatch.methods.pcvae.recipe import PAPER, Pcvae, PcvaeConfig
from smlmbatch.simulate.particles import draw_pores_2d
from smlmbatch.train.loop import LoopOptions, start, train
from smlmbatch.train.session import train_model
from tests.methods.pcvae.drawn import as_set, random_set, tiny


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pores():
    return draw_pores_2d(7, count=240, share=0.5)


def options(folder, **more):
    return LoopOptions(folder=folder, device=torch.device("cpu"), **more)


def trained(method, config, folder, **more):
    return train(method, config, options(folder, **more), Alone(), lambda said: None)


@pytest.mark.parametrize("stop", [1, 7])
@pytest.mark.parametrize("changes", [{}, {"normalised": True, "total_correlation": 1e-3, "by_precision": True}])
def test_going_on_gives_the_same_bits(tmp_path, stop, changes):
    particles = as_set(draw_pores_2d(3, count=48, share=0.2))
    method, config = tiny(particles, **changes)
    whole = trained(method, config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(method, config, tmp_path / "parts", stop_after_steps=stop)
    parts = trained(method, config, tmp_path / "parts")
    assert parts.history == whole.history
    assert all(torch.equal(value, parts.model.state_dict()[name]) for name, value in whole.model.state_dict().items())


def test_two_ranks_make_the_gradients_of_one(tmp_path):
    """Halves of a batch, one after the other: the mean of their gradients is the batch's, where nothing is standardised over the batch."""
    method, config = tiny(random_set([12, 30] * 24), encoder="paper")
    run = start(method, config, options(tmp_path, double=True), Alone(), lambda said: None)
    batch = next(iter(run.batches()))
    run.close()
    ends = batch["rows_sizes"].cumsum(0)

    def gradients(first, last):
        low, high = (int(ends[i - 1]) if i else 0 for i in (first, last))
        part = {"rows": batch["rows"][low:high], **{name: batch[name][first:last] for name in ("rows_sizes", "number")}}
        run.model.zero_grad()
        set_step(run.model, seed=0, step=9)
        loss, _ = method.loss(run.model, part, config, Alone())
        loss.backward()
        return torch.cat([p.grad.flatten() for p in run.model.parameters()])

    half = config.batch // 2
    whole = gradients(0, config.batch)
    assert whole.abs().max() > 0
    assert torch.allclose((gradients(0, half) + gradients(half, 2 * half)) / 2, whole, atol=1e-12)


def test_radius_is_learned_from_particles_alone(tmp_path, pores):
    """Turned pores with half of their locs come to lie in the order of their true radius, and are decoded from their own latents."""
    particles = as_set(pores)
    method = Pcvae(particles, truth={"radius": pores.radius_nm})
    config = dataclasses.replace(method.recipe(PcvaeConfig(points=64, views=8, beta=1e-5)), epochs=20)
    untrained = life_of(method.build(config), particles)
    assert train_model(method, config, tmp_path / "m", place=Place(), device="cpu", judge_seeds=2, talk=lambda said: None)
    model = load_model(tmp_path / "m")
    assert model.config == config
    halves = encode_halves(model.network, particles, seed=1)
    axes, _ = principal_axes(*halves)
    found = agreement(encode(model.network, particles), pores.radius_nm, axes=axes)
    assert found["principal axis"] > 0.9
    card = (tmp_path / "m" / "card.md").read_text()
    assert "| radius |" in card
    assert "240 particles" in card
    life = life_of(model.network, particles)
    assert life.chamfer < 0.5 * untrained.chamfer
    assert (life.collapsed, life.alive > 0) == (False, True)
    assert halves_agree(axes, *halves) > 0.8


def test_collapse_is_found_and_told(pores):
    """Latents that are the same for all particles: a head of zeros, and a weight of the divergence that no data can stand against."""
    method, config = tiny(as_set(pores))
    network = method.build(config)
    with torch.no_grad():
        for layer in (network.encoder.mean, network.encoder.log_variance):
            layer.weight.zero_()
            layer.bias.zero_()
    figures = method.judge(network, config, seeds=1)["latents"]
    assert (figures["collapsed"], figures["units alive"], figures["KL (nats)"]) == (1.0, 0.0, 0.0)
    assert figures["Chamfer of another's (nm²)"] == figures["Chamfer (nm²)"]


def test_weight_of_the_divergence_rises_over_the_steps_that_there_are():
    config = PcvaeConfig(samples=1400, shard_samples=25, batch=16, epochs=4, warm_up_share=0.5)
    assert config.steps == 4 * (53 * 25 // 16)
    middle = config.steps // 4
    assert warm_up(0, config) < 0.01
    assert warm_up(middle, config) == pytest.approx(0.5, abs=0.05)
    assert warm_up(2 * middle, config) > 0.99
    assert warm_up(config.steps, config) == warm_up(2 * middle + 5, config)
    assert warm_up(-1, config) == 1.0


def test_divergence_is_its_closed_form():
    """Against torch's own distributions."""
    mean, log_variance = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0)).unbind(0)
    own, prior = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(divergence(mean, log_variance), torch.distributions.kl_divergence(own, prior), atol=1e-5)


def test_total_correlation_tells_units_that_go_together():
    """Of a Gaussian with correlation r it is -log(1 - r^2) / 2; here of means, with next to no noise about them."""
    rng = torch.Generator().manual_seed(0)
    found = []
    for r in (0.0, 0.9):
        one, two = torch.randn(2, 1500, generator=rng)
        mean = torch.stack([one, r * one + (1 - r * r) ** 0.5 * two], dim=1)
        log_variance = torch.full_like(mean, float(np.log(0.04)))
        latent = mean + 0.2 * torch.randn(mean.shape, generator=rng)
        bias = torch.log(torch.tensor(1500.0))  # the weighting's own: log samples, once more for each unit but one
        found.append(float(total_correlation(latent, mean, log_variance, samples=1500) - bias))
    assert found[0] == pytest.approx(0.0, abs=0.12)
    assert found[1] == pytest.approx(-0.5 * np.log(1 - (0.9 / 1.04) ** 2), abs=0.2)


def test_precise_points_count_more(tmp_path):
    """Exact points in two places, others in a third: two decoded points go where the exact ones are only if told which these are."""
    rng = np.random.default_rng(0)
    exact = np.tile([[40.0, 0.0], [-40.0, 0.0]], (12, 1))
    points = np.concatenate([np.concatenate([exact, rng.normal([0, 60], 10, exact.shape)]) for _ in range(64)]).astype(np.float32)
    precision = np.tile(np.repeat([1.0, 40.0], len(exact)), 64).astype(np.float32)
    particles = ParticleSet(points, np.arange(65) * 2 * len(exact), precision)
    misses = []
    for told in (False, True):
        method, config = tiny(particles, by_precision=told, rotation="none", decoded=2, hidden=64, points=48, epochs=40)
        network = trained(method, config, tmp_path / str(told)).model
        with torch.no_grad():
            decoded = network.decoder(torch.zeros(1, 3))[0] * config.unit_nm
        misses.append(float(torch.cdist(torch.tensor([[40.0, 0.0], [-40.0, 0.0]]), decoded).min(dim=1).values.mean()))
    assert misses[1] < 0.7 * misses[0]


def test_recipe_is_of_its_particles():
    particles = random_set([30, 200] * 100, axes=3)
    method = Pcvae(particles)
    config = method.recipe(PcvaeConfig(axes=2))
    assert (config.axes, config.particles, config.samples % config.shard_samples) == (3, particles.sha256, 0)
    assert config.samples == 200
    assert config.epochs == 106, "7 times fewer particles than the recipe is meant for: as many as there may be, and six for a third axis"
    assert Pcvae(particles.take(np.arange(1, 200))).recipe(PcvaeConfig()).particles != config.particles
    shards = [method.shard(config, number) for number in range(config.samples // config.shard_samples)]
    numbers = np.concatenate([shard["number"] for shard in shards])
    assert sorted(numbers) == list(range(200))
    rows = dict(zip(numbers, [row for shard in shards for row in shard["rows"]], strict=True))
    assert np.allclose(rows[17][:, :3] * config.unit_nm, particles.take(np.array([17])).points_nm, atol=1e-3)
    assert method.recipe(PAPER).epochs == 28
    assert method.recipe(config) == config
    with pytest.raises(ConfigError, match="of other particles"):
        Pcvae(particles.take(np.arange(1, 200))).recipe(config)
    with pytest.raises(ConfigError, match="don't tell photons"):
        method.recipe(PcvaeConfig(), extras=("photons",))


def test_infer_takes_ragged_points(pores):
    method, config = tiny(as_set(pores))
    network = method.build(config)
    part = as_set(pores).take(np.array([5, 9]))
    batch = {"points_nm": torch.from_numpy(part.points_nm), "points_nm_sizes": torch.from_numpy(part.sizes)}
    assert np.array_equal(method.infer(network, batch)["latent"], encode(network, part))


def test_halves_of_locs_are_disjoint_and_whole():
    particles = random_set([5, 4, 1])
    kept = np.arange(10) % 2 == 0
    one, two = particles.with_points(kept), particles.with_points(~kept)
    assert (one.sizes + two.sizes).tolist() == [5, 4, 1]
    assert np.array_equal(one.points_nm, particles.points_nm[kept])


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"axes": 4}, "axes = 4: wanted 2 or 3"),
        ({"rotation": "space"}, "without z"),
        ({"rotation": "any"}, "'plane', 'space', 'none'"),
        ({"units": 0}, "units = 0: wanted more than 0"),
        ({"beta": -1.0}, "beta = -1.0: wanted 0 or more"),
        ({"widths": [8, 8]}, "widths"),
        ({"widths": [8, 0, 8]}, "three numbers of 1 or more"),
        ({"photons": [6.0, -1.0]}, "standard deviation above 0"),
        ({"warm_up_share": 1.5}, "wanted shares"),
        ({"samples": 30}, "two shards"),
        ({"decoder": "old"}, "'quick', 'paper'"),
        ({"unitz": 3}, "unknown key unitz"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, finding):
    with pytest.raises(ConfigError, match=finding):
        config_of(Pcvae(), changes)


def test_particles_that_do_not_fit_are_refused():
    particles = random_set([20] * 20)
    method, config = tiny(particles)
    with pytest.raises(ConfigError, match="2 coordinates, these have 3"):
        encode(method.build(config), random_set([5], axes=3))
    with pytest.raises(ConfigError, match="how exact a point is"):
        method.shard(dataclasses.replace(config, by_precision=True), 0)
    with pytest.raises(ConfigError, match="name the campaign"):
        Pcvae().shard(config, 0)
    with pytest.raises(ConfigError, match="3 particles: wanted 16 or more"):
        Pcvae(particles.take(np.arange(3))).recipe(PcvaeConfig())


def test_model_folder_reads_back(tmp_path):
    method, config = tiny(random_set([20] * 20))
    torch.manual_seed(0)
    network = method.build(config)
    save_model(tmp_path, method, config, network)
    model = load_model(tmp_path)
    assert (model.method.name, model.config) == ("pcvae", config)
    assert np.array_equal(encode(model.network, random_set([20] * 3)), encode(network, random_set([20] * 3)))
