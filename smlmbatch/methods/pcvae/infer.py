"""From particles to latents, averaged over rotations; the memory taken doesn't depend on how many particles there are, nor on how large.

Of particles that turn in space, a latent of one view tells the orientation besides the shape; the mean over many rotations tells the
shape alone. Of those that turn in the plane the network is told nothing that depends on the rotation, and one view is all. A particle's
points are cut into pieces of 32, and a batch always holds 64 pieces, the last ones empty: as features are averaged over points, pieces
can be added up afterwards, and a row's bits depend on the shape of its batch alone, not on what stands beside it.

Shape letters: B particles, M pieces, P points of a piece, C columns of a point's row, D axes, F features, V views, U units.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.pcvae.data import ParticleSet, input_rows
from smlmbatch.methods.pcvae.rotations import even_rotations

if TYPE_CHECKING:
    import torch
    from torch import nn

PIECE: Final = 32  # points
_PIECES: Final = 64  # of a batch
_HALVES: Final = 0x4A1F  # first number of the key of the halves of locs
_HALVED: Final = 2048  # particles of which halves are encoded, at most
_SPLITS: Final = 4  # pairs of halves of each
_BATCH: Final = 64  # particles whose pieces are added up together


def encode(network: "nn.Module", particles: ParticleSet, *, views: int = 0, device: str = "cpu") -> NDArray[np.float32]:
    """Latents of each particle: (k, units) f4.

    Parameters
    ----------
    views : how many rotations to average over; 0 = as the recipe says; one, where latents can't depend on orientation

    Raises
    ------
    ConfigError
        particles the model is not made for
    """
    import torch

    from smlmbatch.methods.devices import steady

    config: Any = network.config
    encoder: Any = network.encoder
    network.to(device).eval()
    views = 1 if encoder.invariant else views or config.views
    turns = even_rotations(config.rotation, config.axes, views).to(device)
    found = np.empty((len(particles), config.units), np.float32)
    with torch.inference_mode(), steady():
        for first in range(0, len(particles), _BATCH):
            part = particles.take(np.arange(first, min(len(particles), first + _BATCH)))
            found[first : first + _BATCH] = _latents(network, input_rows(part, config), part.sizes, turns)
    return found


def encode_halves(
    network: "nn.Module", particles: ParticleSet, *, seed: int, views: int = 0, device: str = "cpu"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latents of two random halves of particles' locs, `_SPLITS` times: (`_SPLITS` * k, units) f4 each.

    Parameters
    ----------
    particles : of more than `_HALVED`, so many are taken at random; those of one loc are left out

    Raises
    ------
    ConfigError
        particles the model is not made for
    """
    two_or_more = np.flatnonzero(particles.sizes >= 2)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_HALVES,)))
    part = particles.take(np.sort(rng.permutation(two_or_more)[:_HALVED]))
    owner = np.repeat(np.arange(len(part)), part.sizes)
    found: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    for _ in range(_SPLITS):
        place = np.empty(len(owner), np.int64)
        place[np.lexsort((rng.random(len(owner)), owner))] = np.arange(len(owner))
        odd = (place - part.start[owner]) % 2 == 1
        for latents, half in zip(found, (~odd, odd), strict=True):
            latents.append(encode(network, part.with_points(half), views=views, device=device))
    return np.concatenate(found[0]), np.concatenate(found[1])


def _latents(network: Any, rows: NDArray[np.float32], sizes: NDArray[np.int64], turns: "torch.Tensor") -> NDArray[np.float32]:
    """Of up to `_BATCH` particles, whose rows stand one below the other."""
    import torch

    device = turns.device
    sums = torch.zeros((len(turns), _BATCH, network.encoder.columns), dtype=torch.float64, device=device)
    for piece, present, owner in _pieces(rows, sizes):
        points_MPC, present_MP = torch.from_numpy(piece).to(device), torch.from_numpy(present).to(device)
        owner_M = torch.from_numpy(owner).to(device)
        one_BM = (torch.arange(_BATCH, device=device)[:, None] == owner_M).double()
        for view, turn_DD in enumerate(turns):
            sums[view] += one_BM @ _piece_sums(network.encoder, points_MPC, present_MP, turn_DD).double()
    count = torch.ones(_BATCH, dtype=torch.float64, device=device)
    count[: len(sizes)] = torch.from_numpy(np.maximum(sizes, 1)).to(device)
    means = [network.encoder.of_pooled(total.float())[0].double() for total in sums / count[:, None]]
    mean_BU = torch.stack(means).mean(dim=0)
    return mean_BU[: len(sizes)].float().cpu().numpy()


def _piece_sums(encoder: Any, points_MPC: "torch.Tensor", present_MP: "torch.Tensor", turn_DD: "torch.Tensor") -> "torch.Tensor":
    import torch

    axes = len(turn_DD)
    turned = torch.cat([points_MPC[..., :axes] @ turn_DD.T, points_MPC[..., axes:]], dim=2)
    found: torch.Tensor = encoder.sums(turned, present_MP)
    return found


def _pieces(
    rows: NDArray[np.float32], sizes: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]]:
    """Batches of pieces (m, p, c), which of their points there are (m, p), and whose they are (m,), -1 = nobody's."""
    count = -(-sizes // PIECE)
    owner = np.repeat(np.arange(len(sizes)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    first = (np.cumsum(sizes) - sizes)[owner] + within * PIECE
    left = sizes[owner] - within * PIECE
    for begin in range(0, len(owner), _PIECES):
        chosen = slice(begin, begin + _PIECES)
        present = np.zeros((_PIECES, PIECE), bool)
        present[: len(first[chosen])] = np.arange(PIECE) < left[chosen, None]
        place = np.zeros((_PIECES, PIECE), np.int64)
        place[: len(first[chosen])] = first[chosen, None] + np.arange(PIECE)
        whose = np.full(_PIECES, -1, np.int64)
        whose[: len(first[chosen])] = owner[chosen]
        yield np.where(present[..., None], rows[np.minimum(place, len(rows) - 1)], np.float32(0)), present, whose
