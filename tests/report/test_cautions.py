import dataclasses
import math

import pytest

from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import Config, config_from_dict
from smlmbatch.report.cautions import cluster_cautions, contradicted_pairs, design_cautions, is_confounded, method_cautions


@pytest.fixture(scope="module")
def tables_of(made, tmp_path_factory):
    """Tables of a campaign of 2 conditions with 3 replicates each, batches as told."""

    def of(batch):
        cells = [
            made.Cell(field=made.field(f"{name}/{r}.csv", name, f"rep{r}", batch=batch(name, r)), n_locs=3000)
            for name in ("ctrl", "EGF")
            for r in range(3)
        ]
        campaign = made.build(tmp_path_factory.mktemp("out"), cells)
        write_tables(campaign, fingerprint="f")
        return read_tables(campaign.output)

    return of


def cautions(tables, **compare):
    config = config_from_dict({"compare": compare}) if compare else Config()
    return design_cautions(tables.rois, tables.fields, config=config)


def test_conditions_that_share_no_batch_are_told(tables_of):
    found = cautions(tables_of(lambda condition, r: f"day of {condition}"))
    assert is_confounded(found)
    assert found[0].startswith("No batch holds both conditions: EGF and ctrl.") or found[0].startswith(
        "No batch holds both conditions: ctrl and EGF."
    )


@pytest.mark.parametrize("batch", [lambda condition, r: "", lambda condition, r: f"day {r}", lambda condition, r: "one day"])
def test_sound_designs_raise_no_alarm(tables_of, batch):
    found = cautions(tables_of(batch))
    assert found == []
    assert not is_confounded(found)


def test_lost_partners_are_named(tables_of):
    tables = tables_of(lambda condition, r: "" if (condition, r) == ("EGF", 2) else f"day {r}")
    (said,) = cautions(tables, paired="batch")
    assert "Without a partner in another condition, so in no comparison: day 2." in said
    assert "Some fields have no entry in the column they are paired by." in said


def test_who_has_a_partner_in_some_pair_is_not_called_left_out(made, tmp_path):
    """Day 2 lacks B, but A and C share it; day 9 stands alone."""
    days = {"A": (1, 2), "B": (1,), "C": (1, 2, 9)}
    cells = [made.Cell(field=made.field(f"{c}/{d}.csv", c, f"r{d}", batch=f"day {d}"), n_locs=3000) for c, own in days.items() for d in own]
    write_tables(made.build(tmp_path, cells), fingerprint="f")
    (said,) = cautions(read_tables(tmp_path), paired="batch")
    assert said == "Without a partner in another condition, so in no comparison: day 9."
    (said,) = cautions(read_tables(tmp_path), paired="batch", reference="B")
    assert said.endswith("in no comparison: day 2, day 9.")


@pytest.fixture(scope="module")
def two_channels(made, tmp_path_factory):
    campaign = made.study(tmp_path_factory.mktemp("out"), channels=(0, 1), n_locs=2600)
    write_tables(campaign, fingerprint="f")
    return read_tables(campaign.output)


def test_channels_of_the_same_cells_are_better_paired(two_channels):
    assert cautions(two_channels, conditions="channel") == ["The same cells stand on both sides; --paired replicate compares within cells."]
    assert cautions(two_channels, conditions="channel", paired="replicate") == []
    assert cautions(two_channels) == []  # other cells
    (said,) = cautions(two_channels, conditions="condition,channel")
    assert "both sides of ctrl \u00d7 channel 1 against ctrl \u00d7 channel 0; egf" in said


def contradicting(records, **change):
    peak = {"ratio": 1.67, "difference": 62.0, **change}
    return [
        records.comparison("ripley_peak_nm", **peak),
        records.comparison("cluster_radius_nm", ratio=0.76, difference=-5.0),
        records.comparison("n_clusters", ratio=2.6),
        records.comparison("density_per_um2"),
    ]


def said_of(found, titles=None):
    return cluster_cautions(found, channel_titles=titles or {}, config=Config())


def test_clusters_that_contradict_ripley_are_told(records):
    (said,) = said_of(contradicting(records), {0: "Channel 0: EGFR"})
    assert said.startswith("EGF against ctrl (channel 0): DBSCAN\u2019s clusters shrink while")
    assert "maximum) grows. With eps = 25\u202fnm, wide loose clusters are probably broken into pieces." in said
    assert said.endswith("tried a larger eps (measure.dbscan_eps_nm).")


def test_the_other_way_round(records):
    found = [records.comparison("ripley_peak_nm", difference=-9.0), records.comparison("cluster_area_nm2", difference=900.0)]
    (said,) = said_of(found)
    assert "clusters grow while" in said
    assert "run together" in said
    assert "a smaller eps" in said


@pytest.mark.parametrize("change", [{"difference": -62.0}, {"verdict": "no difference shown"}])
def test_clusters_in_line_with_ripley_raise_no_doubt(records, change):
    found = contradicting(records, **change)
    assert contradicted_pairs(found) == {}
    assert said_of(found) == []


# ---- clusters of two methods


def radii(records, *, ours, theirs):
    """Ratios with their intervals, of DBSCAN's radius and of the other method's."""
    names = ("ratio_low", "ratio", "ratio_high")
    return (
        [records.comparison("cluster_radius_nm", **dict(zip(names, ours, strict=True)))],
        [records.comparison("cluster_gyration_nm", **dict(zip(names, theirs, strict=True)))],
    )


def test_two_methods_whose_radii_exclude_each_other_are_said_to_be_two(records):
    (said,) = method_cautions(*radii(records, ours=(1.3, 1.5, 1.7), theirs=(0.7, 0.8, 0.9)), method="MIRO")
    assert "EGF against ctrl: 1.50 and 0.80 times" in said
    assert "(DBSCAN, ROI by ROI)" in said
    assert "clusters of whole fields (MIRO)" in said


@pytest.mark.parametrize("theirs", [(0.9, 1.1, 1.35), (1.65, 2.0, 2.4), (math.nan, 0.8, math.nan)])
def test_two_methods_that_may_agree_are_left_alone(records, theirs):
    assert method_cautions(*radii(records, ours=(1.3, 1.5, 1.7), theirs=theirs), method="MIRO") == []


def test_other_pairs_and_channels_are_not_held_against_each_other(records):
    ours, theirs = radii(records, ours=(1.3, 1.5, 1.7), theirs=(0.7, 0.8, 0.9))
    assert method_cautions(ours, [dataclasses.replace(theirs[0], channel=1)], method="MIRO") == []
    assert method_cautions(ours, [dataclasses.replace(theirs[0], condition="EREG")], method="MIRO") == []
