"""The parameter-weighted NT-Xent loss (Shirgill et al., Methods, "adapted NT-Xent").

For an anchor i with partner j and negatives k: -log( e^{s_ij/t} / (e^{s_ij/t} + sum_k w_ik e^{s_ik/t}) ), s the cosine, w_ik the
distance of the parameters that generated i and k over its mean: negatives made alike count little. As printed, w stands inside the
cosine, which is scale invariant, so that can't be meant; `outside` puts it before the exponential, `logit` into the exponent, `none`
leaves it out.

Shape letters: B anchors of this rank, A all ranks' vectors, P parameters, F projections.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

Weighting = Literal["outside", "logit", "none"]
_LEAST_WEIGHT = 1e-3  # its logarithm is added to a logit
_LARGEST_WEIGHT = 2.0  # `logit`: a larger weight acts as another temperature


def weighted_nt_xent(
    anchors_BF: Tensor,
    all_AF: Tensor,
    parameters_BP: Tensor,
    all_parameters_AP: Tensor,
    *,
    first: int,
    temperature: float,
    weighting: Weighting,
) -> tuple[Tensor, Tensor]:
    """Mean loss over the anchors, and the share of anchors whose partner is nearest of all.

    Vectors stand in pairs: partners are rows 2n and 2n + 1.

    Parameters
    ----------
    anchors_BF, all_AF : projections of this rank and of all ranks; this rank's are rows first ... first + B of all
    parameters_BP, all_parameters_AP : generative parameters, standardised
    """
    anchors_BF, all_AF = normalize(anchors_BF, dim=1), normalize(all_AF, dim=1)
    own_B = first + torch.arange(len(anchors_BF), device=anchors_BF.device)
    partner_B = own_B ^ 1
    logits_BA = anchors_BF @ all_AF.T / temperature
    if weighting != "none":
        weight_BA = parameter_weights(parameters_BP, all_parameters_AP, partner_B)
        if weighting == "outside":
            logits_BA = logits_BA + weight_BA.clamp(min=_LEAST_WEIGHT).log()
        else:
            logits_BA = logits_BA * weight_BA.clamp(max=_LARGEST_WEIGHT)
    logits_BA = logits_BA.scatter(1, own_B[:, None], -torch.inf)
    right_B = logits_BA.detach().argmax(dim=1) == partner_B
    return cross_entropy(logits_BA, partner_B), right_B.to(logits_BA.dtype).mean()


def parameter_weights(parameters_BP: Tensor, all_parameters_AP: Tensor, partner_B: Tensor) -> Tensor:
    """(B, A) distances of parameters over their mean among negatives of all ranks; 1 for the partner, which is no negative."""
    distance_BA = torch.cdist(parameters_BP, all_parameters_AP)
    n_all = len(all_parameters_AP)
    # Over all ranks' vectors, so that the mean is the same on each of them. A vector's own pair is at distance 0.
    among_all = distance_BA if parameters_BP is all_parameters_AP else torch.cdist(all_parameters_AP, all_parameters_AP)
    mean = among_all.sum() / max(1, n_all * (n_all - 2))
    return (distance_BA / mean.clamp(min=1e-12)).scatter(1, partner_B[:, None], 1.0)
