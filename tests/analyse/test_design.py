import numpy as np

from smlmbatch.analyse.design import batch_warnings, unpaired_blocks
from smlmbatch.analyse.statistics import MOST_CONDITIONS
from smlmbatch.config import CompareConfig
from tests.analyse.drawn import tables


def row(condition, replicate, batch="", value=1.0, **more):
    return {"condition": condition, "replicate": str(replicate), "batch": batch, "nn_mean_nm": value, "n_locs": 500} | more


def test_what_has_no_partner_is_named():
    rows = [row("a", 1), row("a", 2), row("b", 2), row("b", 10), row("b", 3), row("c", 1), row("c", 2)]
    rois, fields = tables(rows)
    found = unpaired_blocks(rois, fields, config=CompareConfig(paired="replicate"), min_locs=50)
    assert [(u.reference, u.condition, u.only_reference, u.only_condition) for u in found] == [
        ("a", "b", ("1",), ("3", "10")),
        ("b", "c", ("3", "10"), ("1",)),
    ]
    assert unpaired_blocks(rois, fields, config=CompareConfig(), min_locs=50) == []
    (empty,) = unpaired_blocks(rois, fields, config=CompareConfig(paired="batch", reference="a"), min_locs=50)[:1]
    assert (empty.only_reference, empty.only_condition) == (("",), ("",))


def warnings(rows, **settings):
    return batch_warnings(*tables(rows), config=CompareConfig(**settings), min_locs=50)


def test_a_batch_of_its_own_can_not_be_told_from_a_condition():
    rows = [row("ctrl", r, "day 1") for r in range(3)] + [row("egf", r, "day 2") for r in range(3)]
    (found,) = warnings(rows)
    assert (found.kind, found.conditions, found.batches, found.descriptor) == ("confounded", ("ctrl", "egf"), ("day 1", "day 2"), None)
    assert warnings([*rows, row("egf", 3, "day 1")]) == []
    assert warnings([r | {"batch": ""} for r in rows]) == []
    assert warnings([r | {"batch": "day 1"} for r in rows]) == []
    assert warnings(rows, conditions="batch") == []
    three = [*rows, *(row("drug", r, "day 1") for r in range(3))]
    assert [w.conditions for w in warnings(three)] == [("ctrl", "egf"), ("drug", "egf")]
    assert [w.conditions for w in warnings(three, reference="ctrl")] == [("ctrl", "egf")]


def crossed(*, batch, condition, seed=0):
    rng = np.random.default_rng(seed)
    return [
        row(c, f"{c}{b}{r}", f"day {b}", 100 + batch * b + condition * i + rng.normal())
        for i, c in enumerate(("ctrl", "egf"))
        for b in range(3)
        for r in range(3)
    ]


def test_batches_that_vary_more_than_conditions():
    (found,) = warnings(crossed(batch=10.0, condition=3.0))
    assert (found.kind, found.descriptor, found.channel, found.batches) == ("larger", "nn_mean_nm", 0, ("day 0", "day 1", "day 2"))
    # expected mean squares: 6 a batch with variance 100 of batches; 9 a condition with variance 4.5 of conditions
    assert 200 < found.batch_share < 1800
    assert 13 < found.condition_share < 120
    assert warnings(crossed(batch=2.0, condition=10.0)) == []


def test_batches_that_do_not_vary_warn_rarely():
    assert sum(bool(warnings(crossed(batch=0.0, condition=0.0, seed=seed))) for seed in range(60)) <= 3


def test_what_is_not_compared_as_conditions_are_too_many_is_not_warned_of():
    rows = [row(f"c{i:02}", i, f"day {i}") for i in range(MOST_CONDITIONS + 1)]
    rois, fields = tables(rows)
    for settings in ({}, {"paired": "batch"}):
        assert warnings(rows, **settings) == []
        assert unpaired_blocks(rois, fields, config=CompareConfig(**settings), min_locs=50) == []
    assert len(warnings(rows, reference="c00")) == MOST_CONDITIONS
    found = unpaired_blocks(rois, fields, config=CompareConfig(paired="batch", reference="c00"), min_locs=50)
    assert len(found) == MOST_CONDITIONS
