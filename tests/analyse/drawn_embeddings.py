"""Embeddings drawn at random with known effects of condition, replicate, field and batch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Drawn:
    vectors: np.ndarray
    condition: np.ndarray
    replicate: np.ndarray
    key: np.ndarray
    group: np.ndarray


def draw(
    seed: int,
    replicates: tuple[int, ...],
    *,
    rois: int = 18,
    fields: int = 3,
    features: int = 16,
    axes: int = 16,
    effect: float = 0.0,
    between: float = 0.5,
    outlier: float = 0.0,
    group: Callable[[int, int, int], int] = lambda condition, replicate, field: replicate % 2,
    group_effect: float = 0.0,
    paired: bool = False,
) -> Drawn:
    """Conditions `effect` apart, replicates scattering by `between` on so many axes, ROIs by 1; the first replicate moved by `outlier`."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(replicates), axes)))
    scale = np.where(np.arange(features) < axes, 1.0, 1e-3)
    rows: list[tuple] = []
    for c, n in enumerate(replicates):
        for r in range(n):
            centre = effect * c * np.eye(features)[0] + between * scale * rng.normal(size=features)
            centre[min(1, features - 1)] += outlier * (c == r == 0)
            for f in range(fields):
                g = group(c, r, f)
                place = centre + 0.2 * scale * rng.normal(size=features) + group_effect * g * np.eye(features)[2 % features]
                name = f"r{r}" if paired else f"c{c}r{r}"
                for _ in range(rois // fields):
                    rows.append((place + scale * rng.normal(size=features), f"c{c}", name, f"{name}f{f}", f"g{g}"))
    vectors, *names = zip(*rows, strict=True)
    return Drawn(np.array(vectors), *(np.array(own, dtype=object) for own in names))
