"""The clusters' part of a field's page: numbers as the unit has them, the fitted line in closed form, and what is said where nothing is."""

import csv
import io
import re

import numpy as np
import pytest

from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.report import field_clusters as module
from smlmbatch.report.field_clusters import field_clusters
from smlmbatch.report.html import read_checks
from smlmbatch.store.arrays import UnitReader


@pytest.fixture(scope="module")
def campaign(made, tmp_path_factory):
    cells = [made.Cell(field=made.field("a.csv", "ctrl", "r1"), channels=(0, 3), n_locs=6000, side_um=12.0)]
    return made.build(tmp_path_factory.mktemp("field"), cells)


def drawn(campaign, clustered, *, names=("red", "blue"), **look):
    (result,) = clustered.with_clusters(campaign, **look).fields
    units = {name: UnitReader(path) for name, path in result.units.items()}
    return units, field_clusters(units["ingest"], units["tile"], units["cluster"], names=list(names), field="a.csv")


@pytest.fixture(scope="module")
def usual(campaign, clustered):
    return drawn(campaign, clustered, calibration=4.0, warnings=["Locs are very crowded."])


def rows_of(figure):
    return list(csv.DictReader(io.StringIO(figure.numbers)))


def text_of(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "|", str(markup))).replace("\u202f", " ")


def test_the_words_say_who_found_how_many_and_what_is_doubtful(usual):
    units, found = usual
    text = text_of(found.words)
    assert f"MIRO found {units['cluster'].length('n_locs'):,} clusters in the whole field." in text
    assert "|Locs are very crowded.|" in text


def test_histograms_hold_every_cluster_once(usual):
    units, found = usual
    channel, n_locs, radius_nm = (units["cluster"].read(name) for name in ("cluster_channel", "n_locs", "radius_of_gyration_nm"))
    by_name = {figure.name: figure for figure in found.charts}
    assert list(by_name) == ["locs-per-cluster-0", "locs-per-cluster-3", "cluster-radius"]
    for c in (0, 3):
        rows, own = rows_of(by_name[f"locs-per-cluster-{c}"]), n_locs[channel == c]
        assert sum(int(row["clusters"]) for row in rows) == len(own)
        for row in rows[:-1]:  # the last holds all above
            assert int(row["clusters"]) == ((own >= int(row["locs_from"])) & (own <= int(row["locs_to"]))).sum()
        radii = rows_of(by_name["cluster-radius"])
        assert sum(int(row[f"clusters_channel_{c}"]) for row in radii) == len(own)
    assert float(radii[-1]["radius_to_nm"]) >= np.percentile(radius_nm, 90)


def test_the_line_is_the_geometric_distribution_the_unit_fitted(usual):
    units, found = usual
    cluster = units["cluster"]
    n_locs = cluster.read("n_locs")[cluster.read("cluster_channel") == 0]
    chance = 1 / (n_locs.mean() - n_locs.min() + 1)
    rows = rows_of(next(figure for figure in found.charts if figure.name == "locs-per-cluster-0"))
    for row in rows:
        k = np.arange(int(row["locs_from"]), int(row["locs_to"]) + 1) - n_locs.min()
        assert float(row["clusters_by_fit"]) == pytest.approx(len(n_locs) * (chance * (1 - chance) ** k).sum(), abs=1e-3)
    assert f"each would have {1 / chance:.3g} locs" in found.charts[0].caption


def test_numbers_are_medians_of_the_innermost_clusters(usual):
    units, found = usual
    cluster, tile = units["cluster"], units["tile"]
    own = cluster.read("cluster_channel") == 3
    text = text_of(found.numbers)
    assert text.index("Shapes told") < text.index("Shapes are a hint, no finding")
    assert f"|Clusters||{(~own).sum():,}||{own.sum():,}|" in text
    low, middle, high = np.percentile(cluster.read("n_locs")[own], [25, 50, 75])
    assert f"{round(middle)} ({round(low)} to {round(high)})" in text
    area_um2 = 9.0 * tile.read("roi_coverage")[tile.read("roi_kept").astype(bool)].sum()
    assert f"{(cluster.read('roi')[own] >= 0).sum() / area_um2:.3g}" in text
    assert "|Molecules per cluster|" in text
    assert re.search(r"Shapes told\|\|(blob|rod) 5\d %, (rod|blob) (49|50) %", text)
    assert "Clusters of clusters" not in text


