"""Clusters in the tables of a made-up campaign: rows, nulls, and what the fields' rows say of them."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.tables import write_tables
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA

# Of channel 0: two children and their parent, one alone; of channel 2: one without a hull, one far outside of the cell.
ROWS = {
    "cluster_channel": [0, 0, 0, 0, 2, 2],
    "n_locs": [10, 20, 60, 30, 2, 4],
    "x_nm": [9000.0, 11000, 10000, 10500, 10500, 1e6],
    "y_nm": [10500.0, 10500, 10500, 10500, 10500, 1e6],
    "radius_of_gyration_nm": [10.0, 20, 60, 500, 1, 3],
    "area_nm2": [100.0, 200, 300, 400, np.nan, 9],
    "nearest_nm": [5.0, 5, 7, np.nan, np.nan, np.nan],
    "shape": [0, 1, 255, 255, 1, 0],
    "parent": [3, 3, -1, -1, -1, -1],
    "n_children": [0, 0, 0, 2, 0, 0],
    "roi": [4, -1, 0, 0, 2, -1],
}


@pytest.fixture
def campaign(made, tmp_path):
    found = made.study(tmp_path, channels=(0, 2), n_locs=1500)
    first = found.fields[0]
    path = first.units["tile"].with_name("cluster-0.zarr.zip")
    with UnitReader(first.units["ingest"]) as ingest, UnitReader(first.units["tile"]) as tile, unit_writer(path, "cluster") as out:
        lengths = {"loc": ingest.length("x_nm"), "cluster": 6, "roi": tile.length("roi_kept"), "channel": 2}
        for name, spec in SCHEMA["cluster"].items():
            if not spec.optional:
                out.write(name, np.array(ROWS.get(name, np.zeros([lengths[dim] for dim in spec.dims]))))
        fits = [{"n_clusters": 3, "least": 10, "mean": 21.0, "distance": 0.3}, None]
        out.attrs |= {"method": "miro", "channels": [0, 2], "shapes": ["spot", "ring"], "warnings": ["A word."]}
        out.attrs |= {"n_clustered": [90, 6], "locs_per_spot": fits}
    units = {**first.units, "cluster": path}
    return replace(found, fields=(replace(first, units=units), *found.fields[1:]))


def test_rows_of_clusters(campaign, made) -> None:
    field = campaign.fields[0].field
    write_tables(campaign, fingerprint="f")
    rows = pq.read_table(campaign.output / "tables" / "clusters.parquet").to_pylist()
    assert [row["cluster"] for row in rows] == list(range(6))
    assert {row["key"] for row in rows} == {field.key}
    assert [row["condition"] for row in rows] == [field.condition_of(c) for c in ROWS["cluster_channel"]]
    assert [row["x_nm"] for row in rows] == [x + made.ORIGIN_NM[0] for x in ROWS["x_nm"]]
    assert [row["y_nm"] for row in rows] == [y + made.ORIGIN_NM[1] for y in ROWS["y_nm"]]
    assert [row["shape"] for row in rows] == ["spot", "ring", None, None, "ring", "spot"]
    assert [row["parent"] for row in rows] == [3, 3, None, None, None, None]
    assert [row["roi"] for row in rows] == [4, None, 0, 0, 2, None]
    assert [row["area_nm2"] for row in rows] == [100, 200, 300, 400, None, 9]
    assert [row["n_locs"] for row in rows] == ROWS["n_locs"]


def test_the_fields_row(campaign, made) -> None:
    """Innermost clusters only; density of those inside the cell; a field without the unit has nulls."""
    write_tables(campaign, fingerprint="f")
    rows = pq.read_table(campaign.output / "tables" / "fields.parquet").to_pylist()
    row, other = rows[0], rows[1]
    assert (row["cluster_method"], row["n_clusters"], row["cluster_warnings"]) == ("miro", [3, 2], ["A word."])
    assert row["clusters_per_um2"] == [3 / row["cell_area_um2"], 1 / row["cell_area_um2"]]
    assert row["clustered_share"] == [90 / row["n_per_channel"][0], 6 / row["n_per_channel"][1]]
    assert (row["cluster_radius_nm"], row["cluster_locs"]) == ([20.0, 2.0], [20.0, 3.0])
    assert (row["cluster_nearest_nm"], row["locs_per_spot"]) == ([5.0, None], [21.0, None])
    assert all(other[name] is None for name in ("cluster_method", "n_clusters", "clustered_share", "cluster_warnings"))
