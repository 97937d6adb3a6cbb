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
from smlmbatch.quality.blocks import Block, block_side_nm, blocks
from smlmbatch.quality.drift import LARGEST_NM, DriftSum
from smlmbatch.quality.nearest import nearest_neighbours
from smlmbatch.quality.neighbours import MAX_LOCS, Neighbours, crowded_nm
from smlmbatch.quality.outline import share_cut
from smlmbatch.quality.recording import fading, gaps, recorded
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
            values.add(_of_pairs(channels[place].pairs, nenas[place], _merged_nena_nm(ingest, place), values.last("precision_median_nm")))
            values.add(_of_drift(channels[place].drift))
        else:
            values.add({name: Found(reason=_NO_FRAMES) for name in _OF_FRAMES})
    cut, reason = _cut(tile, locs)
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
    }


# ---- block by block


def _look_at_blocks(locs: FieldLocs, survey: Survey) -> list[_Channel]:
    widths = survey.by_column["psf"].medians().tolist() if "psf" in survey.by_column else [np.nan] * len(survey.channels)
    side_nm = block_side_nm(locs.tile_nm)
    channels = []
    for place, number in enumerate(survey.channels):
        start, stop = recorded(survey.frames[:, place])
        first, last = int(survey.frame_bound[start]), int(survey.frame_bound[stop]) - 1
        pairs = Neighbours((first, last), crowded_nm(widths[place]))
        channels.append(_Channel(number, (first + last + 1) // 2, pairs, DriftSum(side_nm)))
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
    x_nm, y_nm = own.x_nm - np.float32(block.x0_nm), own.y_nm - np.float32(block.y0_nm)
    channel.drift.add(x_nm, y_nm, own.frame >= channel.middle, survey.bin_of(own.frame) % 2 == 1)


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
    return {"fading": Found(*fading(survey.frames[:, place])), "gaps": Found(*share)}


def _of_pairs(pairs: Neighbours, nena: Nena, merged_nena_nm: float | None, precision_nm: float) -> dict[str, Found]:
    """What neighbours in time tell. Where blinks were merged, NeNA is that of before: merging takes away what it is read from."""
    nena_nm = nena.precision_nm if merged_nena_nm is None else merged_nena_nm
    over = Found(nena_nm / precision_nm, nena.reason or "the file has no precision")
    if merged_nena_nm is not None:
        over = Found(reason="blinks are merged: the precision is that of merged locs, NeNA that of single ones")
    known = [value for value in (nena_nm, precision_nm) if np.isfinite(value)]
    return {
        "nena_nm": Found(nena_nm, nena.reason),
        "nena_over_precision": over,
        "nena_n_pairs": Found(float(nena.n_pairs)),
        "blinks": Found(*pairs.blinks(precision_nm=known[0] if known else _BLIND_PRECISION_NM)),
        "crowding": Found(*pairs.share(pairs.n_crowded)),
        "duplicates": Found(*pairs.share(pairs.n_duplicates)),
        "n_duplicates": Found(float(pairs.n_duplicates)),
    }


def _of_drift(drift: DriftSum) -> dict[str, Found]:
    offset = drift.offset()
    numbers = {"drift_nm": offset.length_nm, "drift_x_nm": offset.x_nm, "drift_y_nm": offset.y_nm, "drift_error_nm": offset.error_nm}
    return {name: Found(number, offset.reason) for name, number in numbers.items()}


def _merged_nena_nm(ingest: UnitReader, place: int) -> float | None:
    """NeNA of a channel before its blinks were merged; NaN where none was found, None where nothing was merged."""
    if not ingest.has("n_merged"):
        return None
    before = ingest.attrs.get("nena_nm")
    return float(before[place]) if before and before[place] is not None else np.nan


def _cut(tile: UnitReader, locs: FieldLocs) -> tuple[float, str]:
    """Share of the outlines along the field's edge; NaN with the reason where there is no cell's edge to look at."""
    if tile.attrs["outline_source"] == "field":
        return np.nan, "the outline is the whole field"
    if tile.attrs["outline_source"] == "found" and tile.attrs["density_threshold_per_um2"] is None:
        return np.nan, "no edge of a cell is in view: the field is evenly filled"
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
