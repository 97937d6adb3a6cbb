"""An evaluation set on disk: the single ROIs of `rois` as fields that the whole pipeline can run on, with their truth.

    FOLDER/input/<condition>/<field>...       localisation files: a mosaic of 3 um ROIs, each exactly one square of the pipeline's grid
    FOLDER/input/<condition>/<field>.outline.csv   the mosaic's edge, which the grid is aligned to
    FOLDER/input/samples.csv                  the sample sheet
    FOLDER/truth/<field>.parquet              per record of the file: number of the ROI, its place, cluster, fibre
    FOLDER/truth/parameters.json              what each condition is, and which ROIs lie in which field; written last

Positions are those of the ROIs as they are drawn (`sigma_nm` is what is seen, localisation error included), so the pipeline embeds the
very ROIs that a model's card is measured on. ROIs take turns over replicates; condition and number of a ROI are all that it depends on.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError
from smlmbatch.simulate.blinking import Camera, Fluorophore, SimulatedLocs, blink
from smlmbatch.simulate.folder import is_there, parameters_path
from smlmbatch.simulate.rois import SETS, SIDE_NM, RoiSpec, draw_member
from smlmbatch.simulate.writers import FORMATS
from smlmbatch.store.units import appears_whole, write_whole

SIMULATOR_VERSION: Final = 1  # raised when the same settings give other data
_RECORDS: Final = 0x3E7  # purpose of what a record says beside its place
_EDGE_NM: Final = 0.02  # kept clear at a ROI's upper edges: files round, and a loc must not change its ROI


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Which set, how much of it, and which draw: cards of models are measured on seeds from 1."""

    name: str
    rois_per_condition: int = 50
    replicates: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in SETS:
            raise ConfigError(f"no evaluation set {self.name!r}: wanted one of {', '.join(SETS)}")
        if not 1 <= self.replicates <= self.rois_per_condition:
            raise ConfigError(f"{self.replicates} replicates of {self.rois_per_condition} ROIs: wanted 1 or more, and a ROI for each")


@dataclass(frozen=True, slots=True)
class Mosaic:
    """One field.

    Attributes
    ----------
    locs : n localisations in order of frame
    roi : (n,) i4, number of the ROI in its condition
    cluster, fibre : (n,) i4 from 1 within the ROI, 0 = none
    side_nm : side of the square
    rois : ROI → (column, row) in the mosaic
    """

    locs: SimulatedLocs
    roi: NDArray[np.int32]
    cluster: NDArray[np.int32]
    fibre: NDArray[np.int32]
    side_nm: float
    rois: Mapping[int, tuple[int, int]]


def simulate_set(folder: Path, config: EvaluationConfig) -> bool:
    """Write the set into `folder`; False if it was there already.

    Raises
    ------
    ConfigError
        `folder` holds something else
    """
    settings = {"simulator": SIMULATOR_VERSION, "config": dataclasses.asdict(config)}
    if is_there(folder, _files(config), settings):
        return False
    rows, fields = ["path,field,condition,replicate,cell_outline"], {}
    for number, condition in enumerate(SETS[config.name]):
        for replicate in range(config.replicates):
            place = _place(condition, replicate)
            made = draw_mosaic(config, condition=number, replicate=replicate)
            _write_field(folder, place, made)
            rows.append(f"{place['path']},{place['field']},{condition},{place['replicate']},{place['outline']}")
            fields[place["field"]] = place | {"n_locs": len(made.locs), "rois": {str(roi): at for roi, at in made.rois.items()}}
    write_whole(folder / "input" / "samples.csv", ("\n".join(rows) + "\n").encode())
    conditions = {name: _json_ready(spec) for name, spec in SETS[config.name].items()}
    write_whole(parameters_path(folder), json.dumps(settings | {"conditions": conditions, "fields": fields}, indent=1).encode())
    return True


def draw_mosaic(config: EvaluationConfig, *, condition: int, replicate: int) -> Mosaic:
    """The ROIs replicate, replicate + replicates, … of a condition, side by side in a square."""
    members = range(replicate, config.rois_per_condition, config.replicates)
    columns = int(np.ceil(np.sqrt(len(members))))
    drawn, rois = [], {}
    for at, roi in enumerate(members):
        row, column = divmod(at, columns)
        pattern = draw_member(config.name, condition=condition, roi=roi, seed=config.seed)
        xy_nm = np.minimum(pattern.xy_nm, SIDE_NM - _EDGE_NM) + SIDE_NM * np.array([column, row])
        drawn.append((xy_nm, np.full(len(xy_nm), roi, dtype=np.int32), pattern.cluster, pattern.fibre))
        rois[roi] = (column, row)
    xy_nm, roi_of, cluster, fibre = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_RECORDS, condition, replicate)))
    seen = blink(rng, xy_nm, fluorophore=Fluorophore(), camera=Camera())
    of = seen.molecule
    locs = dataclasses.replace(seen, x_nm=xy_nm[of, 0], y_nm=xy_nm[of, 1])
    return Mosaic(locs, roi_of[of], cluster[of], fibre[of], SIDE_NM * columns, rois)


def _place(condition: str, replicate: int) -> dict[str, str]:
    """Names of a field and its files; formats take turns, the same in each condition, so that no format stands for one."""
    slug = re.sub(r"[^\w.-]+", "_", condition)
    name, suffix = f"{slug}_r{replicate + 1:02d}", FORMATS[_format_of(replicate)].suffix
    outline = f"{slug}/{name}.outline.csv"
    return {"path": f"{slug}/{name}{suffix}", "field": name, "replicate": f"{slug}-{replicate + 1}", "outline": outline}


def _files(config: EvaluationConfig) -> set[str]:
    """All that a set consists of, relative to its folder."""
    files = {"input/samples.csv", "truth/parameters.json"}
    for condition in SETS[config.name]:
        for replicate in range(config.replicates):
            place = _place(condition, replicate)
            files |= {f"input/{place['path']}", f"input/{place['outline']}", f"truth/{place['field']}.parquet"}
            if companion := FORMATS[_format_of(replicate)].companion:
                files.add(f"input/{place['path'].rpartition('/')[0]}/{place['field']}{companion}")
    return files


def _format_of(replicate: int) -> str:
    return list(FORMATS)[replicate % len(FORMATS)]


def _write_field(folder: Path, place: Mapping[str, str], made: Mosaic) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / "input" / place["path"]
    file_format = next(f for f in FORMATS.values() if path.name == place["field"] + f.suffix)
    file_format.write(path, made.locs, Camera(), (made.side_nm, made.side_nm))
    corners = ((0.0, 0.0), (made.side_nm, 0.0), (made.side_nm, made.side_nm), (0.0, made.side_nm))
    text = "x_nm,y_nm\n" + "".join(f"{x},{y}\n" for x, y in corners)
    write_whole(folder / "input" / place["outline"], text.encode())
    columns = {"row": np.arange(len(made.locs)), "roi": made.roi, "cluster": made.cluster, "fibre": made.fibre}
    table = pa.table(columns | {"true_x_nm": made.locs.x_nm, "true_y_nm": made.locs.y_nm})
    with appears_whole(folder / "truth" / f"{place['field']}.parquet") as partial:
        parquet.write_table(table, partial, compression="zstd")


def _json_ready(spec: RoiSpec) -> dict[str, Any]:
    """JSON knows no infinity: a ROI of nothing but background says so in words."""
    return {name: value if value != np.inf else "nothing else" for name, value in dataclasses.asdict(spec).items()}
