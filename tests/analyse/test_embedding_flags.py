"""Flags: each is raised where it should be and not where it should not, odd campaigns raise nothing else."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.analyse.embedding_flags import Embedded, columns_to_check, embedding_flags
from smlmbatch.analyse.results import LIGHTS, EmbeddingScore
from smlmbatch.config import CompareConfig
from tests.analyse.drawn_embeddings import draw


def rois_of(d, **more):
    columns = more.pop("columns", {})
    return Embedded(vectors=d.vectors, condition=d.condition, replicate=d.replicate, key=d.key, columns=columns, **more)


def flags_of(rois, scores=()):
    flags = embedding_flags(rois, channel=1, scores=scores)
    assert {flag.channel for flag in flags} <= {1}
    assert {flag.light for flag in flags} <= set(LIGHTS)
    return {(flag.kind, flag.light): flag.text for flag in flags}


def score(representation, value, *, n_locs=0, measure="ARI k-means", chance=0.0):
    numbers = {"low": value - 0.05, "high": value + 0.05, "repeats": 1, "repeat_sd": np.nan, "groups": 2, "k": 2, "n_rois": 80, "n_lost": 0}
    names = {"channel": 1, "label": "condition", "representation": representation, "measure": measure, "note": "", "chance": chance}
    return EmbeddingScore(**names, **numbers, value=value, n_locs=n_locs)


@pytest.mark.parametrize(
    ("embedding", "log_n", "equal", "light", "says"),
    [
        (0.9, 0.1, [0.85], "green", "better than by density"),
        (0.9, 0.9, [0.8], "amber", "0.80 with 900 locs each, 80 ROIs"),
        (0.9, 1.0, [0.02], "red", "may be one of density"),
        (0.9, 1.0, [], "amber", "not possible here"),
        (0.02, 0.9, [0.0], "grey", "doesn't tell the conditions apart"),
    ],
)
def test_density(embedding, log_n, equal, light, says):
    scores = [score("embedding", embedding), score("log N", log_n), *(score("embedding", value, n_locs=900) for value in equal)]
    flags = flags_of(rois_of(draw(0, (4, 4))), scores)
    assert [key for key in flags if key[0] == "density"] == [("density", light)]
    assert says in flags["density", light]


@pytest.mark.parametrize(("log_n", "light"), [(0.55, "green"), (0.78, "amber"), (0.9, "amber")])
def test_density_by_accuracy_where_clusters_follow_something_else(log_n, light):
    accuracy = {"measure": "accuracy nearest", "chance": 0.5}
    scores = [score("embedding", 0.02), score("log N", 0.0), score("embedding", 0.8, **accuracy), score("log N", log_n, **accuracy)]
    assert "accuracy by nearest neighbours, replicates left out, 0.80" in flags_of(rois_of(draw(0, (4, 4))), scores)["density", light]


def test_density_where_rois_were_embedded_at_equal_numbers():
    scores = [score("embedding", 0.8, n_locs=300), score("log N", 0.0, n_locs=300)]
    assert "0.80 with 300 locs each" in flags_of(rois_of(draw(0, (4, 4))), scores)["density", "green"]


def test_no_word_of_density_without_scores():
    missing = score("embedding", np.nan)
    for scores in ([], [missing, score("log N", 0.5)], [score("embedding", 0.5)]):
        assert not [key for key in flags_of(rois_of(draw(0, (4, 4))), scores) if key[0] == "density"]


def test_a_replicate_that_stands_apart():
    flags = flags_of(rois_of(draw(1, (5, 5), outlier=8.0, effect=20.0, axes=3)))
    text = flags["replicate", "amber"]
    assert text.startswith("Replicate c0r0 of c0 stands apart")
    assert "purest has an entropy over replicates of 0.0" in text
    assert ("replicate", "red") in flags_of(rois_of(draw(1, (5, 5), outlier=8.0, effect=1.0, axes=3)))
    assert "No replicate stands apart" in flags_of(rois_of(draw(3, (5, 5), between=0.1)))["replicate", "green"]
    assert "Too few replicates" in flags_of(rois_of(draw(3, (2, 2))))["replicate", "grey"]


def test_columns_that_stand_apart_confounded_and_untestable():
    d = draw(1, (6, 6), group_effect=2.0, effect=8.0)
    program = np.where(d.condition == "c0", "DECODE", "ThunderSTORM").astype(object)
    single = np.where(d.replicate == "c0r0", "", "x").astype(object)
    flags = flags_of(rois_of(d, columns={"batch": d.group, "format": program, "label_dish": single}))
    assert "stands apart" in flags["batch", "amber"]
    assert flags["batch", "amber"].startswith(("Batch: g0", "Batch: g1"))
    assert "c0 and c1 share none" in flags["format", "amber"]
    assert "Column dish" in flags["few", "grey"]
    assert ("batch", "red") in flags_of(rois_of(draw(1, (6, 6), group_effect=3.0, effect=0.1), columns={"batch": d.group}))
    nothing = flags_of(rois_of(draw(2, (6, 6)), columns={"label_day": d.group}))
    assert "no difference within conditions" in nothing["label", "green"]


def test_false_alarms_over_three_columns():
    """Bonferroni over columns: of 60 campaigns with nothing, at most 8 (p = 0.007) with any column called."""
    rng = np.random.default_rng(5)
    alarms = 0
    for seed in range(60):
        d = draw(seed, (6, 6))
        names = sorted(set(d.replicate))
        columns = {}
        for name in ("batch", "format", "label_day"):
            value = dict(zip(names, np.concatenate([rng.permutation(["a", "a", "a", "b", "b", "b"]) for _ in (0, 1)]), strict=True))
            columns[name] = np.array([value[r] for r in d.replicate], dtype=object)
        kinds = flags_of(rois_of(d, columns=columns))
        alarms += any(kind in ("batch", "format", "label") and light in ("amber", "red") for kind, light in kinds)
    assert alarms <= 8


def test_numbers():
    d = draw(0, (3, 1), rois=6)
    flags = flags_of(rois_of(d, n_skipped=90, n_beyond=20))
    assert "Only one replicate of c1" in flags["few", "amber"] or "90 of 114" in flags["few", "amber"]
    texts = [flag.text for flag in embedding_flags(rois_of(d, n_skipped=90, n_beyond=20), channel=1, scores=[])]
    assert any("c0 (18), c1 (6)" in text for text in texts)
    assert any("90 of 114 kept ROIs hold too few" in text for text in texts)
    assert "20 of 24" in flags["range", "amber"]
    assert ("range", "grey") in flags_of(rois_of(d, n_beyond=1))
    one = flags_of(rois_of(draw(0, (3,))))
    assert "one condition (c0)" in one["few", "grey"]


@pytest.mark.parametrize(("n_skipped", "says"), [(7, "all 7 that were kept hold too few locs"), (0, "No ROI was embedded.")])
def test_where_nothing_was_embedded_one_flag_says_why(n_skipped, says):
    none = np.array([], dtype=object)
    rois = Embedded(vectors=np.zeros((0, 3)), condition=none, replicate=none, key=none, columns={"batch": none}, n_skipped=n_skipped)
    (flag,) = embedding_flags(rois, channel=1, scores=[])
    assert (flag.kind, flag.light) == ("few", "grey")
    assert says in flag.text


def test_a_column_that_describes_the_condition_is_not_called_untested():
    d = draw(0, (3, 3))
    dose = np.where(d.condition == "c0", "0", "5").astype(object)
    flags = embedding_flags(rois_of(d, columns={"label_dose": dose}), channel=1, scores=[])
    assert not any("dose" in flag.text for flag in flags)
    some = np.where(d.replicate == "c0r0", "x", "y").astype(object)  # one of three replicates: no p below 1 in 3
    flags = embedding_flags(rois_of(d, columns={"label_some": some}), channel=1, scores=[])
    assert any("Too few replicates with different values to test: Column some" in flag.text for flag in flags)


def fields_and_rois(labels):
    fields = {"key": ["a", "b"], "format": ["decode", "picasso"], "condition": ["x", "y"], "replicate": ["1", "1"], "batch": ["", ""]}
    rois = {"key": ["a", "a", "b"], "channel": [0, 1, 0], "batch": ["", "", ""], "condition": ["x", "x", "y"]}
    return pa.table(rois), pa.table(fields | {f"label_{name}": list(values) for name, values in labels.items()})


def test_columns_to_check():
    rois, fields = fields_and_rois({"dye_0": ("647", "568"), "dye_1": ("568", "647"), "same": ("s", "s"), "condition_1": ("p", "q")})
    found = {name: values.tolist() for name, values in columns_to_check(rois, fields, config=CompareConfig()).items()}
    assert found == {"format": ["decode", "decode", "picasso"], "label_dye": ["647", "568", "568"]}
    joined = columns_to_check(rois, fields, config=CompareConfig(conditions="dye"))
    assert {name: values.tolist() for name, values in joined.items()} == {
        "format": ["decode", "decode", "picasso"],
        "channel": ["channel 0", "channel 1", "channel 0"],
    }


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 5), max_size=30), st.booleans())
def test_odd_campaigns_raise_nothing(rows, equal):
    condition, replicate, key, batch, label = (np.array([row[i] for row in rows], dtype=object) for i in range(5))
    vectors = np.zeros((len(rows), 3)) if equal else np.random.default_rng(len(rows)).normal(size=(len(rows), 3))
    rois = Embedded(vectors=vectors, condition=condition, replicate=replicate, key=key, columns={"batch": batch, "label_x": label})
    for flag in embedding_flags(replace(rois, n_skipped=3, n_beyond=len(rows)), channel=None, scores=[]):
        assert flag.text.endswith((".", ")"))
        assert "nan" not in flag.text.split()
