import html
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse.results import EmbeddingScore
from smlmbatch.config import config_from_dict
from smlmbatch.report.embedding_data import Embedded
from smlmbatch.report.embedding_wording import limits, say, told_apart

NAN = math.nan


class Rows:
    """Stands for the table of ROIs: of the sentences only the conditions matter."""

    def __init__(self, *names):
        self._names = names

    def __getitem__(self, _):
        return self

    def unique(self):
        return self

    def to_pylist(self):
        return list(self._names)


def score(representation, measure, value, low=NAN, high=NAN, *, n_locs=0, chance=0.5, note="", n_lost=0):
    chance = 0.0 if measure.startswith("ARI") else chance
    return EmbeddingScore(
        channel=0,
        label="condition",
        representation=representation,
        n_locs=n_locs,
        measure=measure,
        value=value,
        low=low,
        high=high,
        repeats=1,
        repeat_sd=NAN,
        groups=2,
        k=2,
        n_rois=100 - n_lost,
        n_lost=n_lost,
        chance=chance,
        note=note,
    )


def part(*scores, distances=(), names=("ctrl", "EGF")):
    return Embedded(channel=0, rows=Rows(*names), scores=scores, clusters=(), distances=distances, flags=())


def text(found):
    return html.unescape(re.sub(r"<[^>]*>", "", " ".join(found.sentences))).replace("\u202f", " ")


KNOWN = score("embedding", "accuracy nearest", 0.9, 0.8, 0.96)
EQUAL = score("embedding", "accuracy nearest", 0.8, 0.7, 0.9, n_locs=900)
NOT_EQUAL = score("embedding", "accuracy nearest", 0.55, 0.4, 0.7, n_locs=900)
BY_DENSITY = score("log N", "accuracy nearest", 0.88, 0.8, 0.95)
NOT_BY_DENSITY = score("log N", "accuracy nearest", 0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("scores", "answer"),
    [
        ((KNOWN, EQUAL, NOT_BY_DENSITY), "Yes, at equal density too."),
        ((KNOWN, EQUAL, BY_DENSITY), "Yes, at equal density too."),
        ((KNOWN, NOT_EQUAL, BY_DENSITY), "Yes, but the number of locs alone tells as much."),
        ((KNOWN, BY_DENSITY), "Yes, but the number of locs alone tells as much."),
        ((KNOWN, NOT_EQUAL, NOT_BY_DENSITY), "Yes, but hardly at equal density."),
        ((KNOWN, NOT_BY_DENSITY), "Yes."),
        ((KNOWN, score("descriptors", "accuracy nearest", 0.95, 0.9, 1.0)), "Yes. Plain descriptors tell as much."),
        ((KNOWN, EQUAL, score("descriptors", "accuracy nearest", 0.6, 0.5, 0.7)), "Yes, at equal density too."),
        # intervals of three replicates overlap; each value lies beyond the other's all the same
        ((KNOWN, score("log N", "accuracy nearest", 0.5, 0.1, 0.85)), "Yes."),
        ((KNOWN,), "Yes."),
        ((score("embedding", "accuracy nearest", 0.75, 0.7, 0.8),), "In part."),
        ((score("embedding", "accuracy nearest", 0.6, 0.55, 0.65),), "Weakly."),  # sure, and little all the same
        (
            (KNOWN, score("embedding", "accuracy nearest", 0.6, 0.55, 0.65, n_locs=900)),
            "Yes, less at equal density.",
        ),
        ((score("embedding", "accuracy nearest", 0.6, 0.45, 0.75),), "Not shown."),
        ((score("embedding", "accuracy nearest", 0.5),), "Not shown."),
        ((score("embedding", "accuracy nearest", 1.0),), "Yes."),  # replicates don't vary: no interval
        (
            (score("embedding", "accuracy nearest", NAN), score("embedding", "ARI k-means", 0.8, 0.7, 0.9)),
            "These ROIs differ; too few replicates to say more.",
        ),
        (
            (score("embedding", "accuracy nearest", NAN), score("embedding", "ARI k-means", 0.03, 0.02, 0.05)),
            "Not shown, and too few replicates to tell.",
        ),
        ((), "Not shown, and too few replicates to tell."),
    ],
)
def test_the_answer_rests_on_replicates_left_out_and_on_equal_density(scores, answer):
    assert say(part(*scores)).answer == answer


def test_clusters_of_rois_alone_never_make_a_yes():
    """However well clusters agree: ROIs are no replicates."""
    sure = score("embedding", "ARI k-means", 1.0, 1.0, 1.0)
    assert not say(part(sure)).answer.startswith("Yes")
    assert not say(part(sure, score("embedding", "accuracy nearest", 0.5, 0.3, 0.7))).answer.startswith("Yes")


