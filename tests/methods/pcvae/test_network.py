"""What a latent may depend on: not on padding, neighbours, the order of points, or the particle's orientation."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
import torch

from smlmbatch.errors import ConfigError
from smlmbatch.locs import Particles
from smlmbatch.methods.layers import set_step
from smlmbatch.methods.pcvae.data import ParticleSet, collect, input_rows, standard_of
from smlmbatch.methods.pcvae.infer import PIECE, encode
from smlmbatch.methods.pcvae.network import Preparation
from smlmbatch.methods.pcvae.recipe import PAPER, PcvaeConfig
from smlmbatch.methods.pcvae.rotations import even_rotations
from tests.methods.pcvae.drawn import random_set, tiny

SIZES = [1, 5, PIECE, PIECE + 1, 70, 24, 25, 3, 40, 41, 12, 9, 8, 30, 31, 32]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def network_for(particles, **changes):
    method, config = tiny(particles, **changes)
    torch.manual_seed(1)
    return method, config, method.build(config).eval()


def prepared(network, particles, numbers=None):
    rows = torch.from_numpy(input_rows(particles, network.config, weighted=True))
    return network.preparation(rows, torch.from_numpy(particles.sizes), torch.arange(len(particles)) if numbers is None else numbers)


def test_latents_are_what_the_padded_network_gives():
    """In pieces and padded, over one view: the same numbers by two ways."""
    particles = random_set([min(size, 24) for size in SIZES])
    _, _, network = network_for(particles)
    with torch.no_grad():
        wanted = network.encoder(*prepared(network, particles))[0]
    assert np.allclose(encode(network, particles, views=1), wanted, atol=1e-5)


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_padding_makes_no_difference(recipe):
    particles = random_set(SIZES)
    changes = {"normalised": True, "decoder": "quick"} if recipe == "paper" else {}
    _, _, network = network_for(particles, **changes)
    rows, present = prepared(network, particles)
    with torch.no_grad():
        once = network.encoder(rows, present)[0]
        wide = network.encoder(torch.nn.functional.pad(rows, (0, 0, 0, 50), value=7.0), torch.nn.functional.pad(present, (0, 50)))[0]
    assert torch.allclose(once, wide, atol=1e-5)


def test_normalisation_sees_the_points_that_there_are():
    """In training: a batch padded with anything has the same statistics."""
    particles = random_set(SIZES)
    _, _, network = network_for(particles, normalised=True)
    rows, present = prepared(network, particles)
    network.encoder.train()
    once = network.encoder(rows, present)[0]
    wide = network.encoder(torch.nn.functional.pad(rows, (0, 0, 0, 50), value=7.0), torch.nn.functional.pad(present, (0, 50)))[0]
    assert torch.allclose(once, wide, atol=1e-5)


def test_a_particles_bits_depend_on_it_alone():
    particles = random_set(SIZES * 9)
    _, _, network = network_for(particles)
    whole = encode(network, particles)
    some = np.array([100, 3, 77, 4])
    assert np.array_equal(encode(network, particles.take(some)), whole[some])


def test_order_of_points_means_nothing():
    particles = random_set(SIZES)
    _, _, network = network_for(particles)
    rng = np.random.default_rng(2)
    order = np.concatenate([rng.permutation(np.arange(a, b)) for a, b in zip(particles.start[:-1], particles.start[1:], strict=True)])
    assert not np.array_equal(order, np.arange(len(order)))
    assert np.allclose(encode(network, ParticleSet(particles.points_nm[order], particles.start)), encode(network, particles), atol=1e-5)


@pytest.mark.parametrize(
    ("axes", "rotation", "encoder"),
    [(2, "plane", "quick"), (3, "plane", "quick"), (3, "space", "quick"), (2, "plane", "paper"), (3, "plane", "paper")],
)
def test_orientation_means_nothing(axes, rotation, encoder):
    """In the plane by any rotation, of one view; in space nearly so, by the mean of many views, and less than one view changes by far.

    So it is for the encoder as published, of many views, in the plane too: there a step of the grid of views changes nothing.
    """
    particles = random_set(SIZES, axes=axes)
    _, _, network = network_for(particles, rotation=rotation, encoder=encoder)

    def turned(by):
        return ParticleSet((particles.points_nm @ by.numpy().T).astype(np.float32), particles.start)

    views = 200 if rotation == "space" else 8
    any_turn = even_rotations(rotation, axes, 7)[3]
    upright = encode(network, particles, views=views)
    if encoder == "quick" and rotation == "plane":
        other = encode(network, turned(any_turn), views=1)
        assert np.allclose(other, upright, atol=1e-5)
        assert upright.std(axis=0).min() > 1e-3
        return
    if rotation == "plane":
        assert np.allclose(encode(network, turned(even_rotations("plane", axes, 8)[3]), views=8), upright, atol=1e-5)
    change = np.abs(encode(network, turned(any_turn), views=views) - upright).mean()
    single = np.abs(encode(network, turned(any_turn), views=1) - encode(network, particles, views=1)).mean()
    assert change < 0.1 * single


def test_training_turns_and_draws_by_key():
    """Another step, another turn; the same step and number, the same, whatever else is in the batch; no point is invented."""
    particles = random_set(SIZES)
    _, config, network = network_for(particles, rotation="plane")
    network.preparation.train()
    numbers = torch.arange(len(particles)) + 40

    def points(step, chosen=None):
        set_step(network, seed=3, step=step)
        part = particles if chosen is None else particles.take(chosen)
        return prepared(network, part, numbers if chosen is None else numbers[chosen])[0][..., :2]

    once = points(5)
    assert torch.equal(points(5), once)
    assert not torch.allclose(points(6), once)
    some = np.array([9, 2])
    assert torch.equal(points(5, some), once[some])
    distances = [
        np.sort(np.linalg.norm(particles.points_nm[a:b], axis=1)) for a, b in zip(particles.start[:-1], particles.start[1:], strict=True)
    ]
    for number, size in enumerate(particles.sizes):
        found = np.sort(once[number].norm(dim=1).numpy()[: min(size, config.points)]) * config.unit_nm
        gap = np.abs(found[:, None] - distances[number]).min(axis=1)
        assert gap.max() < 1e-3
        assert size > config.points or np.allclose(found, distances[number], atol=1e-3)


def test_every_point_is_drawn_as_often():
    """Of 60 points 24 are drawn: each in 40 % of all steps."""
    particles = random_set([60] * 16)
    _, config, network = network_for(particles, rotation="none")
    network.preparation.train()
    counts = np.zeros(60)
    for step in range(200):
        set_step(network, seed=0, step=step)
        drawn = prepared(network, particles)[0][..., :2].numpy() * config.unit_nm
        for number in range(16):
            own = particles.points_nm[60 * number : 60 * (number + 1)]
            counts += np.bincount(np.abs(drawn[number][:, None] - own).sum(axis=2).argmin(axis=1), minlength=60)
    share = counts / (200 * 16)
    assert share == pytest.approx(np.full(60, 0.4), abs=5 * np.sqrt(0.4 * 0.6 / 3200))


def test_memory_does_not_grow_with_particles():
    _, _, network = network_for(random_set(SIZES))
    peaks = []
    for times in (20, 200):
        particles = random_set([30] * 16 * times)
        tracemalloc.start()
        encode(network, particles, views=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1 << 18


def test_no_particles_have_no_latents():
    _, _, network = network_for(random_set(SIZES))
    assert encode(network, ParticleSet(np.empty((0, 2), np.float32), np.zeros(1, np.int64))).shape == (0, 3)


def test_extras_are_standardised_inputs():
    particles = random_set(SIZES)
    photons = np.exp(np.random.default_rng(0).normal(6, 0.5, len(particles.points_nm))).astype(np.float32)
    photons[3] = np.nan
    told = dataclasses.replace(particles, extras={"photons": photons})
    config = PcvaeConfig(photons=standard_of(photons))
    rows = input_rows(told, config)
    assert rows.shape[1] == 3
    assert [rows[:, 2].mean(), rows[:, 2].std(), rows[3, 2]] == pytest.approx([0, 1, 0], abs=0.01)
    _, _, network = network_for(told, photons=config.photons)
    other = dataclasses.replace(told, extras={"photons": photons * 2})
    assert not np.allclose(encode(network, told), encode(network, other))
    with pytest.raises(ConfigError, match="wants photons"):
        encode(network, particles)


def test_padded_batches_become_one_set():
    first = Particles(np.arange(12, dtype=np.float32).reshape(2, 3, 2), np.array([[1, 1, 0], [1, 0, 0]], bool), "f", *[np.zeros(2)] * 3)
    found = collect([first, first])
    assert found.start.tolist() == [0, 2, 3, 5, 6]
    assert found.points_nm[:3].tolist() == [[0, 1], [2, 3], [6, 7]]
    assert found.take(np.array([3, 0])).points_nm.tolist() == [[6, 7], [0, 1], [2, 3]]
    assert len(collect([], axes=3)) == 0


def test_paper_network_is_as_published():
    from smlmbatch.methods.pcvae.recipe import Pcvae

    network = Pcvae().build(PAPER).eval()
    assert [layer.out_features for layer in network.encoder.layers] == [64, 128, 1024]
    assert [layer.out_features for layer in network.decoder.layers] == [256, 512, 1024]
    assert network.decoder.attention.num_heads == 4
    latent = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    decoded = network.decoder(latent)
    assert decoded.shape == (2, 128, 2)
    assert decoded.std(dim=1).min() > 1e-3, "points differ from one another"


def test_attention_of_the_paper_mixes_points():
    """Another place of one point moves the others: on a sequence of one, attention would be a linear layer."""
    from smlmbatch.methods.pcvae.recipe import Pcvae

    network = Pcvae().build(PAPER).eval()
    latent = torch.zeros(1, 8)
    with torch.no_grad():
        before = network.decoder(latent)
        network.decoder.place[0] += 3.0
        after = network.decoder(latent)
    assert (before - after)[0, 1:].abs().min() > 0


@pytest.mark.parametrize(("nested", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_units_are_kept_from_the_first_on(nested, share):
    """Of the share `nested` 1 to U units, evenly; of the others all; the same for a particle whatever stands beside it."""
    preparation = Preparation(PcvaeConfig(nested=nested))
    set_step(preparation, seed=0, step=3)
    kept = preparation.kept(torch.arange(4000), 8)
    assert (kept[:, 0] == 1).all()
    assert (kept.diff(dim=1) <= 0).all(), "the first so many"
    assert float((kept.sum(dim=1) < 8).float().mean()) == pytest.approx(share * 7 / 8, abs=0.03)
    counts = torch.bincount(kept.sum(dim=1).long(), minlength=9)[1:8].double() / 4000
    assert counts.numpy() == pytest.approx(np.full(7, share / 8), abs=0.02)
    assert torch.equal(preparation.kept(torch.tensor([7, 3]), 8), kept[[7, 3]])
