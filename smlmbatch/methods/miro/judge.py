"""How well a model finds clusters: figures on simulated fields whose clusters are known, without and with blinking.

The fields are the same for all models, whatever they were trained on, and of seeds that no recipe can have.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import acquisition
from smlmbatch.methods.miro.features import Columns
from smlmbatch.methods.miro.infer import find_clusters, group_paper
from smlmbatch.simulate.acquired import draw_columns
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
    drawn = [(FIRST_SEED + seed, number) for seed in seeds for number in range(FIELDS)]
    fields = [draw_cluster_field(*key, family) for key in drawn]
    columns = [draw_columns(field, *key) if config.features else {} for field, key in zip(fields, drawn, strict=True)]
    return mean_figures(fields, [labels_of(network, config, field, own) for field, own in zip(fields, columns, strict=True)])


def mean_figures(fields: Sequence[ClusterField], labels: Sequence[NDArray[np.integer]]) -> dict[str, float]:
    """Of labels (n,) with -1 = in no cluster, one array a field."""
    from smlmbatch.score.figures import score_field

    pairs = zip(fields, labels, strict=True)
    scores = [score_field(f.xy_nm[:, 0], f.xy_nm[:, 1], f.cluster, own, truth_noise=0).to_dict() for f, own in pairs]
    return {shown: float(np.nanmean([s[name] for s in scores])) for shown, name in _FIGURES.items()}


def labels_of(
    network: "nn.Module", config: "MiroConfig", field: ClusterField, columns: Columns = MappingProxyType({})
) -> NDArray[np.int32]:
    """What a network of either kind finds, by the rule that belongs to it: (n,) i4, -1 = in no cluster."""
    if config.network == "paper":
        return group_paper(network, field.xy_nm, config)
    return find_clusters(network, field.xy_nm, taken=acquisition(blinking=field.blinking), columns=columns).labels
