"""The particles that the network learns from and encodes: ragged on disk and in memory, padded only inside a step.

None of a particle's points is cut: training draws so many of them anew each time, inference takes all. Every particle has a number, which
keys what is drawn for it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.locs import Particles

if TYPE_CHECKING:
    from smlmbatch.methods.pcvae.recipe import PcvaeConfig

EXTRAS: Final = ("photons", "background", "psf_nm")
_ORDER: Final = 0x9CAE  # first number of the key of the order in which particles are cut into shards
_LEAST: Final = 1e-6  # of what is put into a logarithm
_FLOOR_NM: Final = 2.0  # to how much of a nm a label's own size lets a point be known, however exact it is


@dataclass(frozen=True, slots=True)
class ParticleSet:
    """Particles, the points of all of them one below the other.

    Attributes
    ----------
    points_nm : (n, d) f4, nm about the particle's centre
    start : (k + 1,) i8, first point of each; the last closes the set
    precision_nm : (n,) f4, standard error of a point along one axis; None = not known
    extras : those of `EXTRAS` that are known, (n,) f4 each
    """

    points_nm: NDArray[np.float32]
    start: NDArray[np.int64]
    precision_nm: NDArray[np.float32] | None = None
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def axes(self) -> int:
        return int(self.points_nm.shape[1])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Points of each particle: (k,) i8."""
        return np.diff(self.start)

    @property
    def sha256(self) -> str:
        """Of all that is known of them."""
        digest = hashlib.sha256()
        known = {"points_nm": self.points_nm, "start": self.start, "precision_nm": self.precision_nm, **self.extras}
        for name, values in sorted(known.items()):
            if values is not None:
                digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def take(self, numbers: NDArray[np.integer]) -> "ParticleSet":
        """These particles, in this order."""
        row = self.rows_of(numbers)
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.sizes[numbers])])
        precision = None if self.precision_nm is None else self.precision_nm[row]
        return ParticleSet(self.points_nm[row], start, precision, {name: values[row] for name, values in self.extras.items()})

    def rows_of(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """Rows of the points of these particles, in this order: (points,) i8."""
        sizes = self.sizes[numbers]
        end = np.cumsum(sizes)
        rows: NDArray[np.int64] = np.arange(end[-1] if len(end) else 0) + np.repeat(self.start[:-1][numbers] - end + sizes, sizes)
        return rows

    def with_points(self, kept: NDArray[np.bool_]) -> "ParticleSet":
        """The particles with some of their points, (n,) which."""
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[self.start]
        precision = None if self.precision_nm is None else self.precision_nm[kept]
        return ParticleSet(self.points_nm[kept], start, precision, {name: values[kept] for name, values in self.extras.items()})


def collect(batches: Iterable[Particles], *, axes: int = 2) -> ParticleSet:
    """Padded batches as one set, in their order.

    Parameters
    ----------
    axes : d, where there is no particle
    """
    held = [(batch.points_nm[batch.present], batch.present.sum(axis=1)) for batch in batches]
    sizes = np.concatenate([np.zeros(1, np.int64), *(sizes for _, sizes in held)])
    points = np.concatenate([points for points, _ in held]) if held else np.empty((0, axes), np.float32)
    return ParticleSet(points, np.cumsum(sizes))


def extras_of(config: "PcvaeConfig") -> tuple[str, ...]:
    """What a point tells the network besides its coordinates."""
    return tuple(name for name in EXTRAS if getattr(config, name) != (0.0, 0.0))


def standard_of(values: NDArray[np.floating]) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm, as a recipe keeps them.

    >>> standard_of(np.array([1.0, 100.0])) == (np.log(10.0), np.log(10.0))
    True
    """
    logs = np.log(np.maximum(values[np.isfinite(values)].astype(np.float64), _LEAST))
    return (float(logs.mean()), max(float(logs.std()), _LEAST)) if len(logs) else (0.0, 1.0)


def input_rows(particles: ParticleSet, config: "PcvaeConfig", *, weighted: bool = False) -> NDArray[np.float32]:
    """What the network is told of each point: (n, c) f4, its coordinates in the recipe's unit and the extras, standardised.

    Parameters
    ----------
    weighted : with how much the point counts in the loss as the last column

    Raises
    ------
    ConfigError
        the particles lack what the recipe wants
    """
    if particles.axes != config.axes:
        raise ConfigError(f"pcvae: the model is of particles with {config.axes} coordinates, these have {particles.axes}")
    columns = [particles.points_nm / np.float32(config.unit_nm)]
    for name in extras_of(config):
        if name not in particles.extras:
            raise ConfigError(f"pcvae: the model wants {name} of each point, and these particles' files don't tell it")
        mean, sd = getattr(config, name)
        logs = (np.log(np.maximum(particles.extras[name], _LEAST)) - mean) / sd
        columns.append(np.nan_to_num(logs, nan=0.0).astype(np.float32)[:, None])
    if weighted:
        columns.append(_weights(particles, config)[:, None])
    return np.concatenate(columns, axis=1)


def _weights(particles: ParticleSet, config: "PcvaeConfig") -> NDArray[np.float32]:
    if not config.by_precision:
        return np.ones(len(particles.points_nm), np.float32)
    if particles.precision_nm is None:
        raise ConfigError("pcvae: by_precision = true, and these particles' files don't tell how exact a point is")
    spread2 = np.nan_to_num(particles.precision_nm.astype(np.float64), nan=config.unit_nm) ** 2 + _FLOOR_NM**2
    weight: NDArray[np.float32] = (_FLOOR_NM**2 / spread2).astype(np.float32)
    return weight


def training_shard(particles: ParticleSet, config: "PcvaeConfig", number: int) -> dict[str, Any]:
    """Rows of each particle of a shard, and its number in the set; shards are cut in an order drawn from the seed."""
    order = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_ORDER,))).permutation(len(particles))
    chosen = order[number * config.shard_samples : (number + 1) * config.shard_samples]
    part = particles.take(chosen)
    return {"rows": np.split(input_rows(part, config, weighted=True), part.start[1:-1]), "number": chosen.astype(np.float64)}
