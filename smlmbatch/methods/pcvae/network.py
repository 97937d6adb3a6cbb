"""The network: what each point tells is averaged over a particle, a latent vector is made of it, and points are made of that again.

`encoder`: each point goes through the same layers by itself (Qi et al. 2017), and a mean over those there are makes a vector of the
particle; so neither their order nor their number nor padding plays a part. `paper`: coordinates in, as published. `quick`, the default:

- of particles that turn in the plane, a point tells its distance from the axis, its z and its extras. Beside the mean of each feature
  there is the length of its first angular moment, |mean of feature * exp(i angle)|, which tells how far the particle lies off the axis
  and how it is tilted. All of this stays as it is when the particle is turned, so latents can't hold an orientation. Where particles
  turn in space, coordinates go in, and the distance from the centre;
- means are standardised over the batch. Particles differ by a few per cent of what they have in common; a network that sees mostly the
  common part takes thousands of steps until its decoder makes use of latents, and small differences (a height) never come up.

`nested`, half by default: in training so many particles are decoded from their first 1 to U units, their number drawn each time (nested
dropout: Rippel, Gelbart & Adams 2014). What tells most goes into the first units, so modes that vary alike don't mix at random; of all
particles, a mode that is hard to see may be learned too late.

`decoder`: `quick`, three layers to all coordinates at once; `paper`, as published: 256-512-1024 with tanh and batch normalisation, a
skip at 1024, two pointwise convolutions of 1024 channels, attention of four heads, and an output. What is published doesn't say how one
vector becomes a sequence; here each point has a learned vector of its own that is added, so that the convolutions see a point each, and
the attention mixes them.

Shape letters: B particles, P places of padded particles, Q decoded points, C columns of a point's row, D axes, F features, U units.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from smlmbatch.methods.layers import BatchNorm, Keyed
from smlmbatch.methods.pcvae.data import extras_of
from smlmbatch.methods.pcvae.draws import normal, uniform
from smlmbatch.methods.pcvae.rotations import DRAWS, drawn_rotations

if TYPE_CHECKING:
    from smlmbatch.methods.pcvae.recipe import PcvaeConfig

_PICK, _TURN, _NOISE, _KEPT = 0, 1, 2, 3  # last number of the key of what is drawn
_LOG_VARIANCE: Final = 10.0  # at most, either way
_HEADS: Final = 4
_FOLLOW: Final = 0.02  # weight of a batch in running statistics: batches are small
_LEAST_SQUARE: Final = 1e-12  # a root has no slope at 0


class Preparation(Keyed):
    """Ragged rows → padded particles; in training of points drawn anew, and turned at random."""

    def __init__(self, config: "PcvaeConfig") -> None:
        super().__init__()
        self.points, self.axes, self.rotation, self.nested = config.points, config.axes, config.rotation, config.nested

    def forward(self, rows_NC: Tensor, size_B: Tensor, number_B: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, P, C) and which there are (B, P)."""
        first_B1, size_B1 = (size_B.cumsum(0) - size_B)[:, None], size_B[:, None]
        shift_B1 = uniform((*self.key, _PICK), number_B, 1) if self.training else torch.full_like(size_B1, 0.5, dtype=torch.float32)
        place_P = torch.arange(self.points, device=rows_NC.device)
        # of more points than places, one of each stretch of them: an even draw, without sorting
        drawn_BP = (place_P * size_B1 + (shift_B1 * size_B1).long().minimum(size_B1 - 1)) // self.points
        row_BP = torch.where(size_B1 > self.points, drawn_BP, place_P.minimum(size_B1 - 1).clamp(min=0))
        rows_BPC = rows_NC[(first_B1 + row_BP).clamp(max=max(0, len(rows_NC) - 1))]
        if self.training:
            turn_BDD = drawn_rotations(self.rotation, self.axes, uniform((*self.key, _TURN), number_B, DRAWS)).to(rows_NC.dtype)
            turned_BPD = rows_BPC[..., : self.axes] @ turn_BDD.transpose(1, 2)
            rows_BPC = torch.cat([turned_BPD, rows_BPC[..., self.axes :]], dim=2)
        return rows_BPC, place_P < size_B1

    def noise(self, number_B: Tensor, units: int) -> Tensor:
        """For latents: standard normal in training, else none; (B, U)."""
        if self.training:
            return normal((*self.key, _NOISE), number_B, units)
        return torch.zeros((len(number_B), units), device=number_B.device)

    def kept(self, number_B: Tensor, units: int) -> Tensor:
        """Which units a particle is decoded from in training: (B, U) f4 of 0 and 1; of the share `nested`, the first so many."""
        whether_B1, how_many_B1 = uniform((*self.key, _KEPT), number_B, 2).chunk(2, dim=1)
        count_B1 = torch.where(whether_B1 < self.nested, 1.0 + torch.floor(how_many_B1 * units), float(units))
        return (torch.arange(units, device=number_B.device) < count_B1).float()


