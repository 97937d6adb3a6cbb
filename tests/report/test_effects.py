import csv
import dataclasses
import html
import re

from smlmbatch.analyse.results import Comparison
from smlmbatch.report.effects import HOW_TO_READ, pairs_of, show_effects, surest_first
from smlmbatch.report.figures import look_of
from smlmbatch.report.gallery import Gallery


def shown(found, tmp_path):
    look = {name: look_of(i) for i, name in enumerate(sorted({c.condition for c in found} | {c.reference for c in found}))}
    markup = show_effects(found, look=look, gallery=Gallery(tmp_path / "figures"), name="effects_c0")
    text = html.unescape(re.sub(r"<[^>]+>", "|", markup)).replace("\u202f", " ")
    return markup, re.sub(r"\|+", "|", text)


def test_every_descriptor_has_its_row_replicates_first_rois_last(records, tmp_path):
    found = [records.comparison(), records.unclear()]
    _, text = shown(found, tmp_path)
    header = text[text.index("|Descriptor|") : text.index("|Density|locs/µm²")]
    assert header.index("p, corrected") < header.index("Rank test p") < header.index("pseudo-replicated")
    assert "|Density|locs/µm²|40.0|60.0|20.0|15.0 to 25.0|1.50|1.31 to 1.72|5.0|2.0 to 9.0|0.002|<0.001|0.11|<0.001|" in text
    assert "|Nearest neighbour, mean|nm|" in text
    assert "4 replicates each; on so few, a rank test can\u2019t give a p below 0.029 before correction" in text
    assert "takes every ROI for an independent sample" in HOW_TO_READ


def test_numbers_are_in_the_unit_of_the_page(records, tmp_path):
    area = records.comparison("cluster_area_nm2", mean_reference=4000.0, mean=6000.0, difference=2000.0, difference_low=1500.0)
    _, text = shown([area], tmp_path)
    assert "|Cluster area|10³ nm²|4.00|6.00|" in text


def test_csv_holds_every_comparison_in_full(records, tmp_path):
    found = [records.comparison(), records.unclear(p=1 / 3), records.comparison("n_clusters", condition="TGF")]
    shown(found, tmp_path)
    with (tmp_path / "figures" / "effects_c0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [f.name for f in dataclasses.fields(Comparison)]
    assert {(r["condition"], r["descriptor"]) for r in rows} == {(c.condition, c.descriptor) for c in found}
    assert sorted(float(r["p"]) for r in rows) == sorted(c.p for c in found)


def test_undefined_values_are_dashes_and_draw_nothing(records, tmp_path):
    nan = records.NAN
    bare = records.untested(ratio=nan)
    markup, text = shown([bare], tmp_path)
    assert "<figure" not in markup
    assert "|Density|locs/µm²|40.0|60.0|20.0|\u2013|\u2013|\u2013|\u2013|\u2013|<0.001|" in text
    assert "nan" not in text


def test_many_pairs_are_ranked_and_the_rest_counted(records, tmp_path):
    found = [records.comparison(condition=f"c{i:02}", p=(20 - i) / 1e4) for i in range(12)]
    _, text = shown(found, tmp_path)
    assert "The 4 pairs with the smallest p of 12 are drawn." in text
    assert [name in text for name in (f"|c{i:02}| against " for i in range(12))] == [False] * 6 + [True] * 6
    assert "and 6 more pairs of conditions with larger p" in text


def test_pairs_without_a_test_are_named_only(records, tmp_path):
    bare = dict.fromkeys(("mean", "mean_reference", "difference", "ratio", "p_roi"), records.NAN)
    found = [records.comparison(), *(records.untested(condition=name, n_pairs=0, paired="replicate", **bare) for name in ("X", "Y"))]
    markup, text = shown(found, tmp_path)
    assert markup.count("<table") == 1
    assert "are drawn" not in text
    assert "No test was possible, for lack of replicates or partners: |X| against |ctrl|; |Y| against |ctrl|." in text
    assert text.count("|X| against") == 1
    with (tmp_path / "figures" / "effects_c0.csv").open(newline="") as file:
        assert {row["condition"] for row in csv.DictReader(file)} == {"EGF", "X", "Y"}


def test_pairing_is_told(records, tmp_path):
    _, text = shown([records.comparison(paired="batch", n_pairs=3)], tmp_path)
    assert "3 pairs (by batch)" in text


def test_order_of_descriptors_is_the_page_s(records):
    found = [records.comparison(name) for name in ("nn_mean_nm", "density_per_um2", "ripley_n")]
    assert [c.descriptor for c in pairs_of(found)[0, "ctrl", "EGF"]] == ["density_per_um2", "nn_mean_nm"]


def test_surest_first_puts_untested_last(records):
    ranked = surest_first([records.untested(), records.unclear(), records.comparison(hedges_g=3.0), records.comparison(hedges_g=-4.0)])
    assert [c.verdict for c in ranked] == ["differs", "differs", "no difference shown", "too few replicates"]
    assert ranked[0].hedges_g == -4.0


def test_what_is_not_testable_is_told_so_in_the_table(records, tmp_path):
    fixed = records.untested("n_clusters", n_replicates=3, n_replicates_reference=3, verdict="not testable")
    _, text = shown([fixed, records.comparison()], tmp_path)
    assert "|not testable|\u2013|\u2013|" in text
    assert "Not testable: the replicates" in HOW_TO_READ
