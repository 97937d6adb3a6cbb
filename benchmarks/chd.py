"""All-to-all registration and multidimensional scaling of pores, beside PC-VAE on the very same ones.

After Huijben et al. (Nat Commun 12:3791, 2021), who detect structural heterogeneity by registering every pair of particles and scaling
the pairs' costs. Here, of every pair:

- a particle is a density about its picked centre: a Gaussian at each loc, as wide as the median precision, and even over a circle of
  radii and angles (18 rings of 4 nm, 32 angles each), weighted by the ring's area and of unit length;
- similarity is the largest product of two densities over all rotations in the plane, found for all angles at once by the Fourier
  transform along the angle; dissimilarity is the root of two less twice that;
- classical (Torgerson) scaling of the squared dissimilarities; eight axes are kept, and of these the best is chosen on one half of the
  particles and reported on the other, as in the other tables.

This is a plain stand-in for the published cost, not their code. CPU seconds grow with the square of the number of particles.

python -m benchmarks.chd            adds to benchmarks/particles.json and writes benchmarks/PARTICLES.md
"""

import time
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.particle_page import keep
from benchmarks.pcvae import FORMULAS, as_set, trained_on
from smlmbatch.methods.pcvae.axes import agreement, halves, pearson, principal_axes
from smlmbatch.methods.pcvae.infer import encode, encode_halves
from smlmbatch.methods.pcvae.recipe import Pcvae, PcvaeConfig
from smlmbatch.simulate.particles import DrawnParticles, draw_pores_2d

Floats = NDArray[np.float64]
SEED: Final = 101
COUNT: Final = 300
RINGS_NM: Final = np.arange(22.0, 94.0, 4.0)
ANGLES: Final = 32
AXES: Final = 8


def densities(drawn: DrawnParticles) -> Floats:
    """Of each particle on rings and angles, of unit length: (k, r, a)."""
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    grid = RINGS_NM[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    width_nm = float(np.median(drawn.precision_nm))
    found = np.empty((len(drawn), len(RINGS_NM), ANGLES))
    for k, points in enumerate(np.split(drawn.points_nm.astype(np.float64), drawn.start[1:-1])):
        away2 = ((grid[:, :, None] - points) ** 2).sum(axis=3)
        found[k] = np.exp(-0.5 * away2 / width_nm**2).sum(axis=2) * np.sqrt(RINGS_NM)[:, None]
    return found / np.sqrt((found**2).sum(axis=(1, 2), keepdims=True))


def dissimilarities(density: Floats) -> Floats:
    """Squared, of all pairs after the best rotation: (k, k)."""
    wave = np.fft.rfft(density, axis=2)
    found = np.zeros((len(density), len(density)))
    for k, own in enumerate(wave):
        product = np.fft.irfft((wave[k + 1 :] * own.conj()).sum(axis=1), n=ANGLES, axis=1)
        found[k, k + 1 :] = np.maximum(2.0 - 2.0 * product.max(axis=1, initial=-1.0), 0.0)
    return found + found.T


def classical_scaling(squared: Floats, axes: int) -> Floats:
    """Places whose distances are those given, as far as so many axes allow (Torgerson 1952): (k, axes)."""
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    value, vector = np.linalg.eigh(-0.5 * centred)
    largest = np.argsort(value)[::-1][:axes]
    return np.asarray(vector[:, largest] * np.sqrt(np.maximum(value[largest], 0.0)))


def best_axis(places: Floats, value: Floats, *, seed: int) -> float:
    """|Pearson| of the axis that goes best with the value on one half, on the other."""
    first, other = halves(len(value), seed=seed)
    best = int(np.argmax(pearson(places[first], value[first])))
    return float(pearson(places[other][:, [best]], value[other])[0])


def measure() -> dict[str, Any]:
    """Both ways on the same particles."""
    drawn = draw_pores_2d(SEED, count=COUNT)
    begun = time.process_time()
    places = classical_scaling(dissimilarities(densities(drawn)), AXES)
    pairs_s = time.process_time() - begun
    particles = as_set(drawn)
    method = Pcvae(particles)
    begun = time.process_time()
    config = method.recipe(PcvaeConfig(seed=SEED))
    trained, _ = trained_on(method, config)
    latents = encode(trained.model, particles)
    axes, _ = principal_axes(*encode_halves(trained.model, particles, seed=SEED))
    own_s = time.process_time() - begun
    circle_nm = FORMULAS["radius_nm"][1](drawn)
    other = halves(COUNT, seed=SEED)[1]
    return {
        "particles": COUNT,
        "seed": SEED,
        "pairs": best_axis(places, drawn.radius_nm, seed=SEED),
        "pairs_cpu_s": pairs_s,
        **{f"pcvae {way}": r for way, r in agreement(latents, drawn.radius_nm, axes=axes, seed=SEED).items()},
        "pcvae_cpu_s": own_s,
        "epochs": config.epochs,
        "circle fit": float(pearson(circle_nm[other][:, None], drawn.radius_nm[other])[0]),
    }


def main() -> None:
    torch.set_num_threads(1)
    keep("chd", "pores_2d", measure())


if __name__ == "__main__":
    main()
