"""Nearest neighbours among embeddings: by plain distances, piece by piece, so that memory stays small and nothing is approximated.

At 128 features a tree is no faster than the product of matrices, and its answers would depend on how it was built. Squared distances
are taken from the product in float64; of equally near rows the earlier one is nearer.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PIECE: Final = 512  # rows at a time: with 20,000 others 80 MB of distances

Vectors = NDArray[np.floating]


def nearest(vectors: Vectors, others: Vectors, *, k: int) -> NDArray[np.intp]:
    """Rows of `others` nearest to each of `vectors`, nearest first.

    Parameters
    ----------
    vectors, others : (n, f) and (m, f)
    k : how many; all of `others` where it has fewer

    Returns
    -------
    (n, min(k, m)) intp
    """
    k = min(k, len(others))
    found = np.empty((len(vectors), k), dtype=np.intp)
    if not k:
        return found
    turned = np.ascontiguousarray(others.T, dtype=np.float64)
    squares = np.einsum("fm,fm->m", turned, turned)
    for start in range(0, len(vectors), _PIECE):
        # the vector's own square is the same for all others and orders nothing
        distance = squares - 2.0 * (vectors[start : start + _PIECE].astype(np.float64) @ turned)
        limit = np.partition(distance, k - 1, axis=1)[:, k - 1]
        for row, (own, most) in enumerate(zip(distance, limit, strict=True), start=start):
            near = np.flatnonzero(own <= most)  # with all that are as far as the k-th, so that the earlier rows win
            found[row] = near[np.argsort(own[near], kind="stable")[:k]]
    return found
