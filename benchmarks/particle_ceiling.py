"""How well radius and height of pores in 3D can be told at all: a network that is shown the truth of other pores.

The encoder of PC-VAE with two numbers as its result, wider layers, and 40,000 pores of another seed with their true radius and height:
what it reaches on pores that it hasn't seen is about the most that any method can, which knows neither the truth nor the structure.

python -m benchmarks.particle_ceiling [--seeds 101 102 103]

Adds to benchmarks/particles.json and writes benchmarks/PARTICLES.md of all in it.
"""

import argparse
import dataclasses
import time
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.particle_page import keep
from benchmarks.pcvae import as_set
from smlmbatch.methods.pcvae.axes import pearson
from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.infer import encode
from smlmbatch.methods.pcvae.network import PcvaeNet
from smlmbatch.methods.pcvae.recipe import Pcvae, PcvaeConfig
from smlmbatch.simulate.particles import PORES_3D, DrawnParticles, draw_particles

SHOWN: Final = 40_000
SHOWN_SEED: Final = 1001
EPOCHS: Final = 8
BATCH: Final = 64
LEARNING_RATE: Final = 4e-3


def truth_of(drawn: DrawnParticles) -> NDArray[np.float32]:
    return np.column_stack([drawn.radius_nm, drawn.height_nm]).astype(np.float32)


def padded(particles: ParticleSet, unit_nm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (k, most, 3) in units, and which there are (k, most)."""
    present = np.arange(particles.sizes.max()) < particles.sizes[:, None]
    points = np.zeros((*present.shape, particles.axes), np.float32)
    points[present] = particles.points_nm / unit_nm
    return torch.from_numpy(points), torch.from_numpy(present)


def shown() -> PcvaeNet:
    """The network, after it has seen others with their truth."""
    drawn = draw_particles(PORES_3D, SHOWN_SEED, count=SHOWN)
    particles = as_set(drawn)
    config = Pcvae(particles).recipe(PcvaeConfig(widths=(64, 128, 256), units=2))
    network = PcvaeNet(dataclasses.replace(config, samples=SHOWN))
    truth = truth_of(drawn)
    wanted = torch.from_numpy((truth - truth.mean(axis=0)) / truth.std(axis=0))
    points, present = padded(particles, config.unit_nm)
    steps = EPOCHS * (SHOWN // BATCH)
    optimiser = torch.optim.Adam(network.encoder.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    draw = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(SHOWN, generator=draw).split(BATCH):
            if len(chosen) < BATCH:
                continue
            found, _ = network.encoder(points[chosen], present[chosen])
            loss = (found - wanted[chosen]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network


def measure(network: PcvaeNet, seed: int) -> dict[str, Any]:
    """|Pearson| with the truth of pores of another seed."""
    drawn = draw_particles(PORES_3D, seed, count=PORES_3D.count)
    found = encode(network, as_set(drawn)).astype(np.float64)
    radius, height = (float(pearson(found[:, [place]], truth)[0]) for place, truth in enumerate(truth_of(drawn).T.astype(np.float64)))
    return {"seed": seed, "radius_nm": radius, "height_nm": height, "shown": SHOWN}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[101, 102, 103])
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    begun = time.process_time()
    network = shown()
    cpu_s = time.process_time() - begun
    for seed in given.seeds:
        keep("ceiling", str(seed), measure(network, seed) | {"cpu_s": cpu_s})


if __name__ == "__main__":
    main()
