"""Stage embed: one vector per kept ROI and channel of a field, ROI-major.

A channel with too few locs in an ROI has no pattern: it is skipped and counted. An ROI that reaches beyond its cell is embedded as it
is. Where the campaign has no model, or no ROI has enough locs, the unit has no rows, and torch is not imported. Memory is that of one
band of tiles, a batch of rasters and the vectors, whatever the field's size.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import EmbedConfig
from smlmbatch.errors import InputError
from smlmbatch.hpc.heap import keep_freed_memory
from smlmbatch.methods.chosen import MODELS, Choice, choose, whole_folder
from smlmbatch.methods.contrastive.data import perlin_family
from smlmbatch.methods.contrastive.infer import BATCH, embed_counts, roi_counts, thin_counts
from smlmbatch.methods.folders import CONFIG
from smlmbatch.methods.model import load_model, read_settings
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.work import Work

_THINNING: Final = 0xE3BED  # purpose of the draws made here
_NM2_PER_UM2: Final = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """One ROI and channel to embed: its raster holds `n_locs` locs."""

    roi: int
    channel: int
    n_locs: int
    counts: NDArray[np.integer]


def run(work: Work) -> None:
    """Embed every kept ROI of the field, channel by channel.

    Raises
    ------
    InputError
        the campaign's copy of its model is missing or damaged, or gives vectors that are no numbers
    ResourceError
        a GPU is wanted, and none is there
    """
    choice = choose(work.config)
    if choice.why_none:
        _write_none(work, choice)
        return
    folder = whole_folder(choice, work.models)
    settings = read_settings(folder / CONFIG)[1]
    tile, embed = work.upstream["tile"], work.config.embed
    enough = _enough(tile, embed)
    rows: list[Row] = []
    found = [np.empty((0, settings.features), np.float32)]
    network: Any = None
    for batch in _batches(_rows(work, enough, side_px=settings.side_px)):
        network = network or _load_network(folder)
        found.append(embed_counts(network, np.stack([row.counts for row in batch]), turned=embed.turned, device=embed.device))
        rows += [Row(row.roi, row.channel, row.n_locs, row.counts[:0]) for row in batch]  # the rasters go
    _write_rows(work.out, rows, _finite(np.concatenate(found), folder))
    channels = [int(channel) for channel in tile.attrs["channels"]]
    low, high = (limit * float(tile.attrs["roi_nm"]) ** 2 / _NM2_PER_UM2 for limit in perlin_family(settings).density_per_um2)
    beyond = [sum(row.channel == channel and not low <= row.n_locs <= high for row in rows) for channel in channels]
    skipped = (tile.read("roi_kept").astype(bool)[:, None] & ~enough).sum(axis=0)
    work.out.attrs |= _attributes(
        work,
        choice,
        side_px=settings.side_px,
        pixel_nm=settings.side_nm / settings.side_px,
        features=settings.features,
        turned=embed.turned,
        n_locs=embed.n_locs,
        device=embed.device,
        n_skipped=skipped.tolist(),
        n_beyond=beyond,
    )


def _finite(embedding: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    """The vectors, if all are numbers: weights that pass when a campaign is planned can still overflow at a dense ROI."""
    if not np.isfinite(embedding).all():
        raise InputError(
            f"{MODELS}/{folder.name}", "gives vectors that are no numbers", "a trained model", "train it again, or name another"
        )
    return embedding


def _load_network(folder: Path) -> Any:
    """The network, in a process that from now on keeps what it freed: a half more ROIs a second (3,200 → 4,900, not turned)."""
    keep_freed_memory()
    return load_model(folder).network


def _write_none(work: Work, choice: Choice) -> None:
    """A unit that says why it has no rows."""
    _write_rows(work.out, [], np.empty((0, 0), np.float32))
    none = [0] * len(work.upstream["tile"].attrs["channels"])
    nothing = {"side_px": 0, "pixel_nm": 0.0, "features": 0, "turned": False, "n_locs": 0, "device": ""}
    work.out.attrs |= _attributes(work, choice, **nothing, n_skipped=none, n_beyond=none)


def _attributes(work: Work, choice: Choice, **more: object) -> dict[str, Any]:
    channels = [int(channel) for channel in work.upstream["tile"].attrs["channels"]]
    model = {"model": choice.name, "model_sha256": choice.sha256, "why_none": choice.why_none}
    return {**model, "channels": channels, **more}


def _enough(tile: UnitReader, embed: EmbedConfig) -> NDArray[np.bool_]:
    """Which kept ROIs have enough locs, (ROIs, channels)."""
    kept = tile.read("roi_kept").astype(bool)
    enough: NDArray[np.bool_] = kept[:, None] & (tile.read("roi_n_locs") >= max(embed.min_locs, embed.n_locs))
    return enough


def _rows(work: Work, enough: NDArray[np.bool_], *, side_px: int) -> Iterator[Row]:
    """The ROIs and channels with enough locs, as rasters, ROI by ROI."""
    tile, embed = work.upstream["tile"], work.config.embed
    origin_nm, side_nm = tile.read("roi_origin_nm"), float(tile.attrs["roi_nm"])
    locs = FieldLocs(work.upstream["ingest"], columns=("x_nm", "y_nm", "channel"))
    channels = [int(channel) for channel in tile.attrs["channels"]]
    for roi in np.flatnonzero(enough.any(axis=1)).tolist():
        x0_nm, y0_nm = origin_nm[roi].tolist()
        inside = locs.rectangle(x0_nm, y0_nm, x0_nm + side_nm, y0_nm + side_nm)
        for channel in (channel for channel, fit in zip(channels, enough[roi], strict=True) if fit):
            own = inside.channel == channel
            counts: NDArray[np.integer] = roi_counts(
                inside.x_nm[own], inside.y_nm[own], origin_nm=(x0_nm, y0_nm), side_nm=side_nm, side_px=side_px
            )
            if embed.n_locs:
                counts = thin_counts(counts[None], embed.n_locs, _rng(embed.seed, work.field.key, roi, channel))[0]
            yield Row(roi, channel, int(counts.sum()), counts)


def _rng(seed: int, field_key: str, roi: int, channel: int) -> np.random.Generator:
    """Keyed by what is drawn, by neither worker nor order."""
    field = int.from_bytes(hashlib.sha256(field_key.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_THINNING, field, roi, channel)))


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows, BATCH at a time: the network's own batches, so that no more rasters are held than it looks at."""
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write_rows(out: UnitWriter, rows: list[Row], embedding: NDArray[np.float32]) -> None:
    out.write("roi", np.array([row.roi for row in rows], dtype=np.int32))
    out.write("channel", np.array([row.channel for row in rows], dtype=np.uint8))
    out.write("n_locs", np.array([row.n_locs for row in rows], dtype=np.int64))
    out.write("embedding", embedding)
