"""Embeddings at equal numbers of locs: what is left of a difference when density is taken away.

Each ROI is thinned at random to the same number of locs and embedded again by the same network, several times with other draws. Two
numbers: the one of `[embeddings] n_locs` (900 per ROI = 100 per um2, as Shirgill et al.), and the 10th percentile of the condition
with the fewest, so that no condition loses more than a tenth of its ROIs. ROIs with fewer locs are left out and counted. A draw is keyed
by field, ROI, channel and repeat, so it is the same whatever else is embedded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.analyse.embedding_draw import THIN, generator
from smlmbatch.methods.contrastive.infer import embed_counts, roi_counts, thin_counts
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.work import FieldResult

if TYPE_CHECKING:
    from smlmbatch.methods.model import Model

TENTH: Final = 10  # percentile
LEAST_LOCS: Final = 10  # below, a draw is noise
RANDOM_REPEATS: Final = 3  # draws embedded by the untrained network: a baseline needs no more
_PIECE: Final = 512  # rasters held at once


@dataclass(frozen=True, slots=True)
class Place:
    """One ROI and channel of one field."""

    key: str
    roi: int
    channel: int


@dataclass(frozen=True, slots=True)
class Embedder:
    """Networks that turn rasters into vectors, and what they want: name → network."""

    networks: dict[str, Any]
    side_nm: float
    side_px: int
    turned: bool


def embedder(model: "Model", *, turned: bool, seed: int) -> Embedder:
    """The trained network as "embedding" and the same untrained, of a fixed seed, as "random encoder"."""
    from smlmbatch.methods.model import untrained

    networks = {"embedding": model.network, "random encoder": untrained(model, seed=seed)}
    return Embedder(networks, float(model.config.side_nm), int(model.config.side_px), turned)


def equal_numbers(n_locs: NDArray[np.integer], code: NDArray[np.integer], *, wanted: int) -> list[int]:
    """The numbers to thin to: the one wanted, and the 10th percentile of the condition that has the fewest.

    >>> equal_numbers(np.array([100, 200, 1000, 2000]), np.array([0, 0, 1, 1]), wanted=900)
    [900, 110]
    """
    if not len(n_locs):
        return [wanted]
    tenth = min(int(np.percentile(n_locs[code == one], TENTH)) for one in np.unique(code))
    return [wanted, *([tenth] if tenth >= LEAST_LOCS and tenth != wanted else [])]


def thinned_vectors(
    embedder: Embedder,
    name: str,
    rasters: NDArray[np.integer],
    places: Sequence[Place],
    *,
    n_locs: int,
    repeats: int,
    seed: int,
) -> NDArray[np.float32]:
    """(repeats, n, features) f4 of (n, h, w) rasters, each of which has at least `n_locs` locs."""
    drawn = ((repeat, row) for repeat in range(repeats) for row in range(len(rasters)))
    found = []
    for piece in _pieces(drawn):
        thinned = [thin_counts(rasters[row : row + 1], n_locs, _draw_of(places[row], repeat, seed)) for repeat, row in piece]
        found.append(embed_counts(embedder.networks[name], np.concatenate(thinned), turned=embedder.turned))
    vectors = np.concatenate(found) if found else np.empty((0, 0), np.float32)
    return vectors.reshape(repeats, len(rasters), -1) if len(rasters) else np.empty((repeats, 0, 0), np.float32)


def _pieces(drawn: Iterator[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    piece: list[tuple[int, int]] = []
    for one in drawn:
        piece.append(one)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _draw_of(place: Place, repeat: int, seed: int) -> np.random.Generator:
    return generator(seed, THIN, place.key, place.roi, place.channel, repeat)


def rasters_of(fields: Sequence[FieldResult], places: Sequence[Place], *, side_nm: float, side_px: int) -> Iterator[NDArray[np.uint32]]:
    """The raster of each place, (h, w) u4, in their order; a field is opened once if its places follow each other."""
    units = {result.field.key: result.units for result in fields}
    start = 0
    while start < len(places):
        key = places[start].key
        stop = start
        while stop < len(places) and places[stop].key == key:
            stop += 1
        with UnitReader(units[key]["ingest"]) as ingest, UnitReader(units[key]["tile"]) as tile:
            yield from _of_field(FieldLocs(ingest), tile.read("roi_origin_nm"), places[start:stop], side_nm=side_nm, side_px=side_px)
        start = stop


def _of_field(
    locs: FieldLocs, origin_nm: NDArray[np.float64], places: Sequence[Place], *, side_nm: float, side_px: int
) -> Iterator[NDArray[np.uint32]]:
    for place in places:
        x0_nm, y0_nm = (float(value) for value in origin_nm[place.roi])
        inside = locs.rectangle(x0_nm, y0_nm, x0_nm + side_nm, y0_nm + side_nm)
        own = inside.channel == place.channel
        yield roi_counts(inside.x_nm[own], inside.y_nm[own], side_nm=side_nm, side_px=side_px, origin_nm=(x0_nm, y0_nm))
