"""A field of drawn structures as the stages before leave it: units of `ingest` and `cluster`, and the stage run on them."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from smlmbatch.config import Config, PickConfig
from smlmbatch.pick import stage
from smlmbatch.pick.kept import kept_file
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import Work

FIELD = Field(path="ctrl/FOV1.csv", name="FOV1.csv", condition="ctrl", replicate="FOV1.csv", format="generic")
SHAPES = ("spot", "ring")
ORIGIN_NM = (20_000.0, 30_000.0)  # of the field in the file's frame


@dataclass
class Drawn:
    """A field: places of all locs, their channels, and their clusters.

    `parts` are (channel, points, shape, parent) of each cluster, one row each; parents have no points of their own.
    `groups` are what the file calls them, -1 the background; `facts` are attributes of `ingest` that are not the usual ones.
    """

    parts: list[tuple[int, np.ndarray, int, int]]
    background: np.ndarray
    with_parents: bool = False
    seed: int = 0
    groups: list[int] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        axes = self.background.shape[1]
        places = [np.asarray(points).reshape(-1, axes) for _, points, _, _ in self.parts] + [self.background]
        self.place_nm = np.concatenate(places).astype(np.float32)
        self.label = np.repeat([*range(len(self.parts)), -1], [len(one) for one in places])
        self.channel = np.repeat([*(part[0] for part in self.parts), 0], [len(one) for one in places])
        order = np.random.default_rng(self.seed).permutation(len(self.label))  # labels must not follow from the order of locs
        self.place_nm, self.label, self.channel = self.place_nm[order], self.label[order], self.channel[order]

    def clusters(self) -> dict[str, np.ndarray]:
        parent = np.array([part[3] for part in self.parts], dtype=np.int32)
        members = [np.isin(self.label, [row, *np.flatnonzero(parent == row)]) for row in range(len(parent))]
        centroid = np.array([self.place_nm[own].mean(axis=0) for own in members], dtype=np.float64).reshape(-1, self.place_nm.shape[1])
        spread = [np.sqrt(((self.place_nm[own] - at) ** 2).sum(axis=1).mean()) for own, at in zip(members, centroid, strict=True)]
        apart = np.linalg.norm(centroid[:, None] - centroid[None], axis=2) + np.diag(np.full(len(parent), np.inf))
        return {
            "label": self.label,
            "cluster_channel": np.array([part[0] for part in self.parts], dtype=np.uint8),
            "n_locs": np.array([own.sum() for own in members], dtype=np.int64),
            "radius_of_gyration_nm": np.array(spread, dtype=np.float64),
            "nearest_nm": np.where(np.isfinite(apart), apart, np.nan).min(axis=1, initial=np.inf, where=np.isfinite(apart)),
            "shape": np.array([part[2] for part in self.parts], dtype=np.uint8),
            "parent": parent,
            "n_children": np.bincount(parent[parent >= 0], minlength=len(parent)),
        }

    def write(self, folder: Path) -> dict[str, UnitReader]:
        n, axes = self.place_nm.shape
        with unit_writer(folder / "i.zip", "ingest") as out:
            for name, values in zip(("x_nm", "y_nm", "z_nm"), self.place_nm.T, strict=False):
                out.write(name, values)
            out.write("channel", self.channel)
            out.write("row", np.arange(n))
            if self.groups is not None:
                out.write("group", np.append(self.groups, -1)[self.label])
            out.write("tile_start", np.array([0, n]))
            in_file = self.place_nm[:, :2].astype(float) + ORIGIN_NM
            extent = [in_file.min(axis=0).tolist(), in_file.max(axis=0).tolist()]
            usual = {"channels": [0, 2], "dims": axes, "origin_nm": list(ORIGIN_NM), "extent_nm": extent, "columns": {"group": "group"}}
            out.attrs.update(usual | {"pixel_size_nm": None, "pixel_offset_px": 0.0} | self.facts)
        arrays = self.clusters()
        with unit_writer(folder / "c.zip", "cluster") as out:
            for name, spec in SCHEMA["cluster"].items():
                if name in arrays or not spec.optional:
                    shape = tuple({"cluster": len(self.parts), "loc": n}.get(dim, 1) for dim in spec.dims)
                    out.write(name, arrays.get(name, np.zeros(shape)))
            out.attrs.update(shapes=list(SHAPES), with_parents=self.with_parents)
        return {"ingest": UnitReader(folder / "i.zip"), "cluster": UnitReader(folder / "c.zip")}


def pick(folder: Path, drawn: Drawn, *, picks: str = "", file: str = "picks.csv", **settings: Any) -> UnitReader:
    """The unit that the stage makes of the field; `picks` is what a file of centres holds. Only clusters need a unit of theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"source": "file" if picks else "cluster"} | settings
    if picks:
        sha256 = hashlib.sha256(picks.encode()).hexdigest()
        settings |= {"picks": file, "picks_sha256": sha256}
        copy = kept_file(PickConfig(**settings), folder)
        copy.write_text(picks)
    upstream = drawn.write(folder)
    if settings["source"] in ("group", "file"):
        del upstream["cluster"]
    with unit_writer(folder / "p.zip", "pick") as out:
        stage.run(
            Work(
                field=FIELD,
                source=folder / "unused.csv",
                outline=None,
                config=Config(pick=PickConfig(**settings)),
                upstream=upstream,
                out=out,
                scratch=folder,
                picks=folder,
                memory_bytes=1 << 28,
            )
        )
    return UnitReader(folder / "p.zip")
