"""The encoder (ROI raster → 128-d vector) and the projection head that training adds and inference drops.

`paper` is the encoder of Shirgill et al. as far as it is stated (four convolutions of 3x3 and 2x2, channels 1-8-16, Mish, batch norm,
average pooling, one linear layer with layer norm). The default differs in three ways, each measured (ablation in the model's card):

- it pools over the whole map: a pattern means the same wherever it lies, and the flattened map of the paper costs much of that;
- it sees the ROI twice, as counts and as the counts it would have with a given number of locs: in the second map density plays next to
  no part, so form can be told from density instead of being drowned by it (ROIs of few locs are scaled less, else single locs shout);
- two convolutions of 4x4 with stride 2 and SiLU take the place of four with Mish: a third of the time.

Shape letters: B rasters, C channels, H W rows and columns, F features.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from smlmbatch.methods.layers import BatchNorm, Dropout, Mish

if TYPE_CHECKING:
    from smlmbatch.methods.contrastive.recipe import ContrastiveConfig

COUNTS: Final[dict[str, Any]] = {"raw": lambda c: c, "sqrt": torch.sqrt, "log1p": torch.log1p, "binary": lambda c: (c > 0).to(c.dtype)}


class Encoder(nn.Module):
    """Counts (B, H, W) → features (B, F)."""

    def __init__(self, config: "ContrastiveConfig") -> None:
        super().__init__()
        self.transform = COUNTS[config.counts]
        self.as_if_locs, self.as_if_prior = config.as_if_locs, config.as_if_prior
        few, many = config.channels
        self.body = nn.Sequential(
            *BODIES[config.encoder](2 if config.as_if_locs else 1, few, many, config.dropout),
            nn.AdaptiveAvgPool2d(config.pool),
            nn.Flatten(),
            nn.Linear(many * config.pool**2, config.features),
            nn.LayerNorm(config.features),
        )

    def forward(self, counts_BHW: Tensor) -> Tensor:
        maps = [self.transform(counts_BHW)]
        if self.as_if_locs:
            n_locs_B11 = counts_BHW.sum(dim=(1, 2), keepdim=True)
            maps.append(torch.log1p(counts_BHW * (self.as_if_locs / (n_locs_B11 + self.as_if_prior))))
        features_BF: Tensor = self.body(torch.stack(maps, dim=1))
        return features_BF


def _paper(inputs: int, few: int, many: int, dropout: float) -> list[nn.Module]:
    return [
        *_block(inputs, few, size=3, stride=1, padding=1, act=Mish()),
        *_block(few, few, size=2, stride=2, padding=0, act=Mish()),
        Dropout(dropout),
        *_block(few, many, size=3, stride=1, padding=1, act=Mish()),
        *_block(many, many, size=2, stride=2, padding=0, act=Mish()),
        Dropout(dropout),
    ]


def _quick(inputs: int, few: int, many: int, dropout: float) -> list[nn.Module]:
    return [
        *_block(inputs, few, size=4, stride=2, padding=1, act=nn.SiLU()),
        *_block(few, many, size=4, stride=2, padding=1, act=nn.SiLU()),
        Dropout(dropout),
    ]


def _block(inputs: int, outputs: int, *, size: int, stride: int, padding: int, act: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), BatchNorm(outputs), act]


BODIES: Final[dict[str, Any]] = {"paper": _paper, "quick": _quick}


class Head(nn.Module):
    """Features (B, F) → projections (B, 512), used by the loss alone."""

    def __init__(self, config: "ContrastiveConfig") -> None:
        super().__init__()
        sizes = (config.features, 256, 512, 512)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes[:-1]):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.LayerNorm(outputs), nn.Mish()]
        self.body = nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]), *([nn.Sigmoid()] if config.head == "sigmoid" else []))

    def forward(self, features_BF: Tensor) -> Tensor:
        projections: Tensor = self.body(features_BF)
        return projections


class ContrastiveNet(nn.Module):
    """Encoder and head; `forward` gives projections, `encode` features."""

    def __init__(self, config: "ContrastiveConfig") -> None:
        super().__init__()
        self.encoder, self.head = Encoder(config), Head(config)

    def encode(self, counts_BHW: Tensor) -> Tensor:
        features_BF: Tensor = self.encoder(counts_BHW)
        return features_BF

    def forward(self, counts_BHW: Tensor) -> Tensor:
        projections: Tensor = self.head(self.encode(counts_BHW))
        return projections