class Norm(nn.Module):
    """Batch normalisation over the points that there are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(channels)

    def forward(self, features_BPF: Tensor, present_BP: Tensor) -> Tensor:
        if not self.training:
            found: Tensor = self.norm(features_BPF.flatten(0, 1)).view_as(features_BPF)
            return found
        found = torch.zeros_like(features_BPF)
        found[present_BP] = self.norm(features_BPF[present_BP])
        return found


class Encoder(nn.Module):
    """Points → mean and log variance of the latent vector."""

    def __init__(self, config: "PcvaeConfig") -> None:
        super().__init__()
        self.axes, self.extras, ours = config.axes, len(extras_of(config)), config.encoder == "quick"
        self.invariant = ours and config.rotation == "plane"
        self.flat = 2 if config.rotation == "plane" else config.axes  # coordinates that turn into one another
        self.distance = ours and config.rotation != "none"
        told = config.distance_nm if config.distance_nm != (0.0, 0.0) else (0.0, config.unit_nm)
        self.distance_mean, self.distance_sd = (number / config.unit_nm for number in told)
        self.first = 2 if self.invariant else 0  # of the columns that each point tells as they are
        sizes = (config.axes - self.first + self.extras + self.distance, *config.widths)
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=not config.normalised) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(Norm(b) for b in config.widths) if config.normalised else None
        self.features = config.widths[-1]
        self.columns = self.features * (3 if self.invariant else 1)  # of sums over points
        pooled = self.features * (2 if self.invariant else 1)
        self.pooled_norm = BatchNorm(pooled, momentum=_FOLLOW) if ours else None
        self.head = nn.Sequential(*_head(config, pooled))
        self.mean = nn.Linear(_last(config), config.units)
        self.log_variance = nn.Linear(_last(config), config.units)

    def sums(self, rows_BPC: Tensor, present_BP: Tensor) -> Tensor:
        """What a particle's points tell, added up: (B, `columns`); of a particle in pieces, the pieces' sums can be added."""
        found_BPF = self._of_points(rows_BPC, present_BP)
        there_BP1 = present_BP.to(found_BPF.dtype)[..., None]
        if not self.invariant:
            return (there_BP1.transpose(1, 2) @ found_BPF)[:, 0]
        flat_BPD = rows_BPC[..., :2]
        outward_BPD = flat_BPD / flat_BPD.norm(dim=2, keepdim=True).clamp(min=_LEAST_SQUARE)  # cosine and sine of the angle about z
        return (torch.cat([there_BP1, outward_BPD * there_BP1], dim=2).transpose(1, 2) @ found_BPF).flatten(1)

    def _of_points(self, rows_BPC: Tensor, present_BP: Tensor) -> Tensor:
        """What each point tells: (B, P, F)."""
        found_BPF = rows_BPC[..., self.first : self.axes + self.extras]
        if self.distance:
            away_BP1 = rows_BPC[..., : self.flat].norm(dim=2, keepdim=True)
            found_BPF = torch.cat([found_BPF, (away_BP1 - self.distance_mean) / self.distance_sd], dim=2)
        for number, layer in enumerate(self.layers):
            found_BPF = layer(found_BPF)
            if self.norms is not None:
                found_BPF = self.norms[number](found_BPF, present_BP)
            found_BPF = torch.relu(found_BPF)
        return found_BPF

    def of_pooled(self, mean_BS: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log variance) of latents, (B, U) each, of sums over each particle's points, divided by their number."""
        pooled_BF = mean_BS
        if self.invariant:
            plain_BF, cosine_BF, sine_BF = mean_BS.chunk(3, dim=1)
            pooled_BF = torch.cat([plain_BF, (cosine_BF.square() + sine_BF.square() + _LEAST_SQUARE).sqrt()], dim=1)
        if self.pooled_norm is not None:
            pooled_BF = self.pooled_norm(pooled_BF)
        found_BF = self.head(pooled_BF)
        return self.mean(found_BF), self.log_variance(found_BF).clamp(-_LOG_VARIANCE, _LOG_VARIANCE)

    def forward(self, rows_BPC: Tensor, present_BP: Tensor) -> tuple[Tensor, Tensor]:
        return self.of_pooled(self.sums(rows_BPC, present_BP) / present_BP.sum(dim=1, keepdim=True).clamp(min=1))


