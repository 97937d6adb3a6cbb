"""What is said of particles: numbers by condition, reasons, and nothing where nothing was wanted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.columns import PARTICLE_COLUMNS, arrow_schema
from smlmbatch.config import Config, PickConfig
from smlmbatch.report.particle_section import show_particles
from smlmbatch.samples import Field
from smlmbatch.store.arrays import unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import Campaign, FieldResult

DROPPED = ({"too few locs": 3, "too near to a neighbour": 0}, {"too few locs": 1, "too near to a neighbour": 1000})
# condition, field, channel, locs, radius, centred by
PARTICLES = [
    ("b<", 0, 0, 40, 50.0, "circle"),
    ("b<", 0, 0, 60, 54.0, "circle"),
    ("b<", 0, 0, 90, 58.0, "area"),
    ("a", 1, 1, 30, 20.0, "area"),
]


def write_unit(path: Path, dropped: dict[str, int], n: list[int]) -> Path:
    with unit_writer(path, "pick") as out:
        for name, spec in SCHEMA["pick"].items():
            out.write(name, np.zeros(tuple({"axis": 2, "particle_bound": 1}.get(dim, 0) for dim in spec.dims)))
        out.attrs.update(n_particles=n, n_clusters=sum(n) + sum(dropped.values()), dropped=dropped)
    return path


@pytest.fixture
def campaign(tmp_path) -> Campaign:
    results = []
    for number, dropped in enumerate(DROPPED):
        field = Field(path=f"f{number}.csv", name=f"f{number}.csv", condition="ab"[number], replicate="r", format="generic")
        unit = write_unit(tmp_path / f"{number}.zip", dropped, [[3, 0], [0, 1]][number])
        results.append(FieldResult(field=field, units={"pick": unit}))
    names = ("condition", "key", "channel", "n_locs", "radius_nm", "centre_by")
    rows = [dict.fromkeys(PARTICLE_COLUMNS) | dict(zip(names, row, strict=True)) | {"key": f"f{row[1]}"} for row in PARTICLES]
    (tmp_path / "tables").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(PARTICLE_COLUMNS)), tmp_path / "tables" / "particles.parquet")
    return Campaign(output=tmp_path, config=Config(pick=PickConfig(source="cluster")), fields=tuple(results))


def test_numbers_by_condition_and_reasons(campaign) -> None:
    text = show_particles(campaign, titles_of={0: "red", 1: "green"})
    assert "4 of 1,008 clusters are particles" in text
    assert "The others: 4 too few locs, 1,000 too near to a neighbour." in text
    cells = [row.split("</td>") for row in text.split("<tr>")[2:]]
    plain = [[cell.rpartition(">")[2] for cell in row[:-1]] for row in cells]
    assert plain == [
        ["a, green", "1", "1", "30.0", "20.0", "the centroid of the hull (1)"],
        ["b&lt;, red", "3", "1", "60.0", "54.0", "a fitted circle (2), the centroid of the hull (1)"],
    ]


def test_nothing_where_nothing_was_wanted(campaign) -> None:
    assert show_particles(replace(campaign, config=Config()), titles_of={}) is None
    assert show_particles(replace(campaign, fields=()), titles_of={}) is None
