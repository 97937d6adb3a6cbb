"""Pictures of embedded ROIs: small grey ones of many in one image for the map, larger ones of a few as examples.

Brightness is the logarithm of the locs per pixel, on one scale for all pictures, so a dense ROI looks dense: a picture scaled by itself
would hide the very thing that has to be told from architecture. Small ones have at most 64 pixels a side, what the network's raster
has or a whole part of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.raster import render_counts
from smlmbatch.report.field_render import blur_nm, zoom_counts, zoom_view
from smlmbatch.report.pictures import SHADES, png, spread_evenly
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.work import FieldResult

SMALL_PX = 64
_GREYS = 12
_ABREAST = 50  # pictures in a row of the sheet
_SHEET_LETTERS = 3_000_000  # of the sheet as text; the page stays below 5 MB
_MOST_SMALL = 2000  # ROIs with a small picture, of all channels
_MOST_FIELDS = 400  # fields opened for them: each is read once, 0.01 to 0.1 s
_TOP_PERCENTILE = 99.7  # of lit pixels; above it all are equally bright
_EXAMPLE_PX = 150

Place = tuple[str, int, int | None]  # field's key, ROI, channel


@dataclass(frozen=True, slots=True)
class Sheet:
    """Small pictures in one image, `abreast` in a row, each `side_px` wide; `number` of those that have one."""

    image: str
    side_px: int
    abreast: int
    number: Mapping[Place, int]


def choose_places(places: Sequence[Place], group: Sequence[object], *, most: int = _MOST_SMALL) -> list[Place]:
    """ROIs that get a small picture: evenly over the groups, and of no more fields than can be read in half a minute.

    Parameters
    ----------
    group : what each place belongs to (channel, condition)
    """
    fields = _even_fields(places, group)
    members: dict[object, list[int]] = {}
    for i, (place, own) in enumerate(zip(places, group, strict=True)):
        if place[0] in fields:
            members.setdefault(own, []).append(i)
    return [places[i] for i in spread_evenly(list(members.values()), most=most)]


def _even_fields(places: Sequence[Place], group: Sequence[object]) -> set[str]:
    """Fields to read, evenly over the groups."""
    own: dict[object, dict[str, None]] = {}
    for place, name in zip(places, group, strict=True):
        own.setdefault(name, {})[place[0]] = None
    names = list(dict.fromkeys(key for keys in own.values() for key in keys))
    number = {key: i for i, key in enumerate(names)}
    return {names[i] for i in spread_evenly([[number[key] for key in keys] for keys in own.values()], most=_MOST_FIELDS)}


def small_pictures(results: Mapping[str, FieldResult], places: Sequence[Place], *, side_px: int) -> Sheet:
    """The sheet of these ROIs; where it would be too large for a page, of fewer of them, evenly.

    Parameters
    ----------
    results : by the field's key
    side_px : side of the network's raster
    """
    side_px //= max(1, -(-side_px // SMALL_PX))
    counts = _read_small(results, places, side_px)
    chosen = list(counts)
    while True:
        shades = _grey([counts[place] for place in chosen])
        image = png(_sheet(shades, side_px), _grey_palette()) if chosen else ""
        if len(image) <= _SHEET_LETTERS:
            return Sheet(image, side_px, _ABREAST, {place: i for i, place in enumerate(chosen)})
        fewer = int(0.95 * len(chosen) * _SHEET_LETTERS / len(image))
        chosen = [chosen[i] for i in spread_evenly([range(len(chosen))], most=fewer)]


def _read_small(results: Mapping[str, FieldResult], places: Sequence[Place], side_px: int) -> dict[Place, NDArray[np.uint32]]:
    """Locs per pixel of each ROI, in the order of `places`."""
    found = {}
    for key, own in _by_field(places).items():
        with UnitReader(results[key].units["ingest"]) as ingest, UnitReader(results[key].units["tile"]) as tile:
            locs, corners, side_nm = FieldLocs(ingest), tile.read("roi_origin_nm"), float(tile.attrs["roi_nm"])
            for place in sorted(own, key=lambda place: (corners[place[1]][1], place)):  # band after band of a large field
                x_nm, y_nm = (float(v) for v in corners[place[1]])
                inside = locs.rectangle(x_nm, y_nm, x_nm + side_nm, y_nm + side_nm)
                mine = slice(None) if place[2] is None else inside.channel == place[2]
                found[place] = render_counts(
                    inside.x_nm[mine], inside.y_nm[mine], origin_nm=(x_nm, y_nm), pixel_nm=side_nm / side_px, shape=(side_px, side_px)
                )
    return {place: found[place] for place in places}


def _by_field(places: Iterable[Place]) -> dict[str, list[Place]]:
    groups: dict[str, list[Place]] = {}
    for place in places:
        groups.setdefault(place[0], []).append(place)
    return groups


def _grey(counts: Sequence[NDArray[np.uint32]]) -> list[NDArray[np.uint8]]:
    """Shades on one scale; a lit pixel is never dark."""
    lit = [values[values > 0] for values in counts]
    every = np.concatenate(lit) if lit else np.ones(1)
    top = float(np.percentile(every, _TOP_PERCENTILE)) if len(every) else 1.0
    levels = [np.ceil(np.minimum(np.log1p(values) / np.log1p(top), 1.0) * (_GREYS - 1)) for values in counts]
    return [values.astype(np.uint8) for values in levels]


def _grey_palette() -> bytes:
    """Black to white, the first step a wide one: single locs are seen."""
    ramp = np.concatenate([[0.0], np.linspace(0.3, 1.0, _GREYS - 1)])
    return np.repeat(np.round(255 * ramp).astype(np.uint8), 3).tobytes()


def _sheet(shades: Sequence[NDArray[np.uint8]], side_px: int) -> NDArray[np.uint8]:
    rows = -(-len(shades) // _ABREAST)
    sheet = np.zeros((rows * side_px, min(len(shades), _ABREAST) * side_px), dtype=np.uint8)
    for i, values in enumerate(shades):
        row, column = divmod(i, _ABREAST)
        sheet[row * side_px : (row + 1) * side_px, column * side_px : (column + 1) * side_px] = values
    return sheet


# ---- examples


def examples(results: Mapping[str, FieldResult], places: Sequence[Place]) -> dict[Place, str]:
    """A larger picture of each ROI as a data URI, all on one scale; each loc a spot as wide as the field's precision."""
    drawn: dict[Place, NDArray[np.float32]] = {}
    for key, own in _by_field(dict.fromkeys(places)).items():
        with UnitReader(results[key].units["ingest"]) as ingest, UnitReader(results[key].units["tile"]) as tile:
            locs = FieldLocs(ingest)
            for place in own:
                view = zoom_view(tile, place[1], side_px=_EXAMPLE_PX)
                channels = [int(c) for c in ingest.attrs["channels"]] if place[2] is None else [place[2]]
                spot_nm = blur_nm(ingest.attrs["precision_median_nm"], view)
                peak = 1.0 / (2 * np.pi * (spot_nm / view.pixel_nm) ** 2)  # of one loc: precise fields would look brighter
                drawn[place] = np.sum(zoom_counts(locs, view, channels, spot_nm=spot_nm), axis=0) / np.float32(peak)
    every = np.concatenate([values[values > 0] for values in drawn.values()]) if drawn else np.ones(1)
    top = float(np.percentile(every, _TOP_PERCENTILE)) if len(every) else 1.0
    return {place: png(_example_shades(values, top)) for place, values in drawn.items()}


def _example_shades(values: NDArray[np.float32], top: float) -> NDArray[np.uint8]:
    level = np.minimum(np.log1p(values) / np.log1p(top), 1.0)
    shades: NDArray[np.uint8] = np.where(values > 0, np.maximum(np.round(level * (SHADES - 1)), 1), 0).astype(np.uint8)
    return shades
