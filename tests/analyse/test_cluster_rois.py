"""Columns of clusters in the table of ROIs, against loops over the units' clusters; and what is compared of them."""

import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.analyse.cluster_rois import cluster_columns, comparable
from smlmbatch.analyse.columns import CLUSTER_MEASURES
from smlmbatch.analyse.comparisons import measured_clusters, read_comparisons
from smlmbatch.analyse.fingerprint import table_path
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.store.arrays import UnitReader


@pytest.fixture(scope="module")
def campaign(made, clustered, tmp_path_factory):
    """Two conditions of three fields; the second has half as many locs, so half as many clusters."""
    cells = [
        made.Cell(field=made.field(f"{name}/{r}.csv", name, f"r{r}"), n_locs=n_locs, channels=(0, 2), side_um=12.0)
        for name, n_locs in (("ctrl", 7000), ("egf", 3500))
        for r in range(3)
    ]
    found = clustered.with_clusters(made.build(tmp_path_factory.mktemp("clusters"), cells), calibration=4.0)
    write_tables(found, fingerprint="f1")
    return found


def units_of(result):
    return {name: UnitReader(path) for name, path in result.units.items()}


def test_a_row_says_what_its_rois_clusters_are(campaign):
    rows = {(r["key"], r["roi"], r["channel"]): r for r in read_tables(campaign.output).rois.to_pylist()}
    seen = 0
    for result in campaign.fields[:2]:
        units = units_of(result)
        cluster, tile = units["cluster"], units["tile"]
        found = {name: cluster.read(name) for name in cluster.names() if name not in ("label", "belonging")}
        for roi in np.flatnonzero(tile.read("roi_kept")).tolist():
            for place, channel in enumerate((0, 2)):
                row = rows[result.field.key, roi, channel]
                own = (found["roi"] == roi) & (found["cluster_channel"] == channel)
                area_um2 = 9.0 * tile.read("roi_coverage")[roi]
                assert row["clusters_per_um2"] == pytest.approx(own.sum() / area_um2)
                assert row["clustered_share"] == pytest.approx(found["roi_n_clustered"][roi, place] / tile.read("roi_n_locs")[roi, place])
                assert row["cluster_locs"] == pytest.approx(found["n_locs"][own].mean())
                assert row["cluster_molecules"] == pytest.approx(found["n_locs"][own].mean() / 4.0)
                assert row["cluster_gyration_nm"] == pytest.approx(found["radius_of_gyration_nm"][own].mean())
                assert row["cluster_hull_nm2"] == pytest.approx(np.nanmean(found["area_nm2"][own]))
                assert row["cluster_eccentricity"] == pytest.approx(found["eccentricity"][own].mean())
                assert row["cluster_nearest_nm"] == pytest.approx(found["nearest_nm"][own].mean())
                seen += int(own.sum())
    assert seen > 100


def test_dropped_rois_have_no_value(campaign):
    rois = read_tables(campaign.output).rois
    dropped = [row for row in rois.to_pylist() if not row["kept"]]
    assert dropped
    assert all(row[name] is None for row in dropped for name in CLUSTER_MEASURES)


