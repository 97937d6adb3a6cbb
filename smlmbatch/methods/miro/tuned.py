"""What a model that was tuned to one kind of clusters knows beforehand: their size, how fields were taken, what is too small to be one.

Hint and acquisition come from the clusters that a user marked, are part of the recipe (so they are there before training begins), and are
what the network was told in every training field: they take the place of whatever else would be told or found by a first pass. How locs
are linked to clusters is chosen once the network has learned, and lies with its weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import acquisition
from smlmbatch.methods.miro.group import Grouping

if TYPE_CHECKING:
    from smlmbatch.methods.miro.recipe import MiroConfig

BLINKING: Final[Mapping[str, bool | None]] = MappingProxyType({"": None, "yes": True, "no": False})


@dataclass(frozen=True, slots=True)
class Tuned:
    """Own knowledge of a tuned model.

    Attributes
    ----------
    hint : as `context.cluster_hint` gives it
    taken : as `context.acquisition` gives it
    rule : of grouping
    """

    hint: NDArray[np.float32]
    taken: NDArray[np.float32]
    rule: Grouping


def tuned_of(network: Any) -> Tuned | None:
    """Of a tuned network; None for a general one."""
    config = getattr(network, "config", None)
    if config is None or not config.templates:
        return None
    reach, core_locs = network.linking.tolist()
    rule = rule_from(config, reach=round(reach, 6), core_locs=round(core_locs))  # as it was before it was a float32
    return Tuned(hint_from(config), taken_from(config), rule)


def hint_from(config: "MiroConfig") -> NDArray[np.float32]:
    return np.array(config.tuned_hint, dtype=np.float32)


def taken_from(config: "MiroConfig") -> NDArray[np.float32]:
    return acquisition(blinking=BLINKING[config.tuned_blinking])


def rule_from(config: "MiroConfig", *, reach: float, core_locs: int) -> Grouping:
    """The rule with the links that were found best after learning; the shortest are as long as links must be."""
    low, high = Grouping().radius_nm
    shortest_nm = 1.5 / reach
    return Grouping(least_sum=config.tuned_least_sum, reach=reach, core_locs=core_locs, radius_nm=(max(low, shortest_nm), high))
