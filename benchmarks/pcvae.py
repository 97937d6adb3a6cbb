"""PC-VAE on simulated populations whose truth is known: how its axes go with radius and height, and what training and encoding take.

Absolute Pearson correlation of the best unit, the best principal axis and a supervised axis (ridge), each chosen on one half of the
particles and reported on the other; beside them a circle fit (or two levels of z) and the oracle, which knows how particles were drawn, on
that same other half. Bins of 70 particles along the best principal axis are registered; errors are of rotations modulo 45 degrees.
The recipe was chosen on seeds 1 and 2. `--published` trains the recipe `paper` on one seed, for the ratio of costs.

python -m benchmarks.pcvae [--seeds 101 102 103] [--only pores_2d ...] [--cost] [--published] [--register]

Each call adds to benchmarks/particles.json and writes benchmarks/PARTICLES.md of all in it.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.particle_page import keep
from smlmbatch.clustering.particle_shapes import circle_radii, level_heights
from smlmbatch.methods.method import Alone
from smlmbatch.methods.pcvae.axes import agreement, halves, pearson, principal_axes
from smlmbatch.methods.pcvae.data import ParticleSet
from smlmbatch.methods.pcvae.infer import encode, encode_halves
from smlmbatch.methods.pcvae.judge import life_of
from smlmbatch.methods.pcvae.recipe import PAPER, Pcvae, PcvaeConfig
from smlmbatch.registration.joint import register
from smlmbatch.registration.phase import angle_errors_deg, fit_phases
from smlmbatch.simulate.particle_oracle import fit_particles
from smlmbatch.simulate.particles import PORES_2D, PORES_3D, TETRAHEDRA, DrawnParticles, Population, draw_particles
from smlmbatch.train.loop import LoopOptions, Trained, start, train

Floats = NDArray[np.float64]
POPULATIONS: dict[str, tuple[Population, tuple[float, ...], tuple[str, ...]]] = {
    "pores_2d": (PORES_2D, (1.0, 0.5, 0.2), ("radius_nm",)),
    "pores_3d": (PORES_3D, (1.0,), ("radius_nm", "height_nm")),
    "tetrahedra": (TETRAHEDRA, (1.0,), ("height_nm",)),
}
FORMULAS: dict[str, tuple[str, Callable[[DrawnParticles], Floats]]] = {
    "radius_nm": ("circle fit", lambda drawn: circle_radii(drawn.points_nm, drawn.start).radius.nm),
    "height_nm": ("two levels", lambda drawn: level_heights(drawn.points_nm, drawn.start).nm),
}
MANY = 100_000
OF_BIN = 70


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


def yardsticks(population: Population, drawn: DrawnParticles, value: str, *, seed: int) -> dict[str, float]:
    """Formula and oracle on the half that axes are reported on, and the share of particles that the formula fails on."""
    true_nm, (name, formula) = getattr(drawn, value), FORMULAS[value]
    known = np.isfinite(true_nm)
    other = np.flatnonzero(known)[halves(int(known.sum()), seed=seed)[1]]
    ways = {name: formula(drawn), "oracle": getattr(fit_particles(population, drawn), value)}
    found = {}
    for way, nm in ways.items():
        filled_nm = np.where(np.isfinite(nm), nm, np.nanmedian(nm))[other]
        found[way] = float(pearson(filled_nm[:, None], true_nm[other])[0])
    return found | {"failing": float((~np.isfinite(ways[name])).mean())}


def measure(name: str, share: float, seed: int, *, base: PcvaeConfig, known: bool = True) -> tuple[dict[str, Any], Floats]:
    """Figures of one population, and its places along principal axes."""
    population, _, values = POPULATIONS[name]
    drawn = draw_particles(population, seed, count=population.count, share=share)
    particles = as_set(drawn)
    method = Pcvae(particles)
    config = method.recipe(dataclasses.replace(base, seed=seed))
    trained, epoch_s = trained_on(method, config)
    begun = time.process_time()
    latents = encode(trained.model, particles)
    encode_s = time.process_time() - begun
    axes, _ = principal_axes(*encode_halves(trained.model, particles, seed=seed))
    row: dict[str, Any] = {"population": name, "share": share, "seed": seed, "particles": len(drawn)}
    for value in values:
        row[value] = agreement(latents, getattr(drawn, value), axes=axes, seed=seed)
        row[value] |= yardsticks(population, drawn, value, seed=seed) if known else {}
    life = life_of(trained.model, particles)
    told = {"epochs": config.epochs, "epoch_cpu_s": epoch_s, "encode_cpu_s": encode_s, "alive": life.alive, "collapsed": life.collapsed}
    return row | told, axes.places(latents)


def registered(seed: int, places: Floats) -> dict[str, Any]:
    """Errors of rotations of pores in the plane, modulo 45 degrees, in bins of 70 along the longest principal axis."""
    drawn = draw_particles(PORES_2D, seed, count=PORES_2D.count)
    particles = as_set(drawn)
    order = np.argsort(places[:, 0], kind="stable")
    begun, errors, by_phase = time.process_time(), [], []
    for first in range(0, len(order), OF_BIN):
        chosen = order[first : first + OF_BIN]
        part = particles.take(chosen)
        turned = register(part.start, part.points_nm).rotation
        found_rad = -np.arctan2(turned[:, 1, 0], turned[:, 0, 0])  # what turns a particle back
        errors.append(angle_errors_deg(found_rad, drawn.rotation_rad[chosen], fold=8))
        phases = fit_phases(part.start, part.points_nm).angle_rad
        by_phase.append(angle_errors_deg(phases, drawn.rotation_rad[chosen], fold=8))
    medians = {name: float(np.median(np.abs(np.concatenate(own)))) for name, own in (("median_deg", errors), ("phase_deg", by_phase))}
    return {"seed": seed, "bins": len(errors), "cpu_s": time.process_time() - begun} | medians


def peak_mib(*, reset: bool = False) -> float:
    """The most memory that this process has held, or that it has held since it was last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def costs() -> dict[str, float]:
    """MiB that encoding takes beside the particles, and CPU seconds of an epoch in 3D over those in 2D."""
    flat, deep = (as_set(draw_particles(population, 1, count=400)) for population in (PORES_2D, PORES_3D))
    deep = ParticleSet(np.column_stack([flat.points_nm, np.resize(deep.points_nm[:, 2], len(flat.points_nm))]), flat.start)
    took = []
    for particles in (flat, deep, flat, deep):
        method = Pcvae(particles)
        took.append(trained_on(method, dataclasses.replace(method.recipe(PcvaeConfig()), epochs=4))[1])
    many = flat.take(np.arange(MANY) % len(flat))
    network = Pcvae(flat).build(PcvaeConfig())
    encode(network, flat)
    before = peak_mib(reset=True)
    begun = time.process_time()
    encode(network, many)
    encode_s = time.process_time() - begun
    extra = peak_mib() - before
    ratio = min(took[1], took[3]) / min(took[0], took[2])
    return {"encoding_mib": extra, "encoding_cpu_s": encode_s, "particles": MANY, "cost_3d_over_2d": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[101, 102, 103])
    parser.add_argument("--only", nargs="*", choices=list(POPULATIONS), default=list(POPULATIONS))
    parser.add_argument("--cost", action="store_true", help="memory of encoding, and 3D against 2D")
    parser.add_argument("--published", action="store_true", help="the recipe `paper` on the first seed's pores in the plane")
    parser.add_argument("--register", action="store_true", help="bins of pores in the plane too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.cost:
        keep("costs", "all", costs())
    for name in given.only:
        for seed in given.seeds:
            for share in POPULATIONS[name][1]:
                row, places = measure(name, share, seed, base=PcvaeConfig())
                keep("pcvae", f"{name} {share} {seed}", row)
                if given.register and name == "pores_2d" and share == 1.0:
                    keep("registration", str(seed), registered(seed, places))
    if given.published:
        row, _ = measure("pores_2d", 1.0, given.seeds[0], base=PAPER, known=False)
        keep("published", str(given.seeds[0]), row)


if __name__ == "__main__":
    main()