def test_parents_do_not_count(campaign, clustered, tmp_path):
    (result,) = campaign.fields[:1]
    with UnitReader(result.units["tile"]) as tile, UnitReader(result.units["cluster"]) as cluster:
        before = cluster_columns(cluster, tile, [0, 2])
        kept = cluster.read("roi") >= 0
        parent = int(np.flatnonzero(kept)[0])
        nested = _Nested(cluster, parent)
        after = cluster_columns(nested, tile, [0, 2])
    place = cluster_row(cluster, tile, parent)
    area_um2 = 9.0 * tile.read("roi_coverage")[place // 2]
    assert before["clusters_per_um2"][place].as_py() - after["clusters_per_um2"][place].as_py() == pytest.approx(1 / area_um2)
    others = [i for i in range(len(before["clusters_per_um2"])) if i != place]
    assert before["cluster_locs"].take(others) == after["cluster_locs"].take(others)


class _Nested:
    """A unit in which one cluster has children."""

    def __init__(self, unit, parent):
        self.attrs, self._unit, self._parent = unit.attrs, unit, parent

    def read(self, name):
        values = self._unit.read(name)
        if name == "n_children":
            values = values.copy()
            values[self._parent] = 2
        return values


def cluster_row(cluster, tile, number):
    return int(cluster.read("roi")[number]) * 2 + [0, 2].index(int(cluster.read("cluster_channel")[number]))


def test_without_a_unit_or_a_method_all_is_null(campaign):
    (result,) = campaign.fields[:1]
    with UnitReader(result.units["tile"]) as tile:
        for unit in (None, type("Off", (), {"attrs": {"channels": []}})()):
            columns = cluster_columns(unit, tile, [0, 2])
            assert list(columns) == list(CLUSTER_MEASURES)
            assert all(len(c) == c.null_count == 2 * tile.length("roi_kept") for c in columns.values())


def test_shares_and_means_need_locs_and_numbers_do_not(campaign):
    rois = read_tables(campaign.output).rois
    least = int(np.median(rois["n_locs"].to_numpy()))
    found = comparable(rois, min_locs=least)
    for row, before in zip(found.to_pylist(), rois.to_pylist(), strict=True):
        assert row["clusters_per_um2"] == before["clusters_per_um2"]
        if row["n_locs"] < least:
            assert row["clustered_share"] is row["cluster_locs"] is None
        else:
            assert row["cluster_locs"] == before["cluster_locs"]


def test_clusters_are_compared_as_a_family_of_their_own(campaign):
    found = {(c.channel, c.descriptor): c for c in read_comparisons(campaign.output, name="cluster_comparisons")}
    names = [name for name in CLUSTER_MEASURES if name != "cluster_locs"]  # molecules stand for locs: the same test
    assert list(found) == [(channel, name) for channel in (0, 2) for name in names]
    assert {c.n_family for c in found.values()} == {len(names)}
    number = found[0, "clusters_per_um2"]
    assert (number.reference, number.condition, number.n_replicates) == ("ctrl", "egf", 3)
    assert number.ratio == pytest.approx(0.5, rel=0.2)
    assert number.p_rank == number.p_rank_smallest  # every replicate below every one of the other
    descriptors = read_comparisons(campaign.output)
    assert not {c.descriptor for c in descriptors} & set(CLUSTER_MEASURES)
    assert {c.n_family for c in descriptors} == {11}  # what they were without clusters


def test_without_calibration_locs_are_compared(made, clustered, tmp_path):
    cells = [made.Cell(field=made.field(f"{name}/1.csv", name, "r1"), n_locs=2500, side_um=9.0) for name in "ab"]
    write_tables(clustered.with_clusters(made.build(tmp_path, cells)), fingerprint="f")
    assert "cluster_molecules" not in measured_clusters(read_tables(tmp_path).rois)
    assert "cluster_locs" in {c.descriptor for c in read_comparisons(tmp_path, name="cluster_comparisons")}


def test_a_campaign_without_clusters_has_an_empty_table(made, tmp_path):
    cells = [made.Cell(field=made.field(f"{name}/1.csv", name, "r1"), n_locs=2500, side_um=9.0) for name in "ab"]
    write_tables(made.build(tmp_path, cells), fingerprint="f")
    table = pq.read_table(table_path(tmp_path, "cluster_comparisons"))
    assert len(table) == 0
    assert table.column_names == pq.read_table(table_path(tmp_path, "comparisons")).column_names
    assert table.schema.metadata[b"smlmbatch_fingerprint"] == b"f"


def test_fields_without_the_unit_leave_the_others_as_they_are(campaign, tmp_path):
    last = campaign.fields[-1]
    without = replace(last, units={name: path for name, path in last.units.items() if name != "cluster"})
    write_tables(replace(campaign, output=tmp_path, fields=(*campaign.fields[:-1], without)), fingerprint="f2")
    columns = ["key", *CLUSTER_MEASURES]
    rows, before = (read_tables(output).rois.select(columns).to_pylist() for output in (tmp_path, campaign.output))
    for row, own in zip(rows, before, strict=True):
        if row["key"] == last.field.key:
            assert all(row[name] is None for name in CLUSTER_MEASURES)
        else:
            assert row == own or any(isinstance(v, float) and math.isnan(v) for v in row.values())
