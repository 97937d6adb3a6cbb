"""Made-up campaigns with embed units: vectors drawn about a place that condition and replicate set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smlmbatch.config import EmbedConfig
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.folders import copy_name
from smlmbatch.methods.model import model_sha256, save_model
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.work import Campaign

FEATURES = 128


def keep_model(output: Path) -> tuple[str, str]:
    """(name, sha256) of an untrained network kept as the campaign's own model."""
    import torch

    method, config = Contrastive(), ContrastiveConfig()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = method.build(config)
    folder = output / "models" / "new"
    folder.mkdir(parents=True)
    sha256 = save_model(folder, method, config, network)
    assert model_sha256(folder) == sha256
    folder.rename(folder.with_name(copy_name("mine", sha256)))
    return "mine", sha256


def embedded(campaign: Campaign, *, apart: float = 1.0, scatter: float = 0.3, n_locs: int = 0, with_model: bool = True):
    """The campaign with embed units of all its finished fields.

    Parameters
    ----------
    apart : distance of conditions from each other; ROIs scatter by `scatter` along each of 128 axes, replicates by a tenth of it
    n_locs : the setting; vectors are drawn all the same
    """
    model = keep_model(campaign.output) if with_model else ("", "")
    fields = []
    conditions = sorted({result.field.condition for result in campaign.fields})
    for number, result in enumerate(campaign.fields):
        if "tile" not in result.units:
            fields.append(result)
            continue
        rng = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(number,)))
        path = result.units["tile"].with_name("embed-0.zarr.zip")
        centres = {c: _centre(conditions.index(c), apart) for c in conditions}
        _write(path, result, centres, scatter=scatter, n_locs=n_locs, rng=rng, model=model)
        fields.append(replace(result, units={**result.units, "embed": path}))
    embed = EmbedConfig(model=model[0] or "none", sha256=model[1])
    return replace(campaign, fields=tuple(fields), config=replace(campaign.config, embed=embed))


def _centre(number: int, apart: float) -> np.ndarray:
    centre = np.zeros(FEATURES)
    centre[number % FEATURES] = apart / np.sqrt(2)
    return centre


def _write(path: Path, result, centres, *, scatter: float, n_locs: int, rng: np.random.Generator, model: tuple[str, str]) -> None:
    with UnitReader(result.units["tile"]) as tile:
        kept, counts, channels = tile.read("roi_kept").astype(bool), tile.read("roi_n_locs"), list(tile.attrs["channels"])
    min_locs = max(1, n_locs)
    rows = [(roi, c) for roi in np.flatnonzero(kept) for c in range(len(channels)) if counts[roi, c] >= min_locs and model[0]]
    skipped = [int((kept & (counts[:, c] < min_locs)).sum()) for c in range(len(channels))]
    own = rng.normal(size=FEATURES) * scatter / 10
    vectors = [centres[result.field.condition_of(channels[c])] + own + rng.normal(size=FEATURES) * scatter for _, c in rows]
    write_unit(
        path,
        roi=[roi for roi, _ in rows],
        channel=[channels[c] for _, c in rows],
        n_locs=[n_locs or counts[roi, c] for roi, c in rows],
        thinned_to=n_locs,
        vectors=np.array(vectors).reshape(len(rows), FEATURES),
        channels=channels,
        skipped=skipped,
        model=model,
    )


def write_unit(
    path: Path,
    *,
    roi: Sequence[int],
    channel: Sequence[int],
    n_locs: Sequence[int],
    vectors: np.ndarray,
    channels,
    skipped,
    model: tuple[str, str],
    thinned_to: int = 0,
) -> None:
    with unit_writer(path, "embed") as out:
        out.write("roi", np.array(roi, dtype=np.int32))
        out.write("channel", np.array(channel, dtype=np.uint8))
        out.write("n_locs", np.array(n_locs, dtype=np.int64))
        out.write("embedding", vectors)
        out.attrs = {
            "model": model[0],
            "model_sha256": model[1],
            "why_none": "" if model[0] else 'No embedding was wanted (embed.model = "none").',
            "side_px": 64 if model[0] else 0,
            "pixel_nm": 46.875 if model[0] else 0.0,
            "features": vectors.shape[1],
            "turned": True,
            "n_locs": thinned_to,
            "device": "cpu",
            "channels": list(channels),
            "n_skipped": list(skipped),
            "n_beyond": [0] * len(channels),
        }
