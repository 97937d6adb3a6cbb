"""From locs of ROIs to embeddings: rasters, thinning, and the network in batches of one size.

A row's bits depend on the shape of the batch that it is computed in (measured: other kernels are chosen), so batches are cut at 64 rows
from the first, and the last is padded: the same ROI gives the same vector whatever stands beside it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ResourceError
from smlmbatch.raster import render_counts

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH: Final = 64  # rasters, turned ones counted
_VIEWS: Final = tuple((mirrored, turns) for mirrored in (False, True) for turns in range(4))  # upright first


def roi_counts(
    x_nm: NDArray[np.floating], y_nm: NDArray[np.floating], *, side_nm: float, side_px: int, origin_nm: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.uint32]:
    """Locs per pixel of one ROI whose lower corner is `origin_nm`, rows along y: (side_px, side_px) u4.

    A loc exactly on the upper edge counts to the last pixel, one beyond the ROI is left out.

    >>> roi_counts(np.array([0.0, 3000.0]), np.array([1500.0, 3000.0]), side_nm=3000.0, side_px=2).tolist()
    [[0, 0], [1, 1]]
    """
    return render_counts(x_nm, y_nm, origin_nm=origin_nm, pixel_nm=side_nm / side_px, shape=(side_px, side_px))


def thin_counts(counts: NDArray[np.integer], n_locs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rasters of exactly `n_locs` of each raster's locs, drawn without replacement: (n, h, w) i8 of (n, h, w).

    Rasters are drawn one after the other, so the result depends on nothing but the counts and the generator.

    Raises
    ------
    ValueError
        a raster has fewer locs
    """
    flat = np.ascontiguousarray(counts, dtype=np.int64).reshape(len(counts), -1)
    # "count" shuffles the locs themselves: 35 us a ROI of 1,000 to 50,000, where "marginals" takes 200 to 400
    drawn = [rng.multivariate_hypergeometric(pixels, n_locs, method="count") for pixels in flat]
    return np.array(drawn, dtype=np.int64).reshape(counts.shape)


def embed_counts(network: "nn.Module", counts: NDArray[np.integer], *, turned: bool, device: str = "cpu") -> NDArray[np.float32]:
    """Features of each raster: (n, features) f4 of (n, h, w); averaged over its 8 flips and quarter turns if `turned`.

    The network is put into evaluation mode, and moved to the device.

    Raises
    ------
    ResourceError
        the device is "cuda", and this process sees no GPU
    """
    import torch

    from smlmbatch.methods.devices import steady

    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError('embed.device = "cuda", but no GPU is in sight: ask for one (stage.embed.gres), or set embed.device = "cpu"')
    network.to(device).eval()
    n_views = len(_VIEWS) if turned else 1
    with torch.inference_mode(), steady():
        found = [_features(network, piece, n_views, device)[:n] for piece, n in _batches(counts, BATCH // n_views)]
        n_features = found[0].shape[1] if found else _features(network, counts[:0], 1, device).shape[1]
    return np.concatenate([np.empty((0, n_features), np.float32), *(piece.cpu().numpy() for piece in found)])


def _batches(counts: NDArray[np.integer], size: int) -> Iterator[tuple[NDArray[np.integer], int]]:
    """(`size` rasters, how many of them are real) from the first row on."""
    for start in range(0, len(counts), size):
        piece = counts[start : start + size]
        yield np.pad(piece, ((0, size - len(piece)), (0, 0), (0, 0))), len(piece)


def _features(network: "nn.Module", piece: NDArray[np.integer], n_views: int, device: str) -> "torch.Tensor":
    """Means over the first `n_views` views of each raster; all views go through the network at once."""
    import torch

    encode: Any = network.encode
    rasters = torch.from_numpy(piece.astype(np.float32)).to(device)
    flipped = {False: rasters, True: rasters.flip(2)}
    views = torch.cat([torch.rot90(flipped[mirrored], turns, (1, 2)) for mirrored, turns in _VIEWS[:n_views]])
    found: torch.Tensor = encode(views)
    return found.view(n_views, len(piece), found.shape[-1]).mean(dim=0)
