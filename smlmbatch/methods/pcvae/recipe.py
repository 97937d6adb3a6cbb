"""Settings of PC-VAE and the method itself.

The default is the best that was measured; `paper` is the published network with its settings: encoder 64-128-1024,
decoder 256-512-1024 with skip and attention, eight units, weight of the divergence raised along a sigmoid. Other than the rest of our
methods it learns from particles of a campaign, which the method is made with; the recipe holds their sha256.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.pcvae.data import EXTRAS, ParticleSet, standard_of, training_shard

if TYPE_CHECKING:
    import torch

    from smlmbatch.methods.method import Batch, Ranks

_POSITIVE: Final = (
    *("samples", "shard_samples", "points", "unit_nm", "hidden", "units", "decoded", "views", "batch", "epochs", "learning_rate"),
    *("plateau_patience", "stop_patience", "warm_up_share"),
)
_NOT_NEGATIVE: Final = ("seed", "nested", "weight_decay", "least_learning_rate", "beta", "total_correlation")
_AXES: Final = (2, 3)
_SHARDS: Final = (32, 64)  # of few particles, as many as that; of many, shards of `_LARGEST_SHARD`
_LARGEST_SHARD: Final = 1024
_PUBLISHED: Final = 1400  # particles that a recipe's epochs are meant for; of fewer it takes more epochs, up to
_MOST_EPOCHS: Final = 100
_MORE_IN_3D: Final = 6  # epochs
_MOST_POINTS: Final = 128
_LEAST_PARTICLES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PcvaeConfig:
    """All that the weights depend on."""

    seed: int = 0
    # data: what stands here is told by the particles (`Pcvae.recipe`)
    particles: str = ""  # their sha256
    axes: int = 2
    samples: int = 1400
    validation_share: float = 0.05
    shard_samples: int = 25
    points: int = _MOST_POINTS  # of a particle, in training: drawn anew each time it is seen
    unit_nm: float = 50.0  # what coordinates are divided by
    distance_nm: tuple[float, float] = (0.0, 0.0)  # from the axis (or centre) of rotation: mean and sd; 0, 0 = only `unit_nm` is used
    rotation: Literal["plane", "space", "none"] = "plane"  # how copies of the structure differ in orientation
    # further inputs of a point: mean and standard deviation of the logarithm; 0, 0 = is no input
    photons: tuple[float, float] = (0.0, 0.0)
    background: tuple[float, float] = (0.0, 0.0)
    psf_nm: tuple[float, float] = (0.0, 0.0)
    # network
    encoder: Literal["quick", "paper"] = "quick"
    widths: tuple[int, int, int] = (32, 64, 128)  # of the layers that each point goes through by itself
    hidden: int = 256
    units: int = 8  # of the latent vector
    nested: float = 0.5  # share of particles that are decoded from their first so many units, drawn anew: units come in order
    decoder: Literal["quick", "paper"] = "quick"
    decoded: int = 64  # points
    normalised: bool = False  # batch normalisation, as published
    # loss
    beta: float = 1e-4  # ten times that, and small differences such as a height are dropped
    warm_up_share: float = 0.5  # of all steps, over which the weight of the divergence rises
    total_correlation: float = 0.0  # weight of a penalty on units that go together
    by_precision: bool = False  # points count by their precision
    # inference
    views: int = 16  # rotations that latents are a mean of, where they depend on orientation
    # optimiser
    batch: int = 16  # particles over all ranks
    epochs: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: int = 3
    stop_patience: int = 7
    least_learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ConfigError(f"pcvae: {name} = {getattr(self, name)!r}: wanted more than 0")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"pcvae: {name} = {getattr(self, name)!r}: wanted 0 or more")
        if self.axes not in _AXES:
            raise ConfigError(f"pcvae: axes = {self.axes}: wanted 2 or 3")
        if self.rotation == "space" and self.axes != 3:
            raise ConfigError('pcvae: rotation = "space" of particles without z: wanted "plane" or "none"')
        if not 0 < self.validation_share < 1 or max(self.warm_up_share, self.nested) > 1:
            raise ConfigError("pcvae: validation_share, warm_up_share and nested: wanted shares")
        if self.encoder == "quick" and self.batch < 2:
            raise ConfigError(f'pcvae: batch = {self.batch}: wanted 2 or more, or encoder = "paper"')
        if min(self.widths) < 1:
            raise ConfigError(f"pcvae: widths = {list(self.widths)}: wanted three numbers of 1 or more")
        for name in EXTRAS:
            if getattr(self, name) != (0.0, 0.0) and getattr(self, name)[1] <= 0:
                raise ConfigError(f"pcvae: {name} = {list(getattr(self, name))}: wanted a mean and a standard deviation above 0")
        if self.samples // self.shard_samples < 2:
            raise ConfigError(f"pcvae: samples = {self.samples}: wanted two shards ({2 * self.shard_samples}) or more")

    @property
    def steps(self) -> int:
        """Of all epochs."""
        n_shards = self.samples // self.shard_samples
        n_train = n_shards - max(1, round(n_shards * self.validation_share))
        return self.epochs * (n_train * self.shard_samples // self.batch)


PAPER: Final = PcvaeConfig(
    encoder="paper",
    widths=(64, 128, 1024),
    hidden=512,
    nested=0.0,
    decoder="paper",
    decoded=128,
    normalised=True,
    beta=0.01,
    warm_up_share=1.0,
    views=1,
    batch=8,
    learning_rate=1e-4,
    weight_decay=1e-5,
)


class Pcvae:
    """The method, as `methods.method.Method` asks, with the particles it learns from."""

    name = "pcvae"
    title = "PC-VAE: the shapes of particles in order"
    about = """
