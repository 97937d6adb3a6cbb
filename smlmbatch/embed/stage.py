"""Stage embed: one vector per kept ROI and channel of a field, ROI-major.

A channel with too few locs in an ROI has no pattern: it is skipped and counted. An ROI that reaches beyond its cell is embedded as it
is. Where the campaign has no model, or no ROI has enough locs, the unit has no rows, and torch is not imported. Memory is that of one
band of tiles, a batch of rasters and the vectors, whatever the field's size. Batches are blocks that several ranks may share.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.config import EmbedConfig
from smlmbatch.errors import InputError
from smlmbatch.hpc.heap import keep_freed_memory
from smlmbatch.hpc.place import Place
from smlmbatch.locs import Locs
from smlmbatch.methods.chosen import MODELS, Choice, choose, whole_folder
from smlmbatch.methods.contrastive.data import perlin_family
from smlmbatch.methods.contrastive.infer import BATCH, embed_counts, roi_counts, thin_counts
from smlmbatch.methods.folders import CONFIG
from smlmbatch.methods.model import load_model, read_settings
from smlmbatch.store.arrays import UnitReader, UnitWriter
from smlmbatch.store.field_locs import FieldLocs
from smlmbatch.work import Sources, Work

_THINNING: Final = 0xE3BED  # purpose of the draws made here
_NM2_PER_UM2: Final = 1e6


class EmbedBlocks:
    """The ROIs and channels of a field that have enough locs, ROI-major, `BATCH` rows a block: the network's own batches, as a row's bits
    depend on the batch that it is in. What is costly (network, locs) is fetched for the first block.

    Attributes
    ----------
    rows : (rows, 2) i8, the ROI and the number of the channel among `channels`
    enough : (ROIs, channels), which kept ROIs have enough locs
    side_nm : of an ROI
    """

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources, self._folder = sources, folder
        self._tile = sources.upstream["tile"]
        self._origin_nm: NDArray[np.float64] = self._tile.read("roi_origin_nm")
        self.side_nm = float(self._tile.attrs["roi_nm"])
        self.settings = read_settings(folder / CONFIG)[1]
        self.channels = [int(channel) for channel in self._tile.attrs["channels"]]
        self.enough = _enough(self._tile, sources.config.embed)
        self.rows = np.argwhere(self.enough)
        self.count = -(-len(self.rows) // BATCH)

    def compute(self, number: int) -> dict[str, NDArray[Any]]:
        """Of one block: `n_locs` (rows,) i8, locs that each raster holds; `embedding` (rows, features) f4."""
        embed = self._sources.config.embed
        counts = list(self._rasters(self.rows[number * BATCH : (number + 1) * BATCH]))
        embedding = embed_counts(self._network, np.stack(counts), turned=embed.turned, device=embed.device)
        return {"n_locs": np.array([raster.sum() for raster in counts], np.int64), "embedding": _finite(embedding, self._folder)}

    @cached_property
    def _network(self) -> Any:
        """In a process that from now on keeps what it freed: a half more ROIs a second (3,200 → 4,900, not turned)."""
        keep_freed_memory()
        if self._sources.config.embed.device == "cuda":
            _take_gpu(self._sources.place)
        return load_model(self._folder).network

    @cached_property
    def _locs(self) -> FieldLocs:
        return FieldLocs(self._sources.upstream["ingest"], columns=("x_nm", "y_nm", "channel"))

    def _rasters(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.integer]]:
        for roi, of_roi in groupby(rows.tolist(), key=itemgetter(0)):
            x0_nm, y0_nm = self._origin_nm[roi].tolist()
            inside = self._locs.rectangle(x0_nm, y0_nm, x0_nm + self.side_nm, y0_nm + self.side_nm)
            for channel in (self.channels[number] for _, number in of_roi):
                yield self._raster(inside, roi, channel, (x0_nm, y0_nm))

    def _raster(self, inside: Locs, roi: int, channel: int, origin_nm: tuple[float, float]) -> NDArray[np.integer]:
        own, embed = inside.channel == channel, self._sources.config.embed
        counts = roi_counts(inside.x_nm[own], inside.y_nm[own], origin_nm=origin_nm, side_nm=self.side_nm, side_px=self.settings.side_px)
        if not embed.n_locs:
            return counts
        thinned: NDArray[np.int64] = thin_counts(counts[None], embed.n_locs, _rng(embed.seed, self._sources.field.key, roi, channel))[0]
        return thinned


def blocks(sources: Sources) -> EmbedBlocks | None:
    """The field's blocks; None where the campaign has no model.

    Raises
    ------
    InputError
        the campaign's copy of its model is missing or damaged
    """
    choice = choose(sources.config)
    return None if choice.why_none else EmbedBlocks(sources, whole_folder(choice, sources.models))


def run(work: Work) -> None:
    """Embed every kept ROI of the field, channel by channel.

    Raises
    ------
    InputError
        the campaign's copy of its model is missing or damaged, or gives vectors that are no numbers
    ResourceError
        a GPU is wanted, and none is there
    """
    choice, cut = choose(work.config), blocks(work)
    if cut is None:
        _write_none(work, choice)
        return
    settings, embed = cut.settings, work.config.embed
    found = work.team.gather(cut)
    n_locs = np.concatenate([np.empty(0, np.int64), *(block["n_locs"] for block in found)])
    embedding = np.concatenate([np.empty((0, settings.features), np.float32), *(block["embedding"] for block in found)])
    channel = np.array(cut.channels, np.int64)[cut.rows[:, 1]]
    _write_rows(work.out, cut.rows[:, 0], channel, n_locs, embedding)
    low, high = (limit * cut.side_nm**2 / _NM2_PER_UM2 for limit in perlin_family(settings).density_per_um2)
    beyond = (n_locs < low) | (n_locs > high)
    kept = work.upstream["tile"].read("roi_kept").astype(bool)
    work.out.attrs |= _attributes(
        work,
        choice,
        side_px=settings.side_px,
        pixel_nm=settings.side_nm / settings.side_px,
        features=settings.features,
        turned=embed.turned,
        n_locs=embed.n_locs,
        device=embed.device,
        n_skipped=(kept[:, None] & ~cut.enough).sum(axis=0).tolist(),
        n_beyond=[int((beyond & (channel == one)).sum()) for one in cut.channels],
    )


def _finite(embedding: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    """The vectors, if all are numbers: weights that pass when a campaign is planned can still overflow at a dense ROI."""
    if not np.isfinite(embedding).all():
        raise InputError(
            f"{MODELS}/{folder.name}", "gives vectors that are no numbers", "a trained model", "train it again, or name another"
        )
    return embedding


def _take_gpu(place: Place) -> None:
    """Of several GPUs of a node each rank takes its own. Where there is none, `embed_counts` says so."""
    import torch

    from smlmbatch.methods.devices import choose_device

    if torch.cuda.is_available():
        choose_device("cuda", place)


def _write_none(work: Work, choice: Choice) -> None:
    """A unit that says why it has no rows."""
    nobody = np.empty(0, np.int64)
    _write_rows(work.out, nobody, nobody, nobody, np.empty((0, 0), np.float32))
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


def _rng(seed: int, field_key: str, roi: int, channel: int) -> np.random.Generator:
    """Keyed by what is drawn, by neither worker nor order."""
    field = int.from_bytes(hashlib.sha256(field_key.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_THINNING, field, roi, channel)))


def _write_rows(
    out: UnitWriter, roi: NDArray[np.int64], channel: NDArray[np.int64], n_locs: NDArray[np.int64], embedding: NDArray[np.float32]
) -> None:
    out.write("roi", roi.astype(np.int32))
    out.write("channel", channel.astype(np.uint8))
    out.write("n_locs", n_locs)
    out.write("embedding", embedding)
