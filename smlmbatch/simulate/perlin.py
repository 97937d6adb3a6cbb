"""Pairs of point patterns from Perlin noise: what the contrastive method learns from.

Both members of a pair are drawn with the same parameters from different noise: alike in density and morphology, never
in position (Shirgill et al., Methods). Noise becomes an intensity by a softmax over pixels, the intensity Poisson counts:
that is a rasterised inhomogeneous Poisson process, so no positions are needed unless asked for (`scatter`).

A shard of pairs is a fixed function of (seed, shard), since pyperlin's numbers depend on the batch they are drawn in.
Traps of pyperlin 1.1.0: cells of one or two pixels are zero throughout; a side must be a multiple of its cells.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError

if TYPE_CHECKING:
    import torch

# What a pair's two members share, in the order of `Pairs.parameters`.
PARAMETERS: Final = ("log2_cells", "log_density", "persistence", "gain", "ridge")
_CACHED_PX = 1 << 17  # 32 rasters of 64 px: half a megabyte a pass; with 128 rasters a pass takes a fifth longer
_LEAST_CELL_PX = 4  # below, most pixels lie on the lattice, where Perlin noise is 0
_PURPOSE = 0x5E21  # first number of the key of every draw made here


@dataclass(frozen=True, slots=True, kw_only=True)
class PerlinConfig:
    """The family of patterns. Ranges are drawn from uniformly, densities and cells on a logarithmic scale."""

    side_px: int = 64
    side_um: float = 3.0
    shard_pairs: int = 256
    cells: tuple[int, ...] = (2, 4, 8, 16)  # cells along a side in the first octave
    octaves: int = 3
    density_per_um2: tuple[float, float] = (20.0, 1000.0)
    persistence: tuple[float, float] = (0.2, 0.8)  # amplitude of an octave over that of the one before
    gain: tuple[float, float] = (0.3, 5.0)  # contrast: 0 = complete randomness
    density_jitter: float = 0.0  # each member's own density is that of its pair times up to e^±this
    ridged: float = 0.5  # share of patterns made of ridges (fibre-like) instead of blobs

    def __post_init__(self) -> None:
        for cells in self.cells:
            if self.side_px % cells or self.side_px // cells < _LEAST_CELL_PX:
                wanted = f"divisors of the side ({self.side_px} px) that leave {_LEAST_CELL_PX} px or more a cell"
                raise ConfigError(f"perlin: {cells} cells: wanted {wanted}")
        if self.shard_pairs % len(self.cells):
            raise ConfigError(f"perlin: {self.shard_pairs} pairs a shard: wanted a multiple of {len(self.cells)}")


@dataclass(frozen=True, slots=True)
class Pairs:
    """One shard.

    Attributes
    ----------
    counts : (pairs, 2, side, side) u2, locs per pixel
    parameters : (pairs, 5) f4, see PARAMETERS
    """

    counts: NDArray[np.uint16]
    parameters: NDArray[np.float32]


def draw_shard(config: PerlinConfig, *, seed: int, shard: int) -> Pairs:
    """Shard number `shard` of the family; the same whoever draws it.

    >>> config = PerlinConfig(shard_pairs=8)
    >>> a, b = draw_shard(config, seed=0, shard=3), draw_shard(config, seed=0, shard=3)
    >>> bool((a.counts == b.counts).all()), a.counts.shape
    (True, (8, 2, 64, 64))
    """
    import torch

    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSE, shard)))
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    n = config.shard_pairs // len(config.cells)
    counts, parameters = [], []
    for cells in config.cells:
        drawn = _draw_parameters(config, rng, cells=cells, n=n)
        members = np.repeat(drawn, 2, axis=0)
        members[:, 1] += rng.uniform(-config.density_jitter, config.density_jitter, len(members))
        counts.append(_draw_counts(config, members, rng, cells=cells, generator=generator))
        parameters.append(drawn)
    order = rng.permutation(config.shard_pairs)  # else batches cut from a shard hold one size of cell
    whole = np.concatenate(counts).reshape(-1, 2, config.side_px, config.side_px)
    return Pairs(whole[order], np.concatenate(parameters)[order].astype(np.float32))


def scatter(counts: NDArray[np.integer], *, side_um: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Positions of one raster's locs, uniform within their pixels: (n, 2) f8, x and y in nm from the lower corner."""
    pixel_nm = 1000.0 * side_um / counts.shape[0]
    row, column = (np.repeat(index, counts[counts > 0]) for index in np.nonzero(counts))
    corner = np.column_stack([column, row]).astype(np.float64)
    xy_nm: NDArray[np.float64] = (corner + rng.uniform(size=corner.shape)) * pixel_nm
    return xy_nm


def _draw_parameters(config: PerlinConfig, rng: np.random.Generator, *, cells: int, n: int) -> NDArray[np.float64]:
    low, high = np.log(config.density_per_um2)
    columns = (
        np.full(n, np.log2(cells)),
        rng.uniform(low, high, n),
        rng.uniform(*config.persistence, n),
        rng.uniform(*config.gain, n),
        (rng.uniform(size=n) < config.ridged).astype(np.float64),
    )
    drawn: NDArray[np.float64] = np.column_stack(columns)
    return drawn


def _draw_counts(
    config: PerlinConfig, parameters: NDArray[np.float64], rng: np.random.Generator, *, cells: int, generator: "torch.Generator"
) -> NDArray[np.uint16]:
    """(n, pixels) u2, one raster per row of parameters; a few at a time, so that what pyperlin works on stays in the cache."""
    from smlmbatch.simulate.poisson import poisson_counts

    counts = []
    step = max(1, _CACHED_PX // config.side_px**2)
    for start in range(0, len(parameters), step):
        own = parameters[start : start + step]
        noise = _noise(config, own, cells=cells, generator=generator)
        expected = np.exp(own[:, 1]) * config.side_um**2
        counts.append(poisson_counts(_intensity(noise, own), expected, rng))
    return np.concatenate(counts)


def _noise(config: PerlinConfig, parameters: NDArray[np.float64], *, cells: int, generator: "torch.Generator") -> "torch.Tensor":
    """(n, pixels) f4, of any mean and spread."""
    import torch
    from pyperlin import FractalPerlin2D  # type: ignore[import-untyped]

    most = config.side_px // _LEAST_CELL_PX
    octaves = [o for o in range(config.octaves) if cells << o <= most]
    persistence = torch.from_numpy(parameters[:, 2].astype(np.float32))[:, None, None]
    shape = (len(parameters), config.side_px, config.side_px)
    fractal = FractalPerlin2D(shape, [(cells << o, cells << o) for o in octaves], [persistence**o for o in octaves], generator=generator)
    noise: torch.Tensor = fractal()
    return noise.flatten(1)


def _intensity(noise: "torch.Tensor", parameters: NDArray[np.float64]) -> NDArray[np.float32]:
    """exp(gain x height) up to a factor of each row; height is the standardised noise, or 1 - 2 |it|: ridges where it crosses 0."""
    import torch

    gain, ridged = (torch.from_numpy(parameters[:, i : i + 1].astype(np.float32)) for i in (3, 4))
    centred = noise - noise.mean(dim=1, keepdim=True)
    spread = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / np.sqrt(centred.shape[1] - 1)
    scaled = centred.mul_(gain / spread)
    height = torch.where(ridged > 0, scaled.abs().mul_(-2.0), scaled)  # the 1 is a factor of the whole row, too
    shape: NDArray[np.float32] = height.sub_(height.amax(dim=1, keepdim=True)).exp_().numpy()
    return shape
