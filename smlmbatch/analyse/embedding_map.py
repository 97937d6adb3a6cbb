"""The map of ROIs in two dimensions, for the eye only: UMAP as in the seed paper (15 neighbours, least distance 0.1).

Distances between groups on such a map mean little; scores and distances are taken in the embedding itself. Below 60 ROIs, where UMAP
would make islands of neighbourhoods that span the whole, the two leading principal axes take its place.
"""

import warnings
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.embedding_order import principal_axes

LEAST_ROIS: Final = 60
NEIGHBOURS: Final = 15
LEAST_DISTANCE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Map:
    """Places, (n, 2) f4, and how they were found."""

    place: NDArray[np.float32]
    manner: Literal["UMAP", "principal axes"]


def draw_map(vectors: NDArray[np.floating], *, seed: int) -> Map:
    """Places of (n, f) vectors; the same in every run: one thread, fixed seed."""
    if len(vectors) < LEAST_ROIS or len(np.unique(vectors, axis=0)) < LEAST_ROIS:
        return Map(principal_axes(vectors, 2).astype(np.float32), "principal axes")
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # that TensorFlow isn't there; that groups far apart are placed one by one
        from umap import UMAP

        model = UMAP(n_neighbors=NEIGHBOURS, min_dist=LEAST_DISTANCE, random_state=seed, n_jobs=1, init="spectral")
        place = model.fit_transform(vectors.astype(np.float32))
    return Map(np.asarray(place, dtype=np.float32), "UMAP")
