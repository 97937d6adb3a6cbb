"""Sentences on the model that found clusters, and what it does to comparisons."""

import pytest

from smlmbatch.methods.origin import Origin
from smlmbatch.report.cluster_data import ClusterFacts
from smlmbatch.report.cluster_model import learned_said, tuned_cautions


def facts(model="mine", origin=None):
    return ClusterFacts(method="miro", model=model, model_sha256="ab" * 32, origin=origin)


def tuned(*conditions):
    return facts(origin=Origin(tuned=True, material="fields drawn from 9 marked clusters", conditions=conditions))


@pytest.mark.parametrize(
    ("found_by", "said"),
    [
        (facts("miro"), "has learned from simulated clusters"),
        (facts(origin=Origin(tuned=False, material="simulated fields")), "has learned from simulated clusters"),
        (facts(), "stands on its card"),
        (tuned("ctrl", "egf"), "was tuned to marked clusters of conditions ctrl, egf: trained on fields drawn from 9 marked clusters"),
        (tuned(), "was tuned to marked clusters of conditions that its card doesn\u2019t tell"),
    ],
)
def test_how_the_model_was_made_is_told(found_by, said):
    assert said in learned_said(found_by)
    assert ("simulated" in learned_said(found_by)) is ("simulated" in said)


@pytest.mark.parametrize(
    ("found_by", "said"),
    [
        (tuned("ctrl"), "tuned to marked clusters (MIRO, model mine) of condition ctrl, and none of EGF, with which it is compared"),
        (tuned(), "its card doesn\u2019t say of which conditions"),
    ],
)
def test_a_model_of_fewer_conditions_than_are_compared_is_warned_of(records, found_by, said):
    (caution,) = tuned_cautions(found_by, [records.comparison("clusters_per_um2"), records.comparison("clustered_share")])
    assert said in caution
    assert "may be the model\u2019s and not the sample\u2019s" in caution


@pytest.mark.parametrize("found_by", [None, facts("miro"), facts(origin=Origin(tuned=False)), tuned("EGF", "ctrl", "more")])
def test_other_models_are_not(records, found_by):
    assert tuned_cautions(found_by, [records.comparison("clusters_per_um2")]) == []


def test_where_nothing_is_compared_nothing_is_warned_of():
    assert tuned_cautions(tuned("ctrl"), []) == []