def _head(config: "PcvaeConfig", pooled: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Linear(pooled, config.hidden), nn.ReLU()]
    return [*layers, nn.Linear(config.hidden, config.hidden // 2), nn.ReLU()] if config.normalised else layers


def _last(config: "PcvaeConfig") -> int:
    return config.hidden // 2 if config.normalised else config.hidden


class QuickDecoder(nn.Module):
    """Latents (B, U) → points (B, Q, D)."""

    def __init__(self, config: "PcvaeConfig") -> None:
        super().__init__()
        self.shape = (config.decoded, config.axes)
        wide = (config.units, config.hidden, 2 * config.hidden)
        self.body = nn.Sequential(
            *(layer for a, b in pairwise(wide) for layer in (nn.Linear(a, b), nn.ReLU())),
            nn.Linear(wide[-1], config.decoded * config.axes),
        )

    def forward(self, latent_BU: Tensor) -> Tensor:
        found: Tensor = self.body(latent_BU).unflatten(1, self.shape)
        return found


class PaperDecoder(nn.Module):
    """Latents (B, U) → points (B, Q, D), as published."""

    def __init__(self, config: "PcvaeConfig") -> None:
        super().__init__()
        sizes = (config.units, 256, 512, 1024)
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(BatchNorm(b) for b in sizes[1:])
        self.skip = nn.Linear(1024, 1024)
        self.place = nn.Parameter(torch.randn(config.decoded, 1024))
        self.local = nn.ModuleList(nn.Linear(1024, 1024) for _ in range(2))  # of each point by itself
        self.attention = nn.MultiheadAttention(1024, _HEADS, batch_first=True)
        self.out = nn.Linear(1024, config.axes)

    def forward(self, latent_BU: Tensor) -> Tensor:
        found_BF = latent_BU
        for layer, norm in zip(self.layers, self.norms, strict=True):
            found_BF = torch.tanh(norm(layer(found_BF)))
        found_BF = found_BF + torch.tanh(self.skip(found_BF))
        points_BQF = found_BF[:, None] + self.place
        for local in self.local:
            points_BQF = torch.tanh(local(points_BQF))
        mixed_BQF, _ = self.attention(points_BQF, points_BQF, points_BQF, need_weights=False)
        out: Tensor = self.out(points_BQF + mixed_BQF)
        return out


DECODERS: Final[dict[str, Any]] = {"quick": QuickDecoder, "paper": PaperDecoder}


class PcvaeNet(nn.Module):
    """Encoder and decoder; `forward` is a step of training, or of validation."""

    def __init__(self, config: "PcvaeConfig") -> None:
        super().__init__()
        self.config = config
        self.preparation, self.encoder = Preparation(config), Encoder(config)
        self.decoder = DECODERS[config.decoder](config)

    def forward(self, rows_NC: Tensor, size_B: Tensor, number_B: Tensor) -> dict[str, Tensor]:
        """Of ragged rows, with how much each point counts as their last column.

        Returns
        -------
        points (B, P, D) as they were turned, present (B, P), weight (B, P), mean, log_variance, latent (B, U), decoded (B, Q, D), and the
        step that this is
        """
        with torch.autocast(rows_NC.device.type, enabled=False):
            rows_BPC, present_BP = self.preparation(rows_NC, size_B, number_B)
            noise_BU = self.preparation.noise(number_B, self.config.units).to(rows_NC.dtype)
        mean_BU, log_variance_BU = self.encoder(rows_BPC, present_BP)
        latent_BU = mean_BU + noise_BU * torch.exp(0.5 * log_variance_BU)
        told_BU = latent_BU
        if self.training and self.config.nested:
            told_BU = latent_BU * self.preparation.kept(number_B, self.config.units).to(latent_BU.dtype)
        return {
            "points": rows_BPC[..., : self.config.axes],
            "present": present_BP,
            "weight": rows_BPC[..., -1],
            "mean": mean_BU,
            "log_variance": log_variance_BU,
            "latent": latent_BU,
            "decoded": self.decoder(told_BU),
            "step": torch.tensor(self.preparation.key[-1] if self.training else -1),
        }
