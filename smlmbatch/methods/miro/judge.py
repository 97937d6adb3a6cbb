"""How well a model finds clusters: figures on simulated fields whose clusters are known, without and with blinking.

The fields are the same for all models, whatever they were trained on, and of seeds that no recipe can have.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.infer import find_clusters, group_paper
from smlmbatch.simulate.clusters import ClusterField, ClusterFields, draw_cluster_field

if TYPE_CHECKING:
    from torch import nn

    from smlmbatch.methods.miro.recipe import MiroConfig

FIELDS: Final = 12  # of a task and seed
FIRST_SEED: Final = 2**31  # recipes' seeds are smaller
TASKS: Final[Mapping[str, ClusterFields]] = MappingProxyType(
    {
        "without blinking": ClusterFields(blinking=0.0, empty=0.0, nested=0.0),
        "with blinking": ClusterFields(blinking=1.0, empty=0.0, nested=0.0),
    }
)
_FIGURES: Final = {"JI_c": "ji_c", "ARI_c": "ari_c", "AMI": "ami", "ARI": "ari", "IoU": "iou", "ARI†": "ari_dagger"}


def judge(network: "nn.Module", config: "MiroConfig", *, seeds: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Task → figure → mean over fields and seeds."""
    return {task: judge_task(network, config, family, seeds=seeds) for task, family in TASKS.items()}


def judge_task(network: "nn.Module", config: "MiroConfig", family: ClusterFields, *, seeds: tuple[int, ...]) -> dict[str, float]:
    """Figures of fields of one family, means over those where a figure is defined."""
    from smlmbatch.score.figures import score_field

    scores = []
    for seed in seeds:
        for number in range(FIELDS):
            field = draw_cluster_field(FIRST_SEED + seed, number, family)
            labels = labels_of(network, config, field)
            x_nm, y_nm = field.xy_nm.T
            scores.append(score_field(x_nm, y_nm, field.cluster, labels, truth_noise=0).to_dict())
    return {shown: float(np.nanmean([s[name] for s in scores])) for shown, name in _FIGURES.items()}


def labels_of(network: "nn.Module", config: "MiroConfig", field: ClusterField) -> NDArray[np.int32]:
    """What a network of either kind finds, by the rule that belongs to it: (n,) i4, -1 = in no cluster."""
    if config.network == "paper":
        return group_paper(network, field.xy_nm, config)
    return find_clusters(network, field.xy_nm).labels
