"""Stage quality: what a field's data are worth, measured per channel and judged elsewhere.

Two passes over the field: one over all locs for histograms and the course of the recording, one block by block for drift and for
pairs of locs. What could not be measured is null, and a note says why. Memory is that of one band of tiles.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.blinks.nena import REACH_NM, Nena
from smlmbatch.locs import Locs
from smlmbatch.quality.blocks import Block, block_side_nm, blocks, part_nm
from smlmbatch.quality.drift import LARGEST_NM, DriftSum
from smlmbatch.quality.nearest import nearest_neighbours
from smlmbatch.quality.neighbours import MAX_LOCS, Neighbours, crowded_nm
from smlmbatch.quality.outline import share_cut, share_inside
from smlmbatch.quality.recording import fading, gaps
from smlmbatch.quality.survey import Survey, illumination, outline_rings
from smlmbatch.quality.values import Found, Values
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.work import Work

_SURVEY_COLUMNS: Final = ("x_nm", "y_nm", "channel", "z_nm", "frame", "photons", "precision_nm", "psf_nm")
_NO_FRAMES: Final = "the file has no frame numbers"
_NENA_BINS: Final = 100
_NENA_RANGE: Final = 10.0  # of the histogram's width, in precisions
_BLIND_PRECISION_NM: Final = 20.0  # how far blinks are looked for where nothing tells the precision
_LEAST_OUTLINED: Final = 100  # locs, and bins of the density with any, of which an outline could be told
_NEARLY_WHOLE: Final = 0.95  # of the field, but for a margin: what runs along the field's edge then is not a cell cut, but the field
_SMALLEST_FIELD_NM: Final = 1000.0  # four pixels of a camera
_MANY_LOCS: Final = 1000  # fewer may be all that a dark field shows
_PARTICLES: Final = "particles"  # the format of segmented particles, each with positions about its own centre


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel while blocks are looked at: its number, frames of its recording, their middle, and what is added up."""

    number: int
    middle: int
    pairs: Neighbours
    drift: DriftSum


def run(work: Work) -> None:
    """Measure the field's quality and write it."""
    ingest, tile = work.upstream["ingest"], work.upstream["tile"]
    survey = Survey(ingest, tile)
    # only what the second pass needs is kept in memory, and only there
    for piece in FieldLocs(ingest, columns=_SURVEY_COLUMNS, keep_rows=0).pieces():
        survey.add(piece)
    locs = FieldLocs(ingest, columns=("x_nm", "y_nm", "channel", "frame"))
    channels = _look_at_blocks(locs, survey) if len(survey.frame_bound) else []
    nenas = [channel.pairs.nena() for channel in channels]
    values = Values(survey.channels)
    photons = survey.photon_map()
    for place in range(len(survey.channels)):
        values.add(_of_columns(ingest, survey, photons, place))
        values.add(_of_recording(survey, place))
        if channels:
            before = _before_merging(ingest, place)
            values.add(_of_pairs(channels[place].pairs, nenas[place], before, values.last("precision_median_nm")))
            values.add(_of_drift(channels[place].drift))
        else:
            values.add({name: Found(reason=_NO_FRAMES) for name in _OF_FRAMES})
    no_field = _no_field(ingest, locs)
    cut, reason = (np.nan, no_field) if no_field else _cut(tile, locs, survey)
    _write_survey(work.out, survey, photons)
    _write_distances(work.out, locs, tile, channels, nenas, survey.channels)
    work.out.attrs |= {
        "channels": survey.channels,
        "merged": ingest.has("n_merged"),
        "values": values.numbers,
        "field_values": {"rois": float(tile.attrs["n_kept"]), "cut": None if reason else cut},
        "notes": values.notes | ({"cut": reason} if reason else {}),
        "n_per_channel": survey.n.tolist(),
        "n_sampled": [channel.pairs.n for channel in channels],
        "crowded_nm": [channel.pairs.crowded_nm for channel in channels],
        "drift_largest_nm": LARGEST_NM,
        "illumination_origin_nm": list(survey.map_origin_nm),
        "illumination_side_nm": survey.map_side_nm,
        **({"no_field": no_field} if no_field else {}),
    }


# ---- block by block


