"""The shards of Perlin pairs that the network learns from."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.simulate.perlin import PARAMETERS, PerlinConfig, draw_shard

if TYPE_CHECKING:
    from smlmbatch.methods.contrastive.recipe import ContrastiveConfig


def training_shard(config: "ContrastiveConfig", number: int) -> dict[str, NDArray[np.generic]]:
    """Counts (pairs, 2, side, side) u2 and standardised parameters (pairs, 5) f4 of one shard."""
    family = perlin_family(config)
    pairs = draw_shard(family, seed=config.seed, shard=number)
    mean, sd = _moments(family)
    return {"counts": pairs.counts, "parameters": ((pairs.parameters - mean) / sd).astype(np.float32)}


def perlin_family(config: "ContrastiveConfig") -> PerlinConfig:
    """The family of patterns at the model's pixel size."""
    return PerlinConfig(
        side_px=config.side_px,
        side_um=config.side_nm / 1000.0,
        shard_pairs=config.shard_samples,
        density_per_um2=config.density_per_um2,
        density_jitter=config.density_jitter,
    )


def _moments(family: PerlinConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each parameter as it is drawn, by their closed forms."""
    cells = np.log2(family.cells)
    ranges = [np.log(family.density_per_um2), np.array(family.persistence), np.array(family.gain)]
    mean = [cells.mean(), *(r.mean() for r in ranges), family.ridged]
    sd = [cells.std(), *(np.ptp(r) / np.sqrt(12.0) for r in ranges), np.sqrt(family.ridged * (1.0 - family.ridged))]
    assert len(mean) == len(PARAMETERS)
    return np.array(mean), np.maximum(np.array(sd), 1e-6)
