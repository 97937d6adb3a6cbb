"""The campaign's part on clusters: what is drawn and told is what tables and units hold; and what is said where nothing is."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from smlmbatch.analyse.compare import replicate_means
from smlmbatch.analyse.comparisons import read_comparisons
from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import config_from_dict
from smlmbatch.report import superplots
from smlmbatch.report.cluster_data import read_clusters
from smlmbatch.report.cluster_section import for_verdict, show_clusters
from smlmbatch.report.gallery import Drawing, Gallery
from smlmbatch.store.arrays import UnitReader


def read(campaign):
    tables = read_tables(campaign.output)
    return read_clusters(campaign, group_rois(tables.rois, tables.fields, config=campaign.config.compare))


def text_of(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "|", str(markup))).replace("\u202f", " ")


@pytest.fixture(scope="module")
def study(made, clustered, tmp_path_factory):
    """Two channels, two conditions of three replicates; a field of the second condition has half the locs."""
    cells = [
        made.Cell(field=made.field(f"{name}/{r}.csv", name, f"r{r}"), n_locs=n, channels=(0, 1), side_um=12.0)
        for name, n in (("ctrl", 7000), ("egf", 3500))
        for r in range(3)
    ]
    campaign = clustered.with_clusters(made.build(tmp_path_factory.mktemp("out"), cells), warnings=["Very crowded."])
    write_tables(campaign, fingerprint="f")
    return campaign


@pytest.fixture(scope="module")
def shown(study, tmp_path_factory):
    """(what was read, page's text, superplots by descriptor of channel 0, gallery)."""
    panels = []
    gallery = Gallery(tmp_path_factory.mktemp("figures"))
    found = read(study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(superplots, "draw_superplot", lambda panel, rng: panels.append(panel) or Drawing(b"<svg/>", b""))
        text = text_of(show_clusters(found, titles_of={0: "Channel 0: EGFR", 1: "Channel 1: EREG"}, gallery=gallery))
    return found, text, panels, gallery


def test_method_model_and_limits_come_first(shown, study):
    found, text, _, _ = shown
    n_clusters = 0
    for result in study.fields:
        with UnitReader(result.units["cluster"]) as unit:
            n_clusters += unit.length("n_locs")
    assert text.startswith(f"|{n_clusters:,} clusters in 6 fields, found by MIRO (model miro, sha256 {'ab' * 6}\u2026).")
    assert "A cluster of locs is not a cluster of molecules" in text
    assert "|In all fields: Very crowded.|" in text
    assert text.index("In all fields") < text.index("Channel 0: EGFR") < text.index("Channel 1: EREG")
    assert found.n_without == 0


def test_superplots_show_rois_and_replicates_of_the_table(shown, study):
    _, _, panels, gallery = shown
    tables = read_tables(study.output)
    share = next(panel for panel in panels if panel.axis == "Locs in clusters (%)")
    assert [strip.label for strip in share.strips] == ["ctrl", "egf"]
    rows = [r for r in tables.rois.to_pylist() if r["kept"] and r["channel"] == 0 and r["n_locs"] >= study.config.tile.min_locs]
    for strip in share.strips:
        for lane, name in enumerate(strip.names):
            own = [100 * r["clustered_share"] for r in rows if (r["condition"], r["replicate"]) == (strip.label, name)]
            assert strip.replicates[lane] == pytest.approx(np.mean(own))
            assert sorted(strip.rois[strip.lanes == lane]) == pytest.approx(sorted(own))
    assert {"clusters_per_um2_c0.svg", "cluster_gyration_nm_c1.csv", "cluster_effects_c1.png", "cluster_replicates.csv"} <= gallery.written
    assert not {"cluster_molecules_c0.svg"} & gallery.written  # without calibration


def test_tables_hold_the_comparisons_and_the_means(shown, study):
    _, text, _, _ = shown
    found = {c.descriptor: c for c in read_comparisons(study.output, name="cluster_comparisons") if c.channel == 0}
    number = found["clusters_per_um2"]
    assert f"|Clusters per area||1/µm²||{number.mean_reference:.3g}|" in text
    assert f"{number.ratio:.3f}"[:4] in text
    means = replicate_means(read_tables(study.output).rois, min_locs=50, descriptors=["clusters_per_um2"])
    assert np.mean([m.mean for m in means if (m.condition, m.channel) == ("ctrl", 0)]) == pytest.approx(number.mean_reference)


def test_shapes_are_shares_over_replicates(shown, study):
    _, text, _, _ = shown
    shares, total = [], 0
    for result in study.fields[:3]:
        with UnitReader(result.units["cluster"]) as unit:
            own = unit.read("shape")[unit.read("cluster_channel") == 0]
        shares.append(100 * (own == 0).mean())
        total += len(own)
    row = re.search(r"\|ctrl\|\|([\d.]+) \|± ([\d.]+)\|\|\|([\d.]+) \|± ([\d.]+)\|\|\|([\d,]+)\|\|0\|", text)
    assert float(row[1]) == pytest.approx(np.mean(shares), abs=0.06)
    assert float(row[2]) == pytest.approx(np.std(shares, ddof=1), abs=0.06)
    assert row[5] == f"{total:,}"
    assert row.end() < text.index("Shapes are a hint, no finding: ") < text.index("Channel 1: EREG")


def test_the_verdict_has_a_sentence_a_channel(study, shown):
    found = shown[0]
    said = [text_of(p) for p in for_verdict(found, titles_of={0: "Channel 0", 1: "Channel 1"})]
    assert [text.split(":")[0] for text in said] == [f"||Clusters of whole fields, by MIRO, Channel {i}|" for i in (0, 1)]
    differing = any(c.verdict == "differs" for c in found.numbers.comparisons if c.channel == 0)
    assert ("no measure of clusters was shown to differ" in said[0]) == (not differing)


# ---- nothing to show


def why(campaign):
    write_tables(campaign, fingerprint="f")
    found = read(campaign)
    assert for_verdict(found, titles_of={}) == []
    return text_of(show_clusters(found, titles_of={}, gallery=Gallery(campaign.output / "figures")))


@pytest.fixture
def small(made, tmp_path):
    return made.build(tmp_path, [made.Cell(field=made.field(f"{i}.csv", "c", f"r{i}"), n_locs=2000, side_um=9.0) for i in range(2)])


def test_without_units_it_says_how_to_go_on(small):
    assert why(small) == "|No field has come through the stage cluster yet; run again to go on.|"


def test_switched_off_is_said(small, clustered):
    off = replace(small, config=config_from_dict({"cluster": {"method": "none"}}))
    assert "not looked for" in why(off)
    told = clustered.with_clusters(off, method="none", why_none="Clusters were not asked for", told=False)
    assert why(told) == "|Clusters were not asked for.|"


def test_no_cluster_anywhere_is_said(small, clustered):
    assert why(clustered.with_clusters(small, nothing=True)) == "|No cluster was found in any field.|"


def test_fields_without_the_unit_are_counted(small, clustered):
    campaign = clustered.with_clusters(small, fields=1)
    write_tables(campaign, fingerprint="f")
    found = read(campaign)
    assert (found.n_fields, found.n_without) == (1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(superplots, "draw_superplot", lambda panel, rng: Drawing(b"<svg/>", b""))
        text = text_of(show_clusters(found, titles_of={}, gallery=Gallery(campaign.output / "figures")))
    assert "in 1 field, found by MIRO" in text
    assert "1 field not yet." in text


def test_clusters_without_a_kept_roi_are_told_and_not_compared(made, clustered, tmp_path):
    campaign = clustered.with_clusters(made.build(tmp_path, [made.Cell(field=made.field("a.csv", "c", "r"), n_locs=2000, empty=True)]))
    text = why(campaign)
    assert "found by MIRO" in text
    assert "No ROI was kept" in text
    assert not re.search(r"\bnan\b", text)


def test_shapes_that_no_model_tells_are_not_shown(small, clustered):
    campaign = clustered.with_clusters(small, told=False)
    write_tables(campaign, fingerprint="f")
    assert read(campaign).shapes == []


def test_numbers_of_replicates_without_a_spread_are_not_tested(small, clustered):
    campaign = clustered.with_clusters(small)
    write_tables(campaign, fingerprint="f")
    found = read(campaign)
    assert found.numbers.comparisons == []
    assert all(math.isfinite(c.mean) for c in found.numbers.conditions)
