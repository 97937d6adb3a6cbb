"""The loss: Chamfer distance of what is decoded, and the divergence of latents from a standard normal.

The weight of the divergence rises along a sigmoid, over a share of the steps that there really are: 5,000 steps, as published, would be
seven times as many as four epochs of 1,400 particles have. Total correlation (Chen et al. 2018, minibatch-weighted) is an option: latents
that say the same thing cost.

Shape letters: B particles of this rank, A of all ranks, U units.
"""

import math
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from smlmbatch.methods.pcvae.chamfer import chamfer

if TYPE_CHECKING:
    from smlmbatch.methods.method import Batch, Ranks
    from smlmbatch.methods.pcvae.recipe import PcvaeConfig

_STEEPNESS: Final = 12.0  # of the sigmoid: 0.0025 at its first step, 0.9975 at its last


def pcvae_loss(found: "Batch", config: "PcvaeConfig", ranks: "Ranks") -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and figures of what the network gave."""
    weight = found["weight"] if config.by_precision else None
    distance = chamfer(found["points"], found["present"], found["decoded"], weight_BP=weight).mean()
    nats_BU = divergence(found["mean"], found["log_variance"])
    beta = config.beta * warm_up(int(found["step"]), config)
    loss = distance + beta * nats_BU.sum(dim=1).mean()
    figures = {"chamfer": distance.detach(), "kl": nats_BU.detach().sum(dim=1).mean()}
    if config.total_correlation:
        told = ranks.gather(torch.cat([found["latent"], found["mean"], found["log_variance"]], dim=1))
        correlation = total_correlation(*told.chunk(3, dim=1), samples=config.samples)
        loss, figures["total_correlation"] = loss + config.total_correlation * correlation, correlation.detach()
    return loss, {"loss": loss.detach(), **figures}


def warm_up(step: int, config: "PcvaeConfig") -> float:
    """Share of the divergence's weight at a step; all of it in validation, whose step is -1."""
    if step < 0:
        return 1.0
    share = step / max(1.0, config.warm_up_share * config.steps)
    return 1.0 / (1.0 + math.exp(-_STEEPNESS * (min(share, 1.0) - 0.5)))


def divergence(mean_BU: Tensor, log_variance_BU: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each unit from a standard normal: (B, U), nats (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean_BU.square() + log_variance_BU.exp() - 1.0 - log_variance_BU)


def total_correlation(latent_AU: Tensor, mean_AU: Tensor, log_variance_AU: Tensor, *, samples: int) -> Tensor:
    """How much more latents say together than unit by unit, nats: E log q(z) - sum_u E log q(z_u), by minibatch weighting.

    Parameters
    ----------
    samples : particles that there are
    """
    miss_AAU = (latent_AU[:, None] - mean_AU) * torch.exp(-0.5 * log_variance_AU)
    log_q_AAU = -0.5 * (miss_AAU.square() + log_variance_AU + math.log(2.0 * math.pi))
    log_n = math.log(len(latent_AU) * samples)
    together = torch.logsumexp(log_q_AAU.sum(dim=2), dim=1) - log_n
    apart = (torch.logsumexp(log_q_AAU, dim=1) - log_n).sum(dim=1)
    return (together - apart).mean()
