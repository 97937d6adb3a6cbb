"""How well a model with parents finds both scales: figures on simulated nested fields of seeds that no recipe can have."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.context import acquisition
from smlmbatch.methods.miro.judge import FIELDS, FIRST_SEED, mean_figures
from smlmbatch.methods.miro.two_scales import find_two_scales
from smlmbatch.simulate.clusters import ClusterField
from smlmbatch.simulate.nested import draw_nested_field

if TYPE_CHECKING:
    from torch import nn

LEAST_CHILD: Final = 4  # locs of a core: smaller children can't be found and count as background


def judge_scales(network: "nn.Module", *, seeds: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Scale → figure → mean over fields and seeds."""
    fields = [draw_nested_field(FIRST_SEED + seed, number) for seed in seeds for number in range(FIELDS)]
    found = [find_two_scales(network, field.xy_nm, taken=acquisition(blinking=field.blinking)) for field in fields]
    truths = [two_truths(field) for field in fields]
    return {
        "children": mean_figures(_with(fields, [child for child, _ in truths]), [own.labels for own in found]),
        "parents": mean_figures(_with(fields, [parent for _, parent in truths]), [own.of_parents() for own in found]),
    }


def two_truths(field: ClusterField) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Child, and parent, of each loc: (n,) i4, 0 = none; too small children are none."""
    large = np.where(field.size >= LEAST_CHILD, np.arange(len(field.size)) + 1, 0)
    child, parent = (np.concatenate([[0], of])[field.cluster].astype(np.int32) for of in (large, field.parent))
    return child, parent


def _with(fields: list[ClusterField], truth: list[NDArray[np.int32]]) -> list[ClusterField]:
    return [replace(field, cluster=own) for field, own in zip(fields, truth, strict=True)]
