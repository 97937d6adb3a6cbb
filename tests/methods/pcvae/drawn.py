"""Small sets of particles that the tests of this folder share."""

import dataclasses

import numpy as np

from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.recipe import Pcvae, PcvaeConfig
from smlmbatch.simulate.particles import DrawnParticles


def as_set(drawn: DrawnParticles) -> ParticleSet:
    return ParticleSet(drawn.points_nm, drawn.start, drawn.precision_nm)


def random_set(sizes: list[int], *, axes: int = 2, seed: int = 0) -> ParticleSet:
    rng = np.random.default_rng(seed)
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return ParticleSet(rng.normal(0, 40, (start[-1], axes)).astype(np.float32), start)


def tiny(particles: ParticleSet, **changes) -> tuple[Pcvae, PcvaeConfig]:
    """The method and a small recipe for these particles."""
    method = Pcvae(particles)
    small = {"widths": (8, 8, 16), "hidden": 16, "decoded": 8, "points": 24, "units": 3, "batch": 8, "epochs": 2, "views": 4}
    wanted = PcvaeConfig(**(small | {"axes": particles.axes} | changes))
    return method, dataclasses.replace(method.recipe(wanted), epochs=wanted.epochs)