def _look_at_blocks(locs: FieldLocs, survey: Survey) -> list[_Channel]:
    widths = survey.by_column["psf"].medians().tolist() if "psf" in survey.by_column else [np.nan] * len(survey.channels)
    side_nm = block_side_nm(locs.tile_nm)
    channels = []
    for place, number in enumerate(survey.channels):
        first, last = survey.recording(place)
        pairs = Neighbours((first, last), crowded_nm(widths[place]))
        channels.append(_Channel(number, (first + last + 1) // 2, pairs, DriftSum(part_nm(side_nm))))
    margin_nm = max(REACH_NM, *(channel.pairs.crowded_nm for channel in channels))
    for block in blocks(locs, max_locs=MAX_LOCS):
        _look_at_block(locs, block, margin_nm if block.sampled else 0.0, survey, channels)
    return channels


def _look_at_block(locs: FieldLocs, block: Block, margin_nm: float, survey: Survey, channels: list[_Channel]) -> None:
    x0, y0, side_nm = block.x0_nm, block.y0_nm, block.side_nm
    near = locs.rectangle(x0 - margin_nm, y0 - margin_nm, x0 + side_nm + margin_nm, y0 + side_nm + margin_nm)
    inside = (near.x_nm >= x0) & (near.x_nm < x0 + side_nm) & (near.y_nm >= y0) & (near.y_nm < y0 + side_nm)
    for channel in channels:
        chosen = near.channel == channel.number
        own = near.take(chosen & inside)
        if block.sampled:
            channel.pairs.add(near.take(chosen), inside[chosen])
        _add_to_drift(channel, own, block, survey)


def _add_to_drift(channel: _Channel, own: Locs, block: Block, survey: Survey) -> None:
    assert own.frame is not None
    half, odd = own.frame >= channel.middle, survey.bin_of(own.frame) % 2 == 1
    x_nm, y_nm = own.x_nm - np.float32(block.x0_nm), own.y_nm - np.float32(block.y0_nm)
    side_nm = part_nm(block.side_nm)
    (column, x_nm), (row, y_nm) = (_within_parts(values, side_nm) for values in (x_nm, y_nm))
    part = row * round(block.side_nm / side_nm) + column
    order = np.argsort(part, kind="stable")
    for one in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        channel.drift.add(x_nm[one], y_nm[one], half[one], odd[one])


def _within_parts(values_nm: NDArray[np.float32], side_nm: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which part along an axis of a block each loc is in, and where from its corner."""
    wide = values_nm.astype(np.float64)
    part = np.floor(wide / side_nm)
    return part.astype(np.int64), (wide - part * side_nm).astype(np.float32)


# ---- values of one channel


_OF_FRAMES: Final = (
    *("nena_nm", "nena_over_precision", "nena_n_pairs", "drift_nm", "drift_x_nm", "drift_y_nm", "drift_error_nm"),
    *("duplicates", "n_duplicates", "blinks", "crowding"),
)


def _of_columns(ingest: UnitReader, survey: Survey, photons: NDArray[np.float64] | None, place: int) -> dict[str, Found]:
    light = illumination(photons[..., place]) if photons is not None else (np.nan, "the file has no photons")
    exact = ingest.attrs["precision_median_nm"] if len(survey.channels) == 1 else None
    precision_nm = float(survey.precision_medians_nm()[place]) if exact is None else float(exact)
    return {"precision_median_nm": Found(precision_nm, "the file has no precision"), "illumination": Found(*light)}


def _of_recording(survey: Survey, place: int) -> dict[str, Found]:
    if not len(survey.frame_bound):
        return {name: Found(reason=_NO_FRAMES) for name in ("fading", "gaps")}
    share = gaps(survey.frames, frames_per_bin=survey.frames_per_bin, channel=place)
    faded = fading(survey.frames[:, place], frame_bound=survey.frame_bound, recording=survey.recording(place))
    return {"fading": Found(*faded), "gaps": Found(*share)}


def _of_pairs(pairs: Neighbours, nena: Nena, before: tuple[Found, Found] | None, precision_nm: float) -> dict[str, Found]:
    """What neighbours in time tell. Where blinks were merged, NeNA and the precision that it is held against are those of before:
    merging takes away what NeNA is read from, and merged locs have a better precision than single ones."""
    found, stated = before or (Found(nena.precision_nm, nena.reason), Found(precision_nm, "the file has no precision"))
    nena_nm = found.value
    known = [value for value in (nena_nm, precision_nm) if np.isfinite(value)]
    return {
        "nena_nm": found,
        **({"precision_unmerged_nm": stated} if before else {}),
        "nena_over_precision": Found(nena_nm / stated.value, found.reason or stated.reason),
        "nena_n_pairs": Found(float(nena.n_pairs)),
        "blinks": Found(*pairs.blinks(precision_nm=known[0] if known else _BLIND_PRECISION_NM, merged=before is not None)),
        "crowding": Found(*pairs.share(pairs.n_crowded)),
        "duplicates": Found(*pairs.share(pairs.n_duplicates)),
        "n_duplicates": Found(float(pairs.n_duplicates)),
    }


def _of_drift(drift: DriftSum) -> dict[str, Found]:
    offset = drift.offset()
    numbers = {"drift_nm": offset.length_nm, "drift_x_nm": offset.x_nm, "drift_y_nm": offset.y_nm, "drift_error_nm": offset.error_nm}
    return {name: Found(number, offset.reason) for name, number in numbers.items()}


def _before_merging(ingest: UnitReader, place: int) -> tuple[Found, Found] | None:
    """NeNA and the stated precision (median) of a channel before its blinks were merged; None where nothing was merged."""
    if not ingest.has("n_merged"):
        return None
    reasons = {
        "nena_nm": "before merging NeNA found no precision: few molecules are seen in following frames, or they were merged already",
        "precision_unmerged_nm": "no precision is known of the locs before merging",
    }
    values = [ingest.attrs[name][place] if name in ingest.attrs else None for name in reasons]
    nena, stated = (
        Found(reason=reason) if value is None else Found(float(value)) for value, reason in zip(values, reasons.values(), strict=True)
    )
    return nena, stated


def _no_field(ingest: UnitReader, locs: FieldLocs) -> str:
    """Why the file can't be a field of view; "" where it may be one."""
    if ingest.attrs.get("format") == _PARTICLES:
        return "not a field of view: particles centred on themselves can't be tiled"
    x0, y0, x1, y1 = locs.extent
    side_nm = max(x1 - x0, y1 - y0)
    if side_nm >= _SMALLEST_FIELD_NM or locs.n < _MANY_LOCS:
        return ""
    return f"not a field of view: {locs.n} locs within {side_nm:.3g} nm are particles centred on themselves, or their unit is wrong"


def _cut(tile: UnitReader, locs: FieldLocs, survey: Survey) -> tuple[float, str]:
    """Share of the outlines along the field's edge; NaN with the reason where there is no cell's edge to look at."""
    if tile.attrs["outline_source"] == "field":
        return np.nan, "the outline is the whole field"
    if tile.attrs["outline_source"] == "found" and tile.attrs["density_threshold_per_um2"] is None:
        few = min(locs.n, int(np.count_nonzero(tile.read("density")))) < _LEAST_OUTLINED
        return np.nan, "too few locs for an outline" if few else "no edge of a cell is in view: the field is evenly filled"
    if share_inside(survey.mask, bin_nm=float(tile.attrs["density_bin_nm"])) >= _NEARLY_WHOLE:
        return np.nan, "the outline covers nearly the whole field: it shows no cell's edge, and numbers per cell are those of the field"
    share = share_cut(outline_rings(tile)[0], locs.extent)
    return share, "" if np.isfinite(share) else "no cell was found"


# ---- arrays


def _write_survey(out: UnitWriter, survey: Survey, photons: NDArray[np.float64] | None) -> None:
    if len(survey.frame_bound):
        out.write("frame_bound", survey.frame_bound)
        out.write("frame_locs", survey.frames)
    for name, histogram in survey.by_column.items():
        out.write(f"{name}_bound" if name == "photons" else f"{name}_bound_nm", histogram.bounds)
        out.write(f"{name}_locs", histogram.counts)
    if photons is not None:
        out.write("illumination_photons", photons)


def _write_distances(
    out: UnitWriter, locs: FieldLocs, tile: UnitReader, channels: list[_Channel], nenas: list[Nena], numbers: list[int]
) -> None:
    nearest = nearest_neighbours(locs, tile, numbers)
    if nearest is not None:
        out.write("nn_bound_nm", nearest.bounds)
        out.write("nn_locs", nearest.counts)
    if channels:
        widest_nm = max((nena.precision_nm for nena in nenas if not nena.reason), default=_BLIND_PRECISION_NM)
        bound_nm = np.linspace(0, min(_NENA_RANGE * widest_nm, REACH_NM), _NENA_BINS + 1)
        pairs = [np.histogram(channel.pairs.next_frame_nm, bound_nm)[0] for channel in channels]
        out.write("nena_bound_nm", bound_nm)
        out.write("nena_pairs", np.stack(pairs, axis=1))
        out.write("nena_fit", np.stack([nena.fit(bound_nm) for nena in nenas], axis=1))
