"""Clusters and what they make up: both scales of one field in memory, by a network with parents; `blocks` does the same for any field.

Up to step `parents_from` locs move to the middle of their cluster, from there on to the middle of its parent. So they are grouped twice: as
they lie after the last step of each kind. A cluster's parent is the group in which most of its locs end.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.methods.miro.context import NO_HINT, with_densities
from smlmbatch.methods.miro.family import parents_of
from smlmbatch.methods.miro.graph import build_graph
from smlmbatch.methods.miro.group import group_locs
from smlmbatch.methods.miro.infer import Contracted, contract_steps, told_to
from smlmbatch.methods.miro.windows import densities_of

if TYPE_CHECKING:
    from torch import nn

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TwoScales:
    """Both scales of n locs.

    Attributes
    ----------
    labels : (n,) i4, child of each loc, -1 = in none
    groups : (n,) i4, group of each loc after the last step, -1 = in none; of children without a parent too, and of locs in no child
    parent : (c,) i4, parent of each child, -1 = none
    child_places, parent_places : where locs lie after the steps for children and for parents
    """

    labels: Labels
    groups: Labels
    parent: Labels
    child_places: Contracted
    parent_places: Contracted

    def of_parents(self) -> Labels:
        """Parent of each loc in a child that has one, else -1: (n,) i4."""
        return np.append(self.parent, np.int32(-1))[self.labels]


def find_two_scales(network: "nn.Module", xy_nm: NDArray[np.floating], *, taken: NDArray[np.float32] | None = None) -> TwoScales:
    """Children and parents of one field.

    Parameters
    ----------
    xy_nm : (n, 2), nm, finite; any n
    taken : as `context.acquisition` gives it; None = nothing is known

    Raises
    ------
    ConfigError
        the network was trained without parents
    """
    config: Any = network.config
    if not config.parents_from:
        raise ConfigError(
            "this model knows clusters only, not what they make up: wanted one trained with parents_from > 0 (recipe multiscale)"
        )
    places: NDArray[np.float64] = np.asarray(xy_nm, dtype=np.float64)
    told, graph = told_to(network, taken=taken), build_graph(places)
    densities = densities_of(places, np.arange(len(places)), graph)
    context = with_densities(densities, told.taken, NO_HINT if told.hint is None else told.hint)
    child, last = contract_steps(network, places, graph, context, last=config.steps - config.parents_from + 1)
    labels, groups = (group_locs(own.xy_nm, own.belonging, own.radius_nm, rule=told.rule) for own in (child, last))
    return TwoScales(labels, groups, parents_of(labels, groups, row=np.arange(len(labels))), child, last)