A particle's points become a few numbers (latents) from which points like them can be made again. Along them particles of a population lie
in order: of radius, of height, of what else they differ in. How a particle is turned plays no part. The model knows the population that
it learned from, and is of no use for another structure.
"""
    figures_caption = """
Of the particles it learned from. Units alive: those that say more than 0.05 nats of a particle. Chamfer: squared distance of what is
decoded from a particle's own latents, and from those of another one; where the two are alike, latents have collapsed. Halves agree:
correlation of the places of two halves of each particle's locs along the longest axis. Where a true value is known, how the best unit,
the best principal axis and a supervised axis (ridge) go with it, without sign: chosen on one half of the particles, reported on the other.
"""
    Config = PcvaeConfig
    recipes: Mapping[str, PcvaeConfig] = MappingProxyType({"default": PcvaeConfig(), "paper": PAPER})
    shard_arrays: tuple[str, ...] = ("number", "rows")
    ragged: tuple[str, ...] = ("rows",)
    only_in_training: tuple[str, ...] = ()

    def __init__(self, particles: ParticleSet | None = None, *, truth: Mapping[str, NDArray[np.floating]] | None = None) -> None:
        self.particles, self.truth = particles, truth or {}
        told = f"{len(particles):,} particles of {particles.start[-1]:,} locs" if particles else "particles"
        self.material = f"{told}, turned at random"

    def recipe(self, base: PcvaeConfig, *, extras: tuple[str, ...] = ()) -> PcvaeConfig:
        """A recipe with what the particles tell: their number, size and axes, and how often to go over them.

        Parameters
        ----------
        base : one that was made for these very particles stays as it is
        extras : of "photons", "background", "psf_nm": what points tell the network besides their coordinates

        Raises
        ------
        ConfigError
            a recipe of other particles, too few of them, or their files don't tell what is wanted
        """
        particles = self._given()
        n, sha256 = len(particles), particles.sha256
        if base.particles == sha256:
            return base
        if base.particles:
            raise ConfigError("pcvae: the recipe is of other particles")
        if n < _LEAST_PARTICLES:
            raise ConfigError(f"pcvae: {n} particles: wanted {_LEAST_PARTICLES} or more")
        if unknown := [name for name in extras if name not in particles.extras]:
            raise ConfigError(f"pcvae: the particles' files don't tell {', '.join(unknown)} of every point")
        shard = _shard_size(n)
        distance = np.sqrt((particles.points_nm.astype(np.float64) ** 2).sum(axis=1))
        ours = base.encoder == "quick"
        times = min(_MOST_EPOCHS / base.epochs, (_PUBLISHED / n) ** (2 if ours else 1))
        more = _MORE_IN_3D if particles.axes == 3 and ours else 0
        changes: dict[str, Any] = {
            "particles": sha256,
            "axes": particles.axes,
            "samples": n // shard * shard,
            "shard_samples": shard,
            "points": int(min(base.points, max(1, np.quantile(particles.sizes, 0.95)))),
            "unit_nm": max(float(np.median(distance)), 1.0),
            "distance_nm": _distances(particles, base),
            "epochs": max(base.epochs, round(base.epochs * times)) + more,
        }
        changes |= {name: standard_of(particles.extras[name]) for name in extras}
        return replace(base, **changes)

    def _given(self) -> ParticleSet:
        if self.particles is None:
            raise ConfigError("pcvae learns from particles: name the campaign that has picked them")
        return self.particles

    def shard(self, config: PcvaeConfig, number: int) -> dict[str, Any]:
        return training_shard(self._given(), config, number)

    def build(self, config: PcvaeConfig) -> "torch.nn.Module":
        from smlmbatch.methods.pcvae.network import PcvaeNet

        return PcvaeNet(config)

    def loss(
        self, model: "torch.nn.Module", batch: "Batch", config: PcvaeConfig, ranks: "Ranks"
    ) -> "tuple[torch.Tensor, dict[str, torch.Tensor]]":
        from smlmbatch.methods.pcvae.loss import pcvae_loss

        return pcvae_loss(model(batch["rows"], batch["rows_sizes"], batch["number"]), config, ranks)

    def settle(self, model: "torch.nn.Module", config: PcvaeConfig) -> None:
        """Nothing is left to choose."""

    def judge(self, model: "torch.nn.Module", config: PcvaeConfig, *, seeds: int = 5) -> dict[str, dict[str, float]]:
        from smlmbatch.methods.pcvae.judge import judge

        return judge(model, self._given(), seeds=tuple(range(1, seeds + 1)), truth=self.truth)

    def infer(self, model: "torch.nn.Module", batch: "Batch") -> dict[str, NDArray[np.float32]]:
        """Latents of particles whose `points_nm` stand one below the other."""
        from smlmbatch.methods.pcvae.infer import encode

        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(batch["points_nm_sizes"].cpu().numpy())])
        return {"latent": encode(model, ParticleSet(batch["points_nm"].float().cpu().numpy(), start))}


def _distances(particles: ParticleSet, base: PcvaeConfig) -> tuple[float, float]:
    """Mean and sd of points' distances from the axis of rotation, or from the centre; nm."""
    axes = 2 if base.rotation == "plane" else particles.axes
    distance = np.sqrt((particles.points_nm[:, :axes].astype(np.float64) ** 2).sum(axis=1))
    return float(distance.mean()), max(float(distance.std()), 1.0)


def _shard_size(n: int) -> int:
    """Particles of a shard: as many shards as leave the fewest particles over."""
    few, many = _SHARDS
    choices = range(max(1, n // many), max(1, n // few) + 1)
    return min(_LARGEST_SHARD, min(choices, key=lambda size: (n % size, -size)))
