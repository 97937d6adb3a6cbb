import html
import re
from collections import Counter

import pytest

from smlmbatch.config import config_from_dict
from smlmbatch.report.verdict import _answer, show_conditions, show_data, show_largest

CONFIG = config_from_dict({})


def plain(markup):
    """What a reader sees, on one line."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup)).replace("\u202f", " ").replace("\xa0", " ")).strip()


def data_said(rows, checks=(), config=CONFIG, ignored=0):
    return plain(show_data(rows, checks, config=config, ignored=ignored))


def conditions_said(comparisons, conditions=("ctrl", "EGF"), cautions=(), titles=None, config=CONFIG):
    return plain(show_conditions(comparisons, conditions=conditions, channel_titles=titles or {}, cautions=cautions, config=config))


# ---- is the data good?


@pytest.mark.parametrize(
    ("lights", "answer"),
    [
        (["green"] * 5, "Yes."),
        (["green"] * 4 + ["amber"], "Mostly."),
        (["green"] + ["amber"] * 4, "Worth a look before you rely on it."),
        (["green"] * 9 + ["red"], "Mostly, with exceptions."),
        (["green"] * 5 + ["red"] * 5, "In part."),
        (["green"] * 4 + ["red"] * 5, "Mostly not."),
        (["red"] * 3, "No."),
        (["grey"] * 3, "Not judged."),
        ([None] * 3, "Not judged."),
        ([], "There is none."),
    ],
)
def test_answer_follows_the_lights(records, lights, answer):
    rows = [records.row(f"f{i}", light) for i, light in enumerate(lights)]
    assert data_said(rows).startswith(f"Is the data good? {answer} {len(rows)} field")


def test_failed_fields_count_against_the_data(records):
    rows = [records.row("a"), records.row("b", None, status="failed", n_rois=None, n_rois_kept=None)]
    said = data_said(rows)
    assert said.startswith("Is the data good? In part. 2 fields: ✓ 1 good 1 failed")
    assert "1 field could not be analysed and is in no number below." in said
    all_failed = [records.row(k, None, status="failed", n_rois=None, n_rois_kept=None) for k in "ab"]
    assert data_said(all_failed).startswith("Is the data good? No. 2 fields: 2 failed")  # they were read: another stage failed
    unread = [row | {"n": None} for row in all_failed]
    assert data_said(unread).startswith("Is the data good? Not judged: no file could be read. 2 fields: 2 failed")
    assert "No ROI found." in data_said(unread)
    assert "blinks" not in data_said(unread)


def test_fields_without_a_region_are_a_matter_of_settings(records):
    rows = [records.row("a"), records.row("b", "red", n_rois_kept=0), records.row("c", "red", n_rois_kept=0)]
    checks = [
        *(records.check(key, "red", "rois", channel=None) for key in "bc"),
        records.check("b"),
        records.check("c", "red"),
    ]
    said = data_said(rows, checks)
    assert "3 fields: ✓ 1 good ✕ 1 in doubt 1 without a region" in said
    assert "1 field gave no region with these settings and is in no number below. Why ; try a smaller --roi-nm , or" in said
    assert "Found most often: drift (1 field), few ROIs (1 field)." in said
    all_bare = data_said([rows[1]], [checks[0], checks[2]])
    assert all_bare.startswith("Is the data good? Yes. 1 field: 1 without a region No check found a fault. 1 field gave no region")


def test_checks_that_no_field_allows_are_named(records):
    greys = [records.check(key, "grey", name) for key in "ab" for name in ("nena_over_precision", "fading", "illumination")]
    checks = [*greys, records.check("a"), records.check("b", "grey")]
    said = data_said([records.row("a"), records.row("b")], checks)
    assert "NeNA / precision, fading and illumination could not be judged in any field." in said


def test_findings_are_counted_by_field_not_by_channel(records):
    checks = [
        *(records.check(key, "red", "drift_nm", channel=channel) for key in ("a", "b") for channel in (0, 1)),
        records.check("a", "amber", "blinks"),
        records.check("c", "green", "gaps"),
        records.check("c", "grey", "fading"),
    ]
    said = data_said([records.row(k, "red") for k in "abc"], checks)
    assert "Found most often: drift (2 fields), repeated blinks (1 field)." in said
    assert "fading" not in said


def test_blinks_left_are_told(records):
    assert "were not merged: counts of locs are not counts of molecules" in data_said([records.row()])
    merged = config_from_dict({"prepare": {"merge_nena": 1.0}})
    assert "were merged. Some may remain" in data_said([records.row()], config=merged)


# ---- do the conditions differ?


def test_a_difference_is_told_with_size_interval_and_doubt(records):
    found = [records.comparison(), records.comparison("cluster_area_nm2", p=0.001, p_family=0.004, ratio=0.5), records.unclear()]
    said = conditions_said(found)
    assert said.startswith("Do the conditions differ? Yes. EGF against ctrl , 4 replicates each: 2 of 3 descriptors differ.")
    assert "Clearest: density is 1.50 times that of ctrl (95 % interval 1.31 to 1.72; p = 0.002, corrected for 4 tests)." in said
    assert "Also cluster area (0.50 times)." in said
    assert "What was not shown to differ may differ all the same. With 4 replicates each and 4 tests" in said


def test_the_surest_comes_first_not_the_largest(records):
    found = [records.comparison("n_clusters", hedges_g=50.0, p=0.01, p_family=0.04), records.comparison()]
    assert "Clearest: density" in conditions_said(found)


def test_no_difference_is_not_called_equality(records):
    said = conditions_said([records.unclear(), records.unclear("density_per_um2", p=0.2, p_family=0.8)])
    assert said.startswith("Do the conditions differ? No difference was shown. EGF against ctrl , 4 replicates each: none of 2 descriptors")
    assert "(smallest p = 0.80, corrected for 4 tests)" in said
    assert "may differ all the same" in said
    assert re.search(r"at least 3\.\d times the standard deviation of the replicates", said)
    assert "equal" not in said


def test_what_so_few_replicates_can_t_find_is_said_plainly(records):
    said = conditions_said([records.unclear(n_replicates=2, n_replicates_reference=2, n_family=11)])
    assert "With so few replicates, 2 replicates each, practically no difference could be found." in said
    assert "standard deviation" not in said


def test_clusters_that_contradict_ripley_corroborate_nothing(records):
    found = [
        records.comparison("n_clusters", ratio=2.6, hedges_g=30.0, p=1e-6),
        records.comparison("cluster_radius_nm", ratio=0.76, difference=-5.0),
        records.comparison("ripley_peak_nm", ratio=1.67, p=1e-4),
        records.comparison("density_per_um2"),
    ]
    said = conditions_said(found)
    assert "4 of 4 descriptors differ. Clearest: radius of the L(r) \u2212 r maximum is" in said
    assert "Also density (1.50 times). Not to be trusted as they are, see above: clusters per ROI (2.60 times), cluster radius" in said
    rows = plain(show_largest(found, channel_titles={}))
    assert rows.index("Density") < rows.index("Clusters per ROI")
    assert "differs; see above" in rows


def test_one_replicate_is_too_few(records):
    said = conditions_said([records.untested(), records.untested("nn_mean_nm")])
    assert said.startswith(
        "Do the conditions differ? Too few replicates to tell. EGF against ctrl , 1 replicate each: no test is possible."
    )
    assert "A test needs 2 replicates of each condition at least; 5 of each find differences of 3.4 standard deviations." in said
    assert "p =" not in said


def test_effects_without_a_ratio_are_told_as_differences(records):
    nan = records.NAN
    found = [records.comparison("ripley_max_nm", ratio=nan, ratio_low=nan, ratio_high=nan)]
    assert "maximum of L(r) \u2212 r differs from that of ctrl by 20.0 nm (95 % interval 15.0 to 25.0; p = 0.002" in conditions_said(found)


def test_confounded_batches_stand_before_the_sizes(records):
    caution = "No batch holds both conditions: EGF and ctrl. A difference can\u2019t be told from a difference between the batches."
    said = conditions_said([records.comparison()], cautions=[caution])
    assert said.startswith("Do the conditions differ? Yes, but the batches differ too. No batch holds both")
    assert conditions_said([records.comparison()], cautions=["Another."]).startswith("Do the conditions differ? Yes. Another. EGF")


def test_many_pairs_are_counted_and_the_surest_told(records):
    names = [f"c{i}" for i in range(6)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    found = [
        (records.comparison if i < 5 else records.unclear)(reference=a, condition=b, n_family=15, **({"p": (5 - i) / 1e5} if i < 5 else {}))
        for i, (a, b) in enumerate(pairs)
    ]
    said = conditions_said(found, conditions=names)
    assert "5 of 15 pairs of conditions differ in at least one descriptor." in said
    assert [said.index(f"{b} against {a} ,") for a, b in reversed(pairs[2:5])] == sorted(
        said.index(f"{b} against {a} ,") for a, b in pairs[2:5]
    )
    assert "c1 against c0 ," not in said
    assert "2 more pairs below" in said
    assert "name it (compare.reference)" in said
    referred = conditions_said(found, conditions=names, config=config_from_dict({"compare": {"reference": "c0"}}))
    assert "compare.reference" not in referred


def test_many_pairs_without_a_difference_are_told_once(records):
    found = [records.unclear(reference=a, condition=b, n_family=3) for a, b in (("a", "b"), ("a", "c"), ("b", "c"))]
    said = conditions_said(found, conditions="abc")
    assert "None of 3 pairs of conditions was shown to differ in any descriptor (smallest p = 1, corrected for 3 tests)." in said
    assert said.count("all the same") == 1


def test_channels_have_their_own_sentences_and_share_the_last(records):
    found = [*(make(channel=c) for c in (0, 1) for make in (records.comparison, records.unclear))]
    said = conditions_said(found, titles={0: "Channel 0: EGFR", 1: "Channel 1: EREG"})
    assert said.index("Channel 0: EGFR") < said.index("Channel 1: EREG")
    assert said.count("1 of 2 descriptors differs: density") == 2
    assert said.count("may differ all the same") == 1


@pytest.mark.parametrize(
    ("conditions", "reference", "said"),
    [
        (["all"], "", "Nothing to compare. All ROIs are of one condition, all ."),
        ([], "", "Nothing to compare. No ROI was kept."),
        (
            ["a", "b"],
            "ctrl",
            "Nothing compared. No ROI of the reference ctrl was kept, so nothing is compared with it. There are kept ROIs of a, b.",
        ),
    ],
)
def test_nothing_to_compare_is_told_with_its_reason(conditions, reference, said):
    config = config_from_dict({"compare": {"reference": reference}})
    assert said in conditions_said([], conditions=conditions, config=config)


def untestable(records, descriptor, **change):
    return records.untested(descriptor, **{"n_replicates": 4, "n_replicates_reference": 4, "verdict": "not testable", **change})


def test_replicates_that_do_not_vary_are_told_as_not_testable(records):
    found = [untestable(records, "n_clusters", mean_reference=0.0, mean=1.0), untestable(records, "nn_mean_nm", mean=40.0)]
    said = conditions_said(found)
    assert said.startswith(
        "Do the conditions differ? Not testable. EGF against ctrl , 4 replicates each: no test is possible. "
        "Not testable, as the replicates don\u2019t vary: clusters per ROI (1"
    )
    assert "(equal)." in said
    assert "No difference" not in said
    assert "few replicates" not in said
    paired = [untestable(records, "n_clusters", paired="replicate", n_pairs=3)]
    assert "as the pairs\u2019 differences don\u2019t vary" in conditions_said(paired)


def test_what_is_not_testable_does_not_count_as_not_shown(records):
    said = conditions_said([records.unclear(), untestable(records, "n_clusters", mean_reference=0.0, mean=1.0)])
    assert "No difference was shown. EGF against ctrl , 4 replicates each: none of 1 descriptor was shown to differ" in said
    assert "Not testable, as the replicates don\u2019t vary: clusters per ROI (1" in said
    several = [untestable(records, "n_clusters", condition=name, mean=1.0) for name in ("b", "c")]
    assert "2 pairs of conditions, none of which can be tested. In 2 pairs no test was possible" in conditions_said(several)


# ---- the table


def test_largest_effects_lead_their_pair(records):
    found = [
        records.comparison(hedges_g=-2.0),
        records.comparison("cluster_area_nm2", hedges_g=9.0, mean_reference=4000.0, mean=6000.0),
        records.comparison("n_clusters", hedges_g=1.0),
        records.unclear(hedges_g=0.5),
    ]
    said = plain(show_largest(found, channel_titles={}))
    order = [said.index(name) for name in ("Cluster area", "Density", "Clusters per ROI")]
    assert order == sorted(order)
    assert "Nearest" not in said
    assert "4.00 \u00d7 10³ nm² 6.00 \u00d7 10³ nm²" in said


def test_largest_effects_of_many_pairs_are_those_that_differ(records):
    found = [records.unclear(reference="a", condition=f"c{i}", hedges_g=20.0 + i) for i in range(30)]
    found.append(records.comparison(reference="a", condition="hit", hedges_g=2.0))
    said = plain(show_largest(found, channel_titles={}))
    assert said.count("against") == 12
    assert said.index("hit against") < said.index("c29 against")


def test_what_differs_comes_before_larger_effects_that_were_not_shown(records):
    said = plain(show_largest([records.unclear(hedges_g=30.0), records.comparison(hedges_g=2.0)], channel_titles={}))
    assert said.index("Density") < said.index("Nearest neighbour, mean")


def test_without_comparisons_there_is_no_table():
    assert show_largest([], channel_titles={}) is None


def test_unfinished_fields_are_neither_good_nor_bad():
    states = Counter({"green": 2, "unfinished": 15})
    assert _answer(states, read=True) == "Yes."
    assert _answer(Counter({"unfinished": 3}), read=False) == "Not known yet."
