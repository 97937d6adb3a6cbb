"""What a network may see of a loc besides its place: one number for each of a recipe's `features`, beside those of the neighbourhood.

frame : how soon something was seen beside it, log(1 + frames) to the nearest in time of the locs that it shares an edge with. Blinks of one
    molecule follow each other within frames to seconds, molecules of a cluster don't. A frame number itself says nothing.
photons, precision : logarithm over the channel's median, so that no camera's units matter

0 = nothing known, which is also what is typical. The shipped model sees none of these: files differ in what they hold and in what they mean
by it, and places they all have.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.graph import Graph

# feature → column of a loc that it is made of
COLUMNS: Final[Mapping[str, str]] = MappingProxyType({"frame": "frame", "photons": "photons", "precision": "precision_nm"})
_FARTHEST_FRAMES: Final = 1000  # later than that nothing follows from it
_TYPICAL_FRAMES: Final = 100
_FAR_LOG: Final = 3.0  # e^3 = 20 times the median and more are the same
Columns = Mapping[str, NDArray[np.generic] | None]


def columns_for(features: Sequence[str]) -> tuple[str, ...]:
    """Columns of locs that a network with these features looks at."""
    return tuple(COLUMNS[name] for name in features)


def medians_of(features: Sequence[str], columns: Columns) -> dict[str, float]:
    """Medians of a whole channel that its locs are held against, by column; of those that it has."""
    found = {}
    for name in columns_for(features):
        values = columns.get(name)
        if name != COLUMNS["frame"] and values is not None:
            known = np.asarray(values, dtype=np.float64)
            known = known[np.isfinite(known) & (known > 0)]
            if len(known):
                found[name] = float(np.median(known))
    return found


def with_features(graph: Graph, features: Sequence[str], columns: Columns, medians: Mapping[str, float]) -> Graph:
    """The graph with a number more in `local` for each feature.

    Parameters
    ----------
    features : of the recipe, keys of `COLUMNS`
    columns : column → (n,) of the graph's locs; None or missing = the file has none
    medians : as `medians_of` gives them for the whole channel, so that no number hangs on where a field is cut
    """
    if not features:
        return graph
    found = [_MADE[name](graph, columns.get(COLUMNS[name]), medians.get(COLUMNS[name])) for name in features]
    return dataclasses.replace(graph, local=np.column_stack([graph.local, *found]).astype(np.float32))


def _soon(graph: Graph, frame: NDArray[np.generic] | None, median: float | None) -> NDArray[np.float64]:
    """Log of the frames to the nearest in time of a loc's neighbours, over what is typical; of a loc without any, the most."""
    n = len(graph.local)
    if frame is None:
        return np.zeros(n)
    at = np.asarray(frame, dtype=np.int64)
    gap = np.minimum(np.abs(at[graph.source] - at[graph.target]), _FARTHEST_FRAMES)
    nearest = np.full(n, _FARTHEST_FRAMES)
    np.minimum.at(nearest, graph.target, gap)
    return np.log((1.0 + nearest) / (1.0 + _TYPICAL_FRAMES))


def _over_median(graph: Graph, values: NDArray[np.generic] | None, median: float | None) -> NDArray[np.float64]:
    if values is None or median is None:
        return np.zeros(len(graph.local))
    known = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(known > 0, known, np.nan) / median)
    return np.asarray(np.nan_to_num(np.clip(logs, -_FAR_LOG, _FAR_LOG)))


_MADE: Final[Mapping[str, Callable[[Graph, NDArray[np.generic] | None, float | None], NDArray[np.float64]]]] = MappingProxyType(
    {"frame": _soon, "photons": _over_median, "precision": _over_median}
)
