"""What is said of particles: numbers by condition, reasons, and nothing where nothing was wanted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def write_unit(path: Path, dropped: dict[str, int], n: list[int], *, axes: int = 2, **facts: Any) -> Path:
    """`group` and `pick` count from 40; those particles that a fact names are there."""
    with unit_writer(path, "pick") as out:
        lengths = {"axis": axes, "particle_bound": 1, "particle": 9 * ("outsized" in facts)}
        for name, spec in SCHEMA["pick"].items():
            if name in ("group", "pick") and name != facts.get("called"):
                continue
            out.write(name, np.zeros(tuple(lengths.get(dim, 0) for dim in spec.dims)) if name != facts.get("called") else np.arange(40, 49))
        out.attrs.update({"n_particles": n, "n_clusters": sum(n) + sum(dropped.values()), "dropped": dropped} | facts)
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


def field_units(campaign: Campaign, *units: Path) -> Campaign:
    fields = tuple(replace(result, units={"pick": unit}) for result, unit in zip(campaign.fields, units, strict=True))
    return replace(campaign, fields=fields)


def test_groups_which_column_says_them_and_which_are_to_be_looked_at(campaign, tmp_path) -> None:
    facts = {"called": "group", "group_column": "group", "n_in_no_group": 1500}
    units = (
        write_unit(tmp_path / "g0.zip", {"too few locs": 2}, [3], n_groups=5, outsized=[], **facts),
        write_unit(tmp_path / "g1.zip", {"too few locs": 0}, [9], n_groups=9, outsized=[2, 8], axes=3, **facts),
    )
    config = Config(pick=PickConfig(source="group"))
    text = show_particles(replace(field_units(campaign, *units), config=config), titles_of={})
    assert "12 of 14 groups are particles, copies of one structure. The others: 2 too few locs." in text
    assert "column group says; 3,000 localisations are in none." in text
    assert "10 times the locs: group 42 of f1.csv, group 48 of f1.csv; look at them" in text
    assert "Particles of 1 field lie in the plane, those of 1 field in space" in text


def test_given_centres_and_fields_without_one(campaign, tmp_path) -> None:
    facts = {"called": "pick"}
    units = (
        write_unit(tmp_path / "p0.zip", {"outside of the field": 4}, [9], n_picks=13, outsized=[0], **facts),
        write_unit(tmp_path / "p1.zip", {"outside of the field": 0}, [0], n_picks=0, outsized=[], axes=3, **facts),
    )
    config = Config(pick=PickConfig(source="file", picks="c<1>.csv", picks_sha256="ab" * 32))
    text = show_particles(replace(field_units(campaign, *units), config=config), titles_of={})
    assert "9 of 13 centres are particles, copies of one structure. The others: 4 outside of the field." in text
    assert "one of c&lt;1&gt;.csv (sha256 abababababab)" in text
    assert "Without a centre in it: f1.csv." in text
    assert "centre 41 of f0.csv;" in text
    assert "in space" not in text  # a field without particles has no axes