class _Nested:
    """A unit in which the first cluster has children."""

    def __init__(self, unit):
        self.attrs, self._unit = {**unit.attrs, "with_parents": True}, unit

    def has(self, name):
        return self._unit.has(name)

    def read(self, name, start=0, stop=None):
        values = self._unit.read(name, start, stop)
        return np.where(np.arange(len(values)) == 0, 2, 0) if name == "n_children" else values


def test_parents_are_counted_by_themselves(usual):
    units, found = usual
    nested = field_clusters(units["ingest"], units["tile"], _Nested(units["cluster"]), names=["red", "blue"], field="a.csv")
    n_first = int((units["cluster"].read("cluster_channel") == 0).sum())
    assert f"|Clusters||{n_first}|" in text_of(found.numbers)
    assert f"|Clusters||{n_first - 1}|" in text_of(nested.numbers)
    assert "|Clusters of clusters||1||0|" in text_of(nested.numbers)


def test_the_roi_shown_has_the_middle_number_and_its_clusters_are_the_csv(usual):
    units, found = usual
    for place, (figure, c) in enumerate(zip(found.panels, (0, 3), strict=True)):
        n_locs = units["cluster"].read("roi_n_clustered")[:, place]
        kept = units["tile"].read("roi_kept").astype(bool)
        roi = int(re.search(r"ROI (\d+)", figure.caption)[1])
        assert kept[roi]
        assert abs((n_locs[kept] < n_locs[roi]).sum() - (n_locs[kept] > n_locs[roi]).sum()) <= 1 + (n_locs[kept] == n_locs[roi]).sum()
        own = (units["cluster"].read("roi") == roi) & (units["cluster"].read("cluster_channel") == c)
        assert [int(row["n_locs"]) for row in rows_of(figure)] == units["cluster"].read("n_locs")[own].tolist()


def test_a_channel_of_one_name_needs_no_name(made, clustered, tmp_path):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "ctrl", "r1"), n_locs=3000, side_um=9.0)])
    _, found = drawn(campaign, clustered, names=["whatever"], method="dbscan")
    assert [figure.name for figure in (*found.panels, *found.charts)] == ["clusters", "locs-per-cluster", "cluster-radius"]
    assert "|DBSCAN|" in text_of(found.numbers)
    assert "whatever" not in text_of(found.numbers)
    assert "Middle" not in found.panels[0].caption
    assert found.panels[0].drawing.count("<image") == 4


@pytest.mark.parametrize(
    ("look", "said"),
    [
        ({"nothing": True, "method": "dbscan"}, "DBSCAN found no cluster in this field."),
        ({"why_none": "Clusters were not asked for."}, "Clusters were not asked for."),
    ],
)
def test_where_there_is_no_cluster_it_is_said(made, clustered, tmp_path, look, said):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a.csv", "ctrl", "r1"), n_locs=2000, side_um=9.0)])
    _, found = drawn(campaign, clustered, names=["x"], **look)
    assert said in text_of(found.words)
    assert (found.panels, found.charts, found.numbers) == ((), (), None)


def test_few_clusters_get_no_histogram(campaign, clustered, monkeypatch):
    monkeypatch.setattr(module, "_LEAST", 10**6)
    _, found = drawn(campaign, clustered)
    assert found.charts == []
    assert found.numbers is not None


def test_the_page_of_a_field_has_them_and_is_written_anew_when_they_come(made, clustered, tmp_path):
    from smlmbatch.analyse.grouping import group_rois
    from smlmbatch.report.field_pages import write_field_pages
    from smlmbatch.report.sections import in_order, with_sample

    def write(campaign):
        write_tables(campaign, fingerprint="t")
        tables = read_tables(campaign.output)
        rows = in_order([{"light": None, **row} for row in with_sample(campaign, tables.fields.to_pylist())])
        grouped = group_rois(tables.rois, tables.fields, config=campaign.config.compare)
        return write_field_pages(campaign, rows=rows, rois=grouped, checks=read_checks(campaign.output), name="n")

    campaign = made.build(tmp_path, [made.Cell(field=made.field("<b>.csv", "a", "r1"), n_locs=3000, side_um=9.0)])
    assert write(campaign) == 1
    page = next((tmp_path / "report" / "fields").iterdir())
    assert 'id="clusters"' not in page.read_text()
    found = clustered.with_clusters(campaign)
    assert write(found) == 1
    text = page.read_text()
    assert 'href="#clusters"' in text
    assert text.index('id="zooms"') < text.index('id="clusters"') < text.index('id="pattern"')
    assert "<b>.csv" not in text
    assert write(found) == 0
