"""A simulated campaign on disk: vendor files and a sample sheet to analyse, the truth beside them.

    FOLDER/input/<condition>/<field>...     what the microscopes' programs would write
    FOLDER/input/samples.csv                the sample sheet
    FOLDER/truth/<field>.parquet            per record of the file: molecule, cluster, fibre, true position
    FOLDER/truth/parameters.json            all settings and what each replicate drew; written last

The truth lies beside `input`, never in it, so that it can't be analysed by mistake. Every file appears whole; the
same settings give the same bytes. A folder that holds anything else of these names is refused, never mixed.
"""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from smlmbatch.simulate.blinking import Camera
from smlmbatch.simulate.cell import SimulateConfig, SimulatedField, simulate_field
from smlmbatch.simulate.folder import is_there, parameters_path
from smlmbatch.simulate.writers import FORMATS
from smlmbatch.store.units import appears_whole, write_whole

SIMULATOR_VERSION = 1  # raised when the same settings give other data


class PlannedField(NamedTuple):
    """One field to be made; `replicate` and `field` count from 0."""

    condition: str
    replicate: int
    field: int
    format: str

    @property
    def name(self) -> str:
        return f"{self.condition}_r{self.replicate + 1:02d}_f{self.field + 1:02d}"

    @property
    def path(self) -> str:
        """Relative to `input`."""
        return f"{self.condition}/{self.name}{FORMATS[self.format].suffix}"


def planned_fields(config: SimulateConfig) -> list[PlannedField]:
    """All fields. Formats take turns within a condition, the same in each, so that no format stands for a condition."""
    return [
        PlannedField(condition, replicate, field, config.formats[(replicate + field) % len(config.formats)])
        for condition in config.architectures
        for replicate in range(config.replicates)
        for field in range(config.fields_per_replicate)
    ]


def simulate_campaign(folder: Path, config: SimulateConfig) -> bool:
    """Write the campaign into `folder`; False if it was there already, settings and files.

    Raises
    ------
    ConfigError
        `folder` holds another simulation, or files that are none of this one's
    """
    planned = planned_fields(config)
    settings = {"simulator": SIMULATOR_VERSION, "config": dataclasses.asdict(config)}
    if is_there(folder, _files(planned), settings):
        return False
    drawn = {one.name: write_field(folder, config, one) for one in planned}
    write_whole(folder / "input" / "samples.csv", _sheet(planned).encode())
    conditions = {name: dataclasses.asdict(architecture) for name, architecture in config.architectures.items()}
    write_whole(parameters_path(folder), json.dumps(settings | {"conditions": conditions, "fields": drawn}, indent=1).encode())
    return True


def write_field(folder: Path, config: SimulateConfig, planned: PlannedField) -> dict[str, Any]:
    """Make and write one field, file and truth; returns what was drawn for it."""
    camera = Camera()
    made = simulate_field(config, condition=planned.condition, replicate=planned.replicate, field=planned.field, camera=camera)
    FORMATS[planned.format].write(folder / "input" / planned.path, made.locs, camera, (made.side_nm, made.side_nm))
    _write_truth(folder / "truth" / f"{planned.name}.parquet", made)
    place = {"path": planned.path, "condition": planned.condition, "replicate": _replicate_name(planned)}
    return place | {"n_locs": len(made.locs)} | made.drawn | {"outline_nm": made.outline_nm.round(1).tolist()}


def _write_truth(path: Path, made: SimulatedField) -> None:
    """One row per record of the field's file, in its order; `row` is the store's column of that name."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table(
        {
            "row": np.arange(len(made.locs)),
            "molecule": made.locs.molecule,
            "cluster": made.cluster,
            "fibre": made.fibre,
            "in_cell": made.in_cell,
            "true_x_nm": made.true_xy_nm[:, 0],
            "true_y_nm": made.true_xy_nm[:, 1],
        }
    )
    with appears_whole(path) as partial:
        parquet.write_table(table, partial, compression="zstd")


def _sheet(planned: list[PlannedField]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["path", "field", "condition", "replicate"])
    writer.writerows([one.path, one.name, one.condition, _replicate_name(one)] for one in planned)
    return out.getvalue()


def _replicate_name(planned: PlannedField) -> str:
    """Replicates of different conditions are different cultures, so their names differ."""
    return f"{planned.condition}-{planned.replicate + 1}"


def _files(planned: list[PlannedField]) -> set[str]:
    """Every file of the campaign, relative to its folder."""
    files = {"input/samples.csv", "truth/parameters.json"}
    for one in planned:
        files |= {f"input/{one.path}", f"truth/{one.name}.parquet"}
        if companion := FORMATS[one.format].companion:
            files.add(f"input/{one.condition}/{one.name}{companion}")
    return files
