"""What can be said of a model: whether its latents are alive, whether they are a particle's own, and, where a truth is known, how well they
put particles in order.

A variational network may leave its latents unused (the posterior collapses): what is decoded is then the same whatever the particle. So
three figures are told apart: how much each unit says (divergence from the prior, nats), how well a particle is decoded from its own
latents and from those of another, and how far two halves of a particle's locs end up at the same place of an axis.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.pcvae.axes import Axes, agreement, pearson, principal_axes
from smlmbatch.methods.pcvae.data import ParticleSet, input_rows
from smlmbatch.methods.pcvae.infer import encode, encode_halves

if TYPE_CHECKING:
    from torch import nn

_LOOKED_AT: Final = 512  # particles
_ALIVE: Final = 0.05  # nats: a unit that says less has collapsed
_WORSE: Final = 0.02  # of the distance: how much worse another particle's latents must be for latents to be used
_HALVES: Final = 0x4A1F  # first number of the key of the halves of locs


@dataclass(frozen=True, slots=True)
class Life:
    """How alive latents are, over some particles.

    Attributes
    ----------
    nats : (u,) f8, mean divergence of each unit
    chamfer : distance of what is decoded from a particle's own latents, in nm²
    chamfer_other : the same of another particle's latents
    """

    nats: NDArray[np.float64]
    chamfer: float
    chamfer_other: float

    @property
    def alive(self) -> int:
        """Units that say something."""
        return int((self.nats > _ALIVE).sum())

    @property
    def collapsed(self) -> bool:
        """Whether particles are decoded alike, whatever their latents."""
        return self.alive == 0 or self.chamfer_other < (1.0 + _WORSE) * self.chamfer


def judge(
    network: "nn.Module", particles: ParticleSet, *, seeds: tuple[int, ...], truth: Mapping[str, NDArray[np.floating]]
) -> dict[str, dict[str, float]]:
    """Task → figure → value.

    Parameters
    ----------
    seeds : of the splits, over which figures are means
    truth : name → (k,) value of each particle; may be empty
    """
    life = life_of(network, particles.take(_some(len(particles), seed=seeds[0])))
    halves = encode_halves(network, particles, seed=seeds[0])
    axes, _ = principal_axes(*halves)
    figures = {
        "latents": {
            "units alive": float(life.alive),
            "KL (nats)": float(life.nats.sum()),
            "Chamfer (nm²)": life.chamfer,
            "Chamfer of another's (nm²)": life.chamfer_other,
            "collapsed": float(life.collapsed),
            "halves agree": halves_agree(axes, *halves),
        }
    }
    if truth:
        latents = encode(network, particles)
        for name, value in truth.items():
            found = [agreement(latents, value, axes=axes, seed=seed) for seed in seeds]
            figures[name] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return figures


def life_of(network: "nn.Module", particles: ParticleSet) -> Life:
    """Of particles as they lie, without averaging over rotations."""
    import torch

    from smlmbatch.methods.devices import steady
    from smlmbatch.methods.pcvae.chamfer import chamfer
    from smlmbatch.methods.pcvae.loss import divergence

    net: Any = network
    net.eval()
    rows = torch.from_numpy(np.column_stack([input_rows(particles, net.config), np.ones(len(particles.points_nm), np.float32)]))
    with torch.inference_mode(), steady():
        found = net(rows, torch.from_numpy(particles.sizes), torch.arange(len(particles)))
        own, other = (
            chamfer(found["points"], found["present"], net.decoder(latent)).mean() for latent in (found["mean"], found["mean"].roll(1, 0))
        )
        nats = divergence(found["mean"], found["log_variance"]).double().mean(dim=0)
    unit2 = float(net.config.unit_nm) ** 2
    return Life(nats.numpy(), unit2 * float(own), unit2 * float(other))


def halves_agree(axes: Axes, one: NDArray[np.floating], two: NDArray[np.floating]) -> float:
    """|Pearson| of the places of two random halves of each particle's locs along the first axis."""
    return float(pearson(axes.places(one)[:, :1], axes.places(two)[:, 0])[0])


def _some(n: int, *, seed: int) -> NDArray[np.int64]:
    """Up to `_LOOKED_AT` of n particles, at random."""
    return np.sort(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_HALVES, 1))).permutation(n)[:_LOOKED_AT])
