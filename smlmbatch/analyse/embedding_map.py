"""The map of ROIs in two dimensions, for the eye only: UMAP as Shirgill et al. draw it (15 neighbours, least distance 0.1).

Distances between groups on such a map mean little; scores and distances are taken in the embedding itself. Below 60 ROIs, where UMAP
would make islands of neighbourhoods that span the whole, the two leading principal axes take its place.

Neighbours are found exactly (`neighbours`) and handed over: UMAP's own search is approximate above 4,096 rows, and compiles for a minute
where it finds no cache. What is left of that takes six seconds.
"""

import warnings
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.embedding_order import principal_axes
from smlmbatch.analyse.neighbours import nearest

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

        model = UMAP(
            n_neighbors=NEIGHBOURS,
            min_dist=LEAST_DISTANCE,
            random_state=seed,
            n_jobs=1,
            init="spectral",
            precomputed_knn=(*_near(vectors.astype(np.float64)), None),
            force_approximation_algorithm=True,  # else neighbours handed over are not looked at below 4,096 rows
        )
        place = model.fit_transform(vectors.astype(np.float32))
    return Map(np.asarray(place, dtype=np.float32), "UMAP")


def _near(vectors: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Rows and distances of each row's nearest, itself among them, as UMAP wants them: (n, 15) both."""
    rows = nearest(vectors, vectors, k=NEIGHBOURS)
    distance = np.empty(rows.shape, dtype=np.float32)
    for column, near in zip(distance.T, rows.T, strict=True):
        column[:] = np.linalg.norm(vectors - vectors[near], axis=1)
    return rows, distance
