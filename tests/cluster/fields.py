"""Fields of blobs far apart, whose clusters are known whatever the method, and a network that moves nothing.

That network has weights of 0: every loc stays where it is, lies in a cluster with probability 0.993 and says that its cluster has a radius
of 60 nm or more. Groups are then locs within 24 nm (0.4 radii) of each other: what DBSCAN finds with that eps and 4 locs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from smlmbatch.cluster import stage
from smlmbatch.config import Config
from smlmbatch.methods.chosen import CLUSTER, section_of, settle
from smlmbatch.methods.folders import keep_copy
from smlmbatch.methods.miro.recipe import Miro, MiroConfig
from smlmbatch.methods.model import save_model
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import OneProcess, Work

FIELD = Field(path="ctrl/FOV1.csv", name="FOV1.csv", condition="ctrl", replicate="FOV1.csv", format="generic")
TILE_NM = 1000.0
ROI_NM = 1000.0
ORIGIN_NM = (5000.0, -300.0)


@dataclass(frozen=True)
class Blobs:
    """Locs in the order of their source, their channel, and which blob each is of (-1 = strays)."""

    xyz_nm: np.ndarray
    channel: np.ndarray
    blob: np.ndarray


def draw_blobs(*, per_side: int = 4, channels: tuple[int, ...] = (0,), strays: int = 8, axes: int = 2, seed: int = 0) -> Blobs:
    """Blobs of 12 to 30 locs, sigma 4 nm, 500 nm apart, rows shuffled; strays are 200 nm from each other and from blobs."""
    rng = np.random.default_rng(seed)
    places, channel, blob, number = [], [], [], 0
    for one in channels:
        for k in range(per_side**2):
            n = int(rng.integers(12, 31))
            middle = np.array([250 + 500 * (k % per_side), 250 + 500 * (k // per_side), 100.0 * (k % 3)])[:axes]
            places.append(middle + rng.normal(0, 4, (n, axes)))
            channel += [one] * n
            blob += [number] * n
            number += 1
        places.append(np.column_stack([500.0 * np.arange(strays) + 500, np.full(strays, 500.0), np.zeros(strays)])[:, :axes])
        channel += [one] * strays
        blob += [-1] * strays
    order = rng.permutation(len(blob))
    return Blobs(np.concatenate(places).astype(np.float32)[order], np.array(channel)[order], np.array(blob)[order])


def write_field(
    folder: Path, blobs: Blobs, *, precision_nm: np.ndarray | None = None, kept: tuple[int, ...] = (1, 1, 0, 1)
) -> dict[str, Path]:
    """Units of ingest and tile; four regions of 1 um in a square, of which the third is dropped."""
    xyz_nm, channels = blobs.xyz_nm, sorted({0, *blobs.channel.tolist()})
    column, row = (np.floor(xyz_nm[:, :2] / TILE_NM).astype(int) if len(xyz_nm) else np.zeros((0, 2), int)).T
    wide, high = int(column.max(initial=0)) + 1, int(row.max(initial=0)) + 1
    tile = row * wide + column
    order = np.argsort(tile, kind="stable")
    columns = {f"{axis}_nm": xyz_nm[:, k] for k, axis in enumerate("xyz"[: xyz_nm.shape[1]])}
    columns |= {"channel": blobs.channel, "row": np.arange(len(tile))} | ({} if precision_nm is None else {"precision_nm": precision_nm})
    if "z_nm" in columns:
        columns["precision_z_nm"] = np.full(len(tile), 10.0)  # a gap in z of less than 30 nm parts nothing
    with unit_writer(folder / "i.zip", "ingest") as out:
        for name, values in columns.items():
            out.write(name, values[order])
        out.write("tile_start", np.searchsorted(tile[order], np.arange(wide * high + 1)))
        n_per_channel = [int((blobs.channel == c).sum()) for c in channels]
        out.attrs.update(tile_nm=TILE_NM, tile_grid=[high, wide], origin_nm=list(ORIGIN_NM), channels=channels, n_per_channel=n_per_channel)
    corners = np.array([[0.0, 0], [ROI_NM, 0], [0, ROI_NM], [ROI_NM, ROI_NM]])
    arrays = {"roi_origin_nm": corners, "roi_coverage": np.ones(4), "roi_kept": np.array(kept), "roi_n_locs": np.zeros((4, len(channels)))}
    with unit_writer(folder / "t.zip", "tile") as out:
        for name, spec in SCHEMA["tile"].items():
            shape = tuple({"roi": 4, "axis": 2, "channel": len(channels)}.get(dim, 1) for dim in spec.dims)
            out.write(name, arrays.get(name, np.zeros(shape)))
        out.attrs.update(channels=channels, roi_nm=ROI_NM)
    return {"ingest": folder / "i.zip", "tile": folder / "t.zip"}


def still_model(folder: Path, **settings: object) -> Path:
    """A model folder with that network; with classes, every loc tells the third shape."""
    config = MiroConfig(**{"hidden": 4, "edge_hidden": 4, "steps": 2, "classes": 0} | settings)
    network = Miro().build(config)
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
        network.head.bias[2], network.head.bias[3] = 5.0, 3.0
        if config.classes:
            network.head.bias[4 + 3] = 1.0
    save_model(folder, Miro(), config, network)
    return folder


def make_unit(
    folder: Path, units: dict[str, Path], config: Config, *, model: Path | None = None, field: Field = FIELD, team=None
) -> UnitReader:
    """The unit that the stage makes of a field, with a campaign's copy of the model."""
    folder.mkdir(exist_ok=True)
    config = settle(config).config
    if model is not None:
        own = section_of(config, CLUSTER)
        keep_copy(model, folder / "models", name=own.model, sha256=own.sha256)
    upstream = {name: UnitReader(path) for name, path in units.items()}
    with unit_writer(folder / "c.zip", "cluster") as out:
        stage.run(
            Work(
                field=field,
                source=folder / "unused.csv",
                outline=None,
                config=config,
                upstream=upstream,
                out=out,
                scratch=folder,
                memory_bytes=1 << 28,
                models=folder / "models",
                team=team or OneProcess(),
            )
        )
    return UnitReader(folder / "c.zip")
