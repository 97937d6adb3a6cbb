"""Does the embedding see the protein or the dye? EGFR and EREG in the same cells, dyes swapped between cells (Shirgill et al., Fig 4c).

Six real cells of two colours: in some EGFR carries the dye 568 and EREG 647, in the others the reverse. Two distances are held against
each other, both between cells of the two kinds: that of the same protein with the other dye, and that of the other protein with the
same dye (centroids over cells' means; the root of their mean square over the two proteins, or dyes). A ratio below 1 says that the protein
counts for more. Its interval is a bootstrap over cells within each kind; with two cells of one kind it is a rough one. Beside it the share
of the same protein among the 15 nearest ROIs in cells of the other kind, of same protein and same dye alike many (0.5 = neither).

All at all localisations and at an equal number in each ROI (the 10th percentile of the emptiest of the four), for the embedding, the
z-scored descriptors and the number of localisations alone. Blinks of following frames are merged in these files already.

    python -m benchmarks.dye_swap [MODEL]
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from smlmbatch.analyse.columns import DESCRIPTORS
from smlmbatch.analyse.fingerprint import MADE_WITH_KEY
from smlmbatch.analyse.neighbours import nearest

ROOT = Path(__file__).parents[1]
DYES = ("568", "647")  # of channel 0 and 1, in all files
DRAWS, NEIGHBOURS, LEAST_LOCS = 4000, 15, 50


@dataclass(frozen=True)
class Rois:
    """ROIs of all cells, row by row; `kind` is which protein carries the first dye."""

    vectors: NDArray[np.float64]
    cell: NDArray[np.object_]
    protein: NDArray[np.object_]
    dye: NDArray[np.object_]
    kind: NDArray[np.object_]


def measure(folder: Path, model: str = "auto") -> dict[str, Any]:
    """Run the cells through the pipeline at all and at equal numbers of locs, and hold the distances against each other.

    Parameters
    ----------
    model : as `--model` takes it
    """
    sheet = _prepare(folder)
    output = folder / "out"
    _run(sheet, output, model, n_locs=0)
    found: dict[str, Any] = {"all": _judge(output)}
    n_locs = _equal_n(output)
    _run(sheet, output, model, n_locs=n_locs)
    return found | {"n_locs": n_locs, "equal": {"embedding": judge(_embedded(output))}, "model_sha256": _model(output)}


def _prepare(folder: Path) -> Path:
    """The cells with a sheet that says which protein and dye is in which channel."""
    cells = Path(os.environ.get("SMLMBATCH_DATA", ROOT.parent / "shared" / "data")) / "real" / "egfr_ereg_cells"
    (folder / "cells").mkdir(parents=True)
    rows = []
    for path in sorted(cells.glob("*.parquet")):
        shutil.copyfile(path, folder / "cells" / path.name)  # not its permissions: the data set is read-only
        _, first, second, cell = path.stem.split("_")
        protein = {name[4:]: name[:4] for name in (first, second)}
        rows.append(
            {"path": path.name, "replicate": f"{first}_{second}_{cell}", "condition": "cells"}
            | {f"protein_{c}": protein[dye] for c, dye in enumerate(DYES)}
            | {f"dye_{c}": dye for c, dye in enumerate(DYES)}
        )
    sheet = folder / "cells" / "samples.csv"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return sheet


def _run(sheet: Path, output: Path, model: str, *, n_locs: int) -> None:
    settings = sheet.with_name("settings.toml")
    # the question is answered here, so the campaign's own analysis is kept short
    lean = "[embeddings]\nrepeats = 1\nmax_rois = 100\nmap_rois = 100\n"
    settings.write_text(f'[embed]\nn_locs = {n_locs}\nmin_locs = {LEAST_LOCS}\n[compare]\nconditions = "protein,dye"\n{lean}')
    command = [sys.executable, "-m", "smlmbatch", "run", sheet, output, "--unit", "nm", "--config", settings, "--update", "--model", model]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def _table(output: Path, name: str) -> Any:
    return pq.ParquetFile(output / "tables" / f"{name}.parquet").read()


def _model(output: Path) -> str:
    return str(json.loads(_table(output, "embeddings").schema.metadata[MADE_WITH_KEY])["model_sha256"])


def _rois(rows: Any, fields: Any, vectors: NDArray[np.floating]) -> Rois:
    labels = {row["key"]: row for row in fields.to_pylist()}
    keys, channels = rows["key"].to_pylist(), rows["channel"].to_pylist()
    names = {
        name: np.array([labels[key][f"label_{name}_{channel}"] for key, channel in zip(keys, channels, strict=True)], dtype=object)
        for name in ("protein", "dye")
    }
    kind = np.array([labels[key]["label_protein_0"] for key in keys], dtype=object)
    return Rois(np.asarray(vectors, dtype=np.float64), np.array(keys, dtype=object), **names, kind=kind)


def _embedded(output: Path) -> Rois:
    table = _table(output, "embeddings")
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return _rois(table, _table(output, "fields"), vectors)


def _judge(output: Path) -> dict[str, Any]:
    """The embedding, and what it is held against: the descriptors and the number of locs of the same ROIs."""
    embedded = _table(output, "embeddings")
    same = {(row["key"], row["roi"], row["channel"]) for row in embedded.select(["key", "roi", "channel"]).to_pylist()}
    rois = _table(output, "rois")
    rows = rois.take([i for i, row in enumerate(rois.to_pylist()) if (row["key"], row["roi"], row["channel"]) in same])
    fields = _table(output, "fields")
    log_n = np.log(rows["n_locs"].to_numpy())[:, None]
    described = np.column_stack([rows[name].cast("float64").to_numpy() for name in DESCRIPTORS])
    described = np.where(np.isfinite(described), described, np.nanmedian(described, axis=0))
    spread = described.std(axis=0)
    described = (described - described.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return {
        "embedding": judge(_embedded(output)),
        "descriptors": judge(_rois(rows, fields, described)),
        "log N": judge(_rois(rows, fields, log_n)),
    }


def _equal_n(output: Path) -> int:
    """10th percentile of locs per ROI in the emptiest of the four kinds of channels, rounded down to tens."""
    table = _table(output, "embeddings")
    rois = _rois(table, _table(output, "fields"), np.zeros((len(table), 1)))
    n_locs = table["n_locs"].to_numpy()
    lowest = min(np.quantile(n_locs[(rois.protein == p) & (rois.dye == d)], 0.1) for p in set(rois.protein) for d in set(rois.dye))
    return max(LEAST_LOCS, int(lowest) // 10 * 10)


# ---- the question


def judge(rois: Rois) -> dict[str, Any]:
    """Ratio of the two distances and share of the same protein among neighbours, each with a 95 % interval over cells."""
    cells = {kind: sorted(set(rois.cell[rois.kind == kind])) for kind in sorted(set(rois.kind))}
    means = {(c, d): rois.vectors[(rois.cell == c) & (rois.dye == d)].mean(axis=0) for own in cells.values() for c in own for d in DYES}
    shares = _shares(rois)
    rng = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(4,)))
    drawn = [{kind: [own[i] for i in rng.integers(0, len(own), len(own))] for kind, own in cells.items()} for _ in range(DRAWS)]
    ratio = np.array([_ratio(means, chosen) for chosen in drawn])
    share = np.array([np.mean([shares[c] for own in chosen.values() for c in own]) for chosen in drawn])
    low, high = np.quantile(ratio, (0.025, 0.975)).tolist()
    share_low, share_high = np.quantile(share, (0.025, 0.975)).tolist()
    return {
        "ratio": _ratio(means, cells),
        "ratio_low": low,
        "ratio_high": high,
        "neighbours": float(np.mean(list(shares.values()))),
        "neighbours_low": share_low,
        "neighbours_high": share_high,
        "n_rois": len(rois.vectors),
        "n_cells": {kind: len(own) for kind, own in cells.items()},
    }


def _ratio(means: dict[tuple[str, str], NDArray[np.float64]], cells: dict[str, Sequence[str]]) -> float:
    """Distance of the same protein with the other dye, over that of the other protein with the same dye.

    In both kinds of cells there are both dyes; a protein that has the first dye in one kind has the second in the other.
    """
    one, other = (np.array([np.mean([means[c, dye] for c in own], axis=0) for dye in DYES]) for own in cells.values())
    same_protein = np.sum((one - other[::-1]) ** 2)
    same_dye = np.sum((one - other) ** 2)
    return float(np.sqrt(same_protein / same_dye))


def _shares(rois: Rois) -> dict[str, float]:
    """Cell → share of the same protein among its ROIs' nearest in cells of the other kind, weighted as if both dyes were alike many."""
    found = {}
    for kind in sorted(set(rois.kind)):
        there = np.flatnonzero(rois.kind != kind)
        number = {dye: int((rois.dye[there] == dye).sum()) for dye in DYES}
        weight = np.array([1.0 / number[dye] for dye in rois.dye[there]])
        for cell in sorted(set(rois.cell[rois.kind == kind])):
            here = np.flatnonzero(rois.cell == cell)
            near = nearest(rois.vectors[here], rois.vectors[there], k=NEIGHBOURS)
            same = rois.protein[there][near] == rois.protein[here][:, None]
            by_dye = [float((weight[near] * same)[rois.dye[here] == dye].sum() / weight[near][rois.dye[here] == dye].sum()) for dye in DYES]
            found[cell] = float(np.mean(by_dye))
    return found


def shown(found: dict[str, Any]) -> str:
    """The figure in words."""
    texts = []
    for name, label in (("all", "all locs"), ("equal", f"{found['n_locs']} locs each")):
        own = found[name]["embedding"]
        near = f"{own['neighbours']:.0%} [{own['neighbours_low']:.0%}, {own['neighbours_high']:.0%}] of neighbours"
        texts.append(f"{label}: {own['ratio']:.2f} [{own['ratio_low']:.2f}, {own['ratio_high']:.2f}], {near}")
    return "; ".join(texts)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="smlmbatch-dyes-") as scratch:
        result = measure(Path(scratch), *sys.argv[1:2])
    print(json.dumps(result, indent=1))
    print(shown(result))
