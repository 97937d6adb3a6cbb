"""Sentences about clusters, by cases."""

import re

import numpy as np
import pytest

from smlmbatch.report.cluster_wording import HOW, LIMITS, compared_said, found_by, lead, shapes_said, short_said, warnings_said


def text_of(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", str(markup))).replace("\u202f", " ").replace("\xa0", " ")


def test_each_method_is_told_and_has_its_limits():
    assert set(HOW) == set(LIMITS) == {"miro", "dbscan"}


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({"method": "miro", "model": "miro"}, "MIRO"),
        ({"method": "miro", "model": "pores_2"}, "MIRO (model pores_2)"),
        ({"method": "dbscan", "model": ""}, "DBSCAN"),
        ({"method": "dbscan", "model": None}, "DBSCAN"),
    ],
)
def test_who_found_them(attrs, said):
    assert found_by(attrs) == said


@pytest.mark.parametrize(
    ("change", "n", "said"),
    [
        ({}, 1, "MIRO found 1 cluster in the whole field. A network moves"),
        ({}, 0, "MIRO found no cluster in this field."),
        ({"why_none": "Off."}, 0, "Off."),
        ({"method": "dbscan", "model": ""}, 1200, "DBSCAN found 1,200 clusters in the whole field. A cluster is what hangs together"),
    ],
)
def test_the_first_sentence(change, n, said):
    assert lead({"method": "miro", "model": "miro", "why_none": "", **change}, n=n).startswith(said)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([255, 255], ""),
        ([], ""),
        ([0, 0, 1], "blob 67 %, ring 33 %"),
        ([1, 0], "blob 50 %, ring 50 %"),
        ([2, 2, 0], "blob 100 %"),  # background is no shape
    ],
)
def test_shapes_that_were_told(shape, said):
    assert shapes_said(np.array(shape, dtype=np.uint8), ["blob", "ring", "background"]).replace("\u202f", " ") == said


def test_warnings_are_counted_and_the_frequent_first():
    said = [text_of(p) for p in warnings_said([("All too crowded.", 9), ("Empty.", 1)], n_fields=9)]
    assert said == ["In all fields: All too crowded.", "In 1 of 9 fields: Empty."]
    many = [text_of(p) for p in warnings_said([(f"{i}", 1) for i in range(9)], n_fields=9)]
    assert len(many) == 7
    assert many[-1].startswith("and 3 other warnings")


NAMES = ("clusters_per_um2", "cluster_gyration_nm", "clustered_share")


def test_what_differs_is_named_with_its_size_the_surest_first(records):
    group = [
        records.comparison(NAMES[0], p=0.001, ratio=2.0, ratio_low=1.5, ratio_high=2.6),
        records.comparison(NAMES[1], p=0.0001, ratio=0.8, ratio_low=0.7, ratio_high=0.9),
        records.unclear(NAMES[2]),
    ]
    (said,) = map(text_of, compared_said(group))
    assert said.startswith("EGF against ctrl, 4 replicates each: 2 of 3 measures of clusters differ: ")
    assert said.index("radius of gyration (0.80 times, 0.70 to 0.90)") < said.index("clusters per area (2.00 times, 1.50 to 2.60)")
    assert text_of(short_said(group)).startswith("EGF against ctrl: 2 of 3 measures differ, radius of gyration (0.80 times")


def test_what_was_not_shown_is_not_called_equal(records):
    group = [records.unclear(name, p_family=0.7) for name in NAMES]
    (said,) = map(text_of, compared_said(group))
    assert "no measure of clusters was shown to differ (smallest p = 0.70, corrected for 4 tests)" in said
    assert "does not make them equal" in said
    assert short_said(group) == "no measure of clusters was shown to differ."


def test_too_few_replicates_are_no_verdict(records):
    group = [records.untested(name) for name in NAMES]
    assert list(compared_said(group)) == []
    assert short_said(group) == ""


def test_of_many_pairs_the_surest_are_told(records):
    group = [records.comparison(NAMES[0], condition=f"dose {i}", p=10.0 ** (-i - 2)) for i in range(5)]
    said = [text_of(p) for p in compared_said(group)]
    assert [text.split(" against")[0] for text in said[:3]] == ["dose 4", "dose 3", "dose 2"]
    assert said[3] == "2 more pairs of conditions below."
    assert text_of(short_said(group)).startswith(
        "5 of 5 pairs of conditions differ; dose 4 against ctrl: 1 of 1 measure differs, clusters per area"
    )


def test_without_a_ratio_the_difference_is_told(records):
    (said,) = map(text_of, compared_said([records.comparison("cluster_gyration_nm", ratio=float("nan"), difference=12.0)]))
    assert "radius of gyration (12.0 nm)" in said
