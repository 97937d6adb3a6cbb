"""What of a field lies outside of what a model was trained on, in sentences, so that nobody takes its clusters for more than a guess.

Judged from the contexts of its locs alone: how far apart locs lie in a window about each, and how large the clusters are that a first pass
finds or a user tells. Windows outside of what was trained on are told of where a tenth of the locs lies in such.
Fields drawn from the recipe itself give no sentence. A model tuned to marked clusters says nothing here: it was not trained on ranges.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import LOCS_UNIT, N_ACQUISITION, N_CONTEXT, N_HINT
from smlmbatch.methods.miro.graph import UNIT_NM

if TYPE_CHECKING:
    from smlmbatch.methods.miro.recipe import MiroConfig

# places in the context: quantiles 10, 50, 90 % of the distances to neighbours 1, 4, 16, 32
_MEDIAN_D4: Final = 4
_SPARSEST_D16: Final = 8
_BLINKS: Final = N_CONTEXT - N_HINT - N_ACQUISITION  # known, yes
_HINT: Final = N_CONTEXT - N_HINT  # there, log radius, its sd, log locs, its sd
_NM2_PER_UM2: Final = 1e6
_SHARE: Final = 0.1  # of locs: a field's rim and the glass beside a cell hold fewer
_SAME: Final = 1e-3  # of a limit: float32


def unseen(context: NDArray[np.float32], config: "MiroConfig") -> list[str]:
    """Sentences about a field of this context, (N_CONTEXT,) or (n, N_CONTEXT) of its locs; none for one like those of the recipe."""
    if config.templates:
        return []
    contexts = np.atleast_2d(context)
    found = [_too_sparse(contexts, config), _too_dense(contexts, config)]
    if contexts[0, _HINT]:  # told to all the same
        found += [_too_wide(contexts[0], config), _too_full(contexts[0], config)]
    return [sentence for sentence in found if sentence]


def _too_sparse(contexts: NDArray[np.float32], config: "MiroConfig") -> str:
    """A window's typical fourth neighbour is typically farther than in the sparsest field of the recipe without any cluster."""
    least = config.locs[0] / config.side_um[1] ** 2
    farthest_nm = neighbour_nm(4, least)
    share = float((_length(contexts[:, _MEDIAN_D4]) > farthest_nm * (1 + _SAME)).mean())
    if share < _SHARE:
        return ""
    return f"sparser than what the model was trained on: {share:.0%} of the locs lie where the fourth neighbour is typically more than \
{farthest_nm:.0f} nm away; trained on {least:.0f} locs per um2 or more"


def _too_dense(contexts: NDArray[np.float32], config: "MiroConfig") -> str:
    """Even the sparsest tenth of a window lies closer than the locs of the recipe's densest field would if it had no cluster."""
    most = 2 * config.locs[1] / config.side_um[0] ** 2  # fields whose molecules blink hold twice as many
    nearest_nm = neighbour_nm(16, most)
    share = float((_length(contexts[:, _SPARSEST_D16]) < nearest_nm * (1 - _SAME)).mean())
    if share < _SHARE:
        return ""
    return f"denser than what the model was trained on: {share:.0%} of the locs lie where nine tenths have their 16th neighbour within \
{nearest_nm:.0f} nm; trained on {most:,.0f} locs per um2 or fewer"


def _too_wide(context: NDArray[np.float32], config: "MiroConfig") -> str:
    radius_nm, most_nm = float(_length(context[_HINT + 1])), config.rms_nm[1]
    if radius_nm <= most_nm * (1 + _SAME):
        return ""
    return f"clusters are typically {radius_nm:.0f} nm wide (rms radius); the model was trained on {most_nm:.0f} nm or less"


def _too_full(context: NDArray[np.float32], config: "MiroConfig") -> str:
    blinking = bool(context[_BLINKS + 1]) if context[_BLINKS] else True
    n_locs = float(np.exp(context[_HINT + 3])) * LOCS_UNIT
    most = config.molecules[1] * (config.blinks[1] if blinking else 1.0)
    if n_locs <= most * (1 + _SAME):
        return ""
    return f"clusters typically hold {n_locs:,.0f} locs; the model was trained on {most:,.0f} or fewer"


def neighbour_nm(k: int, per_um2: float) -> float:
    """Root mean square distance to the k-th neighbour in a field of such density without any order, nm: sqrt(k / (pi density))."""
    return float(np.sqrt(k / (np.pi * per_um2 / _NM2_PER_UM2)))


def _length(logarithm: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.exp(np.asarray(logarithm, dtype=np.float64)) * UNIT_NM)
