"""The published graph, for the recipe `paper`: a field squeezed into the unit square, Delaunay edges up to a reach, eigenvectors.

Positions are normalised per axis to 0 ... 1, so the unit of length is a field's extent. The features of locs are the absolute values of
five eigenvectors of the normalised Laplacian (torch-geometric's AddLaplacianEigenvectorPE(k=5, is_undirected=True) with signs dropped).
They hang on the whole field, cost more than linearly, and on a graph of several components are any basis of a degenerate space: all of
which is why the default recipe has none. The solver starts from a fixed vector, so that at least the same field gives the same numbers.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.methods.miro.graph import Graph, delaunay_pairs, directed_edges, row_jitter

N_EIGENVECTORS: Final = 5
_DENSE: Final = 100  # locs below which all eigenvectors are computed, as torch-geometric does


def build_paper_graph(xy_nm: NDArray[np.floating], *, reach: float) -> tuple[Graph, NDArray[np.float32]]:
    """The graph, with eigenvectors in place of local features, and the unit of length along each axis: (2,) f4, nm.

    Parameters
    ----------
    reach : longest edge in the unit square; published are 0.1 and 0.2
    """
    low, high = xy_nm.min(axis=0, initial=np.inf), xy_nm.max(axis=0, initial=-np.inf)
    extent_nm = np.where(high > low, high - low, 1.0).astype(np.float64)
    # the jitter in nm: cocircular quadruples stay cocircular under no squeeze, but duplicates must be told apart
    square = (xy_nm.astype(np.float64) + row_jitter(np.arange(len(xy_nm))) - low) / extent_nm if len(xy_nm) else np.empty((0, 2))
    source, start = directed_edges(delaunay_pairs(square, largest_circle_nm=np.inf, longest_nm=reach), len(xy_nm))
    graph = Graph(source, start, laplacian_eigenvectors(source, start))
    return graph, (reach * extent_nm).astype(np.float32)


def laplacian_eigenvectors(source: NDArray[np.int64], start: NDArray[np.int64]) -> NDArray[np.float32]:
    """Absolute values of the eigenvectors after the first, by eigenvalue: (n, N_EIGENVECTORS) f4, 0 where there are fewer."""
    n = len(start) - 1
    found = np.zeros((n, N_EIGENVECTORS), dtype=np.float32)
    if n > 1:
        vectors = _lowest(_normalised_laplacian(source, start), min(n, N_EIGENVECTORS + 1))[:, 1:]
        found[:, : vectors.shape[1]] = np.abs(vectors)
    return found


def _normalised_laplacian(source: NDArray[np.int64], start: NDArray[np.int64]) -> Any:
    """I - D^-1/2 A D^-1/2, sparse; an isolated loc has a 1 on the diagonal."""
    from scipy.sparse import csr_array, eye_array

    n = len(start) - 1
    degree = np.diff(start)
    scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0.0)
    weights = -scale[source] * np.repeat(scale, degree)
    return csr_array(csr_array((weights, source, start), shape=(n, n)) + eye_array(n, format="csr"))


def _lowest(laplacian: Any, k: int) -> NDArray[np.float64]:
    """Eigenvectors of the k lowest eigenvalues, in their order: (n, k)."""
    from scipy.sparse.linalg import eigsh

    n = laplacian.shape[0]
    if n < _DENSE:
        return np.asarray(np.linalg.eigh(laplacian.toarray())[1][:, :k])
    start = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(n,))).normal(size=n)
    values, vectors = eigsh(laplacian, k=k, which="SA", v0=start)
    return np.asarray(vectors[:, np.argsort(values)])
