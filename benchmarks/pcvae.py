"""PC-VAE on simulated populations whose truth is known: how its axes go with radius and height, and what training and encoding take.

One line of JSON for each population, share of locs and seed. Axes are chosen on one half of the particles and reported on the other.
Seeds 1 and 2 are those on which the recipe was chosen; figures that are quoted are of others. `--cost` takes the memory of encoding 100,000
particles, and what a particle costs in 3D against 2D at the same number of locs.

python -m benchmarks.pcvae --seeds 101 102 103 [--only pores_2d pores_3d tetrahedra] [--epochs N] [--cost]
"""

import argparse
import dataclasses
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smlmbatch.methods.method import Alone
from smlmbatch.methods.pcvae.axes import agreement
from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.infer import encode
from smlmbatch.methods.pcvae.judge import life_of
from smlmbatch.methods.pcvae.recipe import Pcvae, PcvaeConfig
from smlmbatch.simulate.particles import DrawnParticles, draw_pores_2d, draw_pores_3d, draw_tetrahedra
from smlmbatch.train.loop import LoopOptions, Trained, start, train

POPULATIONS: dict[str, tuple[Callable[..., DrawnParticles], tuple[float, ...], tuple[str, ...]]] = {
    "pores_2d": (draw_pores_2d, (1.0, 0.5, 0.2), ("radius_nm",)),
    "pores_3d": (draw_pores_3d, (1.0,), ("radius_nm", "height_nm")),
    "tetrahedra": (draw_tetrahedra, (1.0,), ("height_nm",)),
}
MANY = 100_000


def as_set(drawn: DrawnParticles) -> ParticleSet:
    return ParticleSet(drawn.points_nm, drawn.start, drawn.precision_nm)


def trained_on(method: Pcvae, config: PcvaeConfig) -> tuple[Trained, float]:
    """A model, and CPU seconds of an epoch, material and validation left out."""
    with tempfile.TemporaryDirectory() as folder:
        options = LoopOptions(folder=Path(folder), device=torch.device("cpu"))
        start(method, config, options, Alone(), lambda said: None).close()  # draws the material
        begun = time.process_time()
        trained = train(method, config, options, Alone(), lambda said: None)
        return trained, (time.process_time() - begun) / config.epochs


def measure(name: str, share: float, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Figures of one population."""
    draw, _, values = POPULATIONS[name]
    drawn = draw(seed, share=share)
    particles = as_set(drawn)
    method = Pcvae(particles)
    config = dataclasses.replace(method.recipe(PcvaeConfig(seed=seed)), **changes)
    trained, epoch_s = trained_on(method, config)
    begun = time.process_time()
    latents = encode(trained.model, particles)
    encode_s = time.process_time() - begun
    found = {value: agreement(latents, getattr(drawn, value), seed=seed) for value in values}
    life = life_of(trained.model, particles)
    rounded = {value: {way: round(r, 3) for way, r in ways.items()} for value, ways in found.items()}
    told = {"epochs": config.epochs, "epoch_cpu_s": round(epoch_s, 2), "encode_cpu_s": round(encode_s, 2)}
    return {"population": name, "share": share, "seed": seed} | rounded | told | {"alive": life.alive, "collapsed": life.collapsed}


def costs() -> dict[str, float]:
    """MiB that encoding takes beside the particles, and CPU seconds of an epoch in 3D over those in 2D."""
    flat, deep = as_set(draw_pores_2d(1, count=400)), as_set(draw_pores_3d(1, count=400))
    deep = ParticleSet(np.column_stack([flat.points_nm, np.resize(deep.points_nm[:, 2], len(flat.points_nm))]), flat.start)
    took = []
    for particles in (flat, deep):
        method = Pcvae(particles)
        _, epoch_s = trained_on(method, dataclasses.replace(method.recipe(PcvaeConfig()), epochs=4))
        took.append(epoch_s)
    many = flat.take(np.arange(MANY) % len(flat))
    network = Pcvae(flat).build(PcvaeConfig())
    encode(network, flat, views=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    encode(network, many, views=1)
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"encoding_mib": round(extra, 1), "particles": MANY, "cost_3d_over_2d": round(took[1] / took[0], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[101, 102, 103])
    parser.add_argument("--only", nargs="*", choices=list(POPULATIONS), default=list(POPULATIONS))
    parser.add_argument("--epochs", type=int, default=0, help="0 = as the recipe says")
    parser.add_argument("--cost", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    changes = {"epochs": given.epochs} if given.epochs else {}
    for name in given.only:
        for seed in given.seeds:
            for share in POPULATIONS[name][1]:
                print(json.dumps(measure(name, share, seed, changes)), flush=True)
    if given.cost:
        print(json.dumps(costs()), flush=True)


if __name__ == "__main__":
    main()
