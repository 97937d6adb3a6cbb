"""Small fields, batches and networks for the tests of MIRO."""

import numpy as np
import torch

from smlmbatch.methods.miro.data import ARRAYS, RAGGED, training_field
from smlmbatch.methods.miro.recipe import Miro, MiroConfig

TINY = {"samples": 8, "shard_samples": 4, "validation_share": 0.5, "locs": (60, 200), "molecules": (5.0, 20.0), "batch": 2, "epochs": 1}


def tiny(**changes):
    """Settings of a network that runs in no time."""
    return MiroConfig(**(TINY | {"hidden": 8, "edge_hidden": 6, "steps": 4, "classes": 0} | changes))


def batch_of(config, numbers, *, double=False):
    """A batch as the loop hands it to a loss."""
    fields, batch = [training_field(config, number) for number in numbers], {}
    for name in ARRAYS:
        if name in RAGGED:
            values = np.concatenate([f[name] for f in fields])
            batch[name] = torch.from_numpy(values.astype(np.int64) if values.dtype.kind in "iu" else values)
            batch[f"{name}_sizes"] = torch.tensor([len(f[name]) for f in fields])
        else:
            batch[name] = torch.from_numpy(np.stack([f[name] for f in fields]))
    return {name: v.double() if double and v.is_floating_point() else v for name, v in batch.items()}


def fresh(config, seed=0):
    torch.manual_seed(seed)
    return Miro().build(config)