def test_what_others_tell_as_well_is_said():
    found = text(say(part(KNOWN, BY_DENSITY, score("descriptors", "accuracy nearest", 0.6, 0.5, 0.7))))
    assert "90 % (95 % interval 80 % to 96 %) are assigned to the right condition" in found
    assert "by chance it would be 50 %" in found
    assert "In comparison, the number of locs alone 88 % and the plain descriptors 60 %." in found
    assert "The embedding doesn\u2019t tell clearly more than the number of locs alone." in found


def test_equal_density_is_told_with_what_was_lost():
    found = text(say(part(KNOWN, replace(EQUAL, n_lost=12, n_rois=88), score("embedding", "ARI k-means", 0.4, 0.3, 0.5, n_locs=900))))
    assert "At equal density, with 900 locs drawn from every ROI (12 ROIs with fewer left out), 80 %" in found
    assert "and the adjusted Rand index is 0.40 (95 % interval 0.30 to 0.50)." in found
    several = text(say(part(KNOWN, EQUAL, replace(EQUAL, n_locs=431, n_rois=120, value=0.7))))
    assert "with 431 locs drawn from every ROI, 70 %" in several
    assert "(with 900, 100 ROIs left: 80 %)." in several


def test_rois_embedded_at_equal_density_are_told_by_these_scores():
    """Scores of the embedding carry the number of locs that was embedded, descriptors are of all."""
    scores = [
        replace(KNOWN, n_locs=200),
        replace(BY_DENSITY, n_locs=200, value=0.5),
        score("descriptors", "accuracy nearest", 0.4, 0.3, 0.5),
    ]
    found = say(replace(part(*scores, replace(EQUAL, n_locs=900)), n_locs=200))
    assert found.answer == "Yes, at equal density."
    assert "In comparison, the number of locs alone 50 % and the plain descriptors 40 %." in text(found)
    assert "200 locs of every ROI were embedded" in text(found)
    assert "90 % of ROIs in replicates that were left out" in found.short.replace("\u202f", " ")


def test_resamples_that_are_all_alike_are_no_interval():
    found = text(say(part(KNOWN, score("embedding", "ARI k-means", 1.0, 1.0, 1.0))))
    assert "agree with them to 1.00 on the adjusted Rand index" in found


def test_why_no_replicate_could_be_left_out_is_said():
    found = say(part(score("embedding", "accuracy nearest", NAN, note="only one replicate of ctrl: none can be left out")))
    assert "could not be tested: only one replicate of ctrl" in text(found)
    assert "right condition" not in found.short


def test_one_condition_is_nothing_to_compare():
    found = say(part(KNOWN, names=("a <b>", None)))
    assert found.answer == "Nothing to compare."
    assert "a <b>" in text(found)
    assert "<b>a &lt;b&gt;" in found.sentences[0]


@pytest.mark.parametrize(
    ("distance", "low", "head"),
    [
        (9.0, 5.0, "Replicates agree"),
        (9.0, 0.0, "Replicates scatter"),
        (1.5, 0.4, "Replicates scatter, but less"),
        (0.8, 0.0, "Replicates of a condition lie as far apart"),
    ],
)
def test_replicates_are_held_against_conditions(records, distance, low, head):
    found = text(say(part(KNOWN, distances=[records.distance(distance=distance, low=low, spread=1.0)])))
    assert f"{head}" in found
    assert ("their scatter alone explains" in found) == (low == 0)


def test_blinks_are_a_limit_only_where_they_were_not_merged():
    merged = config_from_dict({"prepare": {"merge_nm": 40.0}})
    assert not any("blinks" in text for text in limits(config=merged))
    assert any("blinks" in text for text in limits(config=config_from_dict({})))
    assert any("squares of 2\u202fµm" in text for text in limits(config=config_from_dict({"tile": {"roi_nm": 2000.0}})))


@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(["ARI k-means", "accuracy nearest"]))
def test_nothing_at_chance_is_told_apart(value, low, measure):
    assert not told_apart(score("embedding", measure, value, min(low, 0.0), 1.0, chance=0.1))
    assert not told_apart(None)
    assert not told_apart(score("embedding", measure, NAN))


VALUES = st.one_of(st.just(NAN), st.floats(-0.2, 1))


@given(
    st.lists(
        st.builds(
            score,
            st.sampled_from(["embedding", "log N", "descriptors", "random encoder"]),
            st.sampled_from(["ARI k-means", "ARI Ward", "accuracy nearest", "accuracy logistic"]),
            VALUES,
            VALUES,
            VALUES,
            n_locs=st.sampled_from([0, 431, 900]),
            note=st.sampled_from(["", "too few"]),
        ),
        max_size=12,
    )
)
def test_any_scores_can_be_told(scores):
    found = say(part(*scores))
    assert found.answer.endswith(".")
    assert "nan" not in text(found).lower()
    assert "nan" not in found.short
