"""Comparisons of tables whose truth is known; how often verdicts are wrong or right stands in test_inference."""

import numpy as np
import pytest
from scipy import stats

from smlmbatch.analyse.compare import condition_means, replicate_means
from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.statistics import COMPARED, MOST_CONDITIONS, compare, summarise
from smlmbatch.config import CompareConfig
from tests.analyse.drawn import campaign, nested, tables

NN = "nn_mean_nm"
QUICK = {"draws": 200}


def compared(rois, fields, **settings):
    return compare(rois, fields, config=CompareConfig(**QUICK | settings), min_locs=50)


def row(condition, replicate, value, **more):
    return {"condition": condition, "replicate": str(replicate), NN: value, "density_per_um2": 7.0} | more


def one(found, descriptor=NN, **wanted):
    chosen = [c for c in found if c.descriptor == descriptor and all(getattr(c, name) == value for name, value in wanted.items())]
    assert len(chosen) == 1
    return chosen[0]


ROWS = [row("ctrl", r, v) for r, v in ((1, 10.0), (1, 14.0), (2, 11.0), (3, 16.0))]
ROWS += [row("egf", r, v) for r, v in ((4, 20.0), (4, None), (5, 26.0), (6, 23.0), (7, None))]


def test_replicates_are_the_unit():
    found = one(compared(*tables(ROWS)))
    a, b = [12.0, 11.0, 16.0], [20.0, 26.0, 23.0]
    assert (found.reference, found.condition, found.channel) == ("ctrl", "egf", 0)
    assert (found.n_replicates_reference, found.n_replicates, found.n_rois_reference, found.n_rois, found.n_pairs) == (3, 3, 4, 3, 0)
    assert (found.mean_reference, found.mean, found.difference, found.ratio) == pytest.approx((13.0, 23.0, 10.0, 23 / 13))
    assert found.p == pytest.approx(stats.ttest_ind(b, a, equal_var=False).pvalue)
    assert (found.p_rank, found.p_rank_smallest) == pytest.approx((0.1, 0.1))
    assert found.p_roi == pytest.approx(2 / 35)  # 3 of 7 above 4, one of 35 ways each
    assert found.difference_low < 10 < found.difference_high


def test_family_is_what_could_be_tested():
    found = compared(*tables(ROWS))
    assert [c.descriptor for c in found] == list(COMPARED)
    assert "ripley_n" not in COMPARED
    own = one(found)
    assert own.n_family == 1  # density does not vary, locs neither, the rest is undefined
    assert (own.p_family, own.verdict) == (own.p, "differs")
    more = [r | {"nn_median_nm": 1.0 + i % 3 + len(r["condition"])} for i, r in enumerate(ROWS)]
    own = one(compared(*tables(more)))
    assert own.n_family == 2
    assert (own.p_family, own.p_rank_family, own.p_roi_family) == pytest.approx((2 * own.p, 0.2, 2 * own.p_roi))


def test_alpha_is_that_of_the_family():
    rois, fields = tables(ROWS)
    p = one(compared(rois, fields)).p_family
    assert [one(compared(rois, fields, alpha=p * f)).verdict for f in (0.99, 1.01)] == ["no difference shown", "differs"]


def test_channels_are_families_of_their_own():
    rows = [r | {"channel": c, NN: None if r[NN] is None else r[NN] + c} for r in ROWS for c in (0, 1)]
    found = compared(*tables(rows))
    assert [c.channel for c in found] == [0] * len(COMPARED) + [1] * len(COMPARED)
    assert {c.n_family for c in found} == {1}
    joined = compared(*tables(rows), conditions="condition,channel")
    assert {c.channel for c in joined} == {None}
    assert {c.n_family for c in joined} == {6}


def test_all_pairs_or_those_with_the_reference():
    rows = [row(name, f"{name}{r}", 10.0 + r + i) for i, name in enumerate(("10 nM", "2 nM", "ctrl")) for r in range(3)]
    pairs = [(c.reference, c.condition) for c in compared(*tables(rows)) if c.descriptor == NN]
    assert pairs == [("2 nM", "10 nM"), ("2 nM", "ctrl"), ("10 nM", "ctrl")]
    found = compared(*tables(rows), reference="ctrl")
    assert [(c.reference, c.condition) for c in found if c.descriptor == NN] == [("ctrl", "2 nM"), ("ctrl", "10 nM")]
    assert {c.n_family for c in found} == {2}


def test_another_condition_does_not_change_an_interval():
    rows = [row(name, f"{name}{r}", 10.0 + r**2 + i) for i, name in enumerate(("a", "b", "c")) for r in range(3)]
    two, three = compared(*tables(rows[:6])), compared(*tables(rows))
    name = "difference_low"
    assert getattr(one(two), name) == getattr(one(three, condition="b"), name)
    assert getattr(one(two), name) != getattr(one(compared(*tables(rows[:6]), seed=1)), name)
    assert [str(c) for c in three] == [str(c) for c in compared(*tables(rows[::-1]))]


def test_a_reference_whose_rois_were_all_dropped_costs_its_comparisons_only():
    rois, fields = tables([*ROWS, row("control", 8, 1.0, kept=False)])
    assert compared(rois, fields, reference="control") == []
    rois, fields = tables([*(r | {"channel": c} for r in ROWS for c in (0, 1)), row("control", 8, 1.0), row("control", 9, 2.0)])
    assert {c.channel for c in compared(rois, fields, reference="control")} == {0}


def test_each_kind_of_test_is_corrected_for_its_own_number():
    """Density doesn't vary between replicates, but between conditions and ROIs: no t test of it, a rank test and one of ROIs."""
    varied = [r | {"density_per_um2": 7.0 + (r["condition"] == "egf")} for r in ROWS]
    own = one(compared(*tables(varied)))
    assert (own.n_family, own.p_family) == (1, own.p)
    assert (own.p_rank_family, own.p_roi_family) == pytest.approx((2 * own.p_rank, 2 * own.p_roi))


def test_replicates_of_other_conditions_are_not_pooled():
    values = {("A", 1): 10.0, ("A", 2): 12.0, ("B", 1): 30.0, ("B", 2): 33.0}
    rows = [row(c, r, v + shift, region=name) for (c, r), v in values.items() for name, shift in (("core", 0.0), ("rim", 1.0 + v / 100))]
    for paired in ("", "replicate"):
        found = one(compared(*tables(rows), conditions="region", paired=paired))
        assert (found.n_replicates, found.n_pairs) == (4, 4 if paired else 0)


def test_superplots_have_the_same_numbers():
    rng = np.random.default_rng(1)
    rois, fields = campaign({c: {NN: nested(rng, rng.normal(50, 5, 4), rois=5, noise=3.0)} for c in ("a", "b")})
    config = CompareConfig(conditions="condition", **QUICK)
    shown = condition_means(replicate_means(group_rois(rois, fields, config=config), min_locs=50))
    found = one(compare(rois, fields, config=config, min_locs=50))
    means = {m.condition: m.mean for m in shown if m.descriptor == NN}
    assert (found.mean_reference, found.mean) == (means["a"], means["b"])


# ---- pairs


def test_pairs_by_replicate_within_the_same_cells():
    rng = np.random.default_rng(2)
    cells = rng.normal(100, 30, 6)
    rows = [
        row("cells", r, level + shift + rng.normal(0, 1), distance_to_edge_nm=far)
        for r, level in enumerate(cells)
        for shift, far in ((0.0, 500.0), (8.0, 9000.0))
        for _ in range(4)
    ]
    settings = {"conditions": "region", "periphery_nm": 1000.0}
    paired, unpaired = one(compared(*tables(rows), paired="replicate", **settings)), one(compared(*tables(rows), **settings))
    assert (paired.reference, paired.condition, paired.paired, paired.n_pairs) == ("centre", "periphery", "replicate", 6)
    assert paired.difference == pytest.approx(unpaired.difference) == pytest.approx(-8, abs=1.5)
    assert paired.verdict == "differs"
    assert unpaired.verdict == "no difference shown"
    assert paired.p_rank_smallest == 1 / 32
    assert paired.difference_high - paired.difference_low < 0.1 * (unpaired.difference_high - unpaired.difference_low)


def test_blocks_are_means_of_their_replicates():
    """Batches with both sides enter; a label used again in another batch is another replicate."""
    rows = [row("ctrl", 1, 10.0, batch="d1"), row("ctrl", 2, 20.0, batch="d1"), row("egf", 3, 18.0, batch="d1")]
    rows += [row("ctrl", 1, 30.0, batch="d2"), row("egf", 3, 34.0, batch="d2"), row("egf", 4, 99.0, batch="d3")]
    rows += [row("ctrl", 5, 1000.0), row("egf", 5, 1000.0)]
    found = one(compared(*tables(rows), paired="batch"))
    assert (found.n_pairs, found.n_replicates_reference, found.n_replicates) == (2, 3, 2)
    assert (found.mean_reference, found.mean) == (22.5, 26.0)
    assert found.p == pytest.approx(stats.ttest_rel([18, 34], [15, 30]).pvalue)


# ---- nothing to compare


@pytest.mark.parametrize("paired", ["", "replicate", "batch"])
def test_one_replicate_is_too_few(paired):
    found = compared(*tables([row("a", 1, 3.0), row("a", 1, 4.0), row("b", 1, 5.0), row("b", 2, 6.0)]), paired=paired)
    own = one(found)
    assert own.verdict == "too few replicates"
    assert np.isnan([own.p, own.p_family, own.p_rank, own.p_rank_smallest, own.hedges_g, own.difference_low, own.ratio_low]).all()
    assert {c.n_family for c in found} == {0}
    assert own.n_rois == 2


def test_what_does_not_vary_is_not_testable():
    own = one(compared(*tables(ROWS)), "density_per_um2")
    assert (own.verdict, own.mean, own.difference) == ("not testable", 7.0, 0.0)
    assert np.isnan([own.p, own.hedges_g, own.difference_low, own.p_roi]).all()


@pytest.mark.parametrize("paired", ["", "replicate"])
def test_replicates_apart_that_do_not_vary_are_not_testable(paired):
    level = {False: (0.0, 0.0, 0.0), True: (1.0, 5.0, 9.0)}[bool(paired)]
    rows = [row(c, r, level[r] + (c == "b")) for c in ("a", "b") for r in range(3)]
    found = compared(*tables(rows), paired=paired)
    own = one(found)
    assert (own.verdict, own.difference) == ("not testable", 1.0)
    assert np.isnan([own.p, own.p_family]).all()
    (summary,) = summarise(found)
    assert own in summary.untestable
    assert own not in (*summary.unclear, *summary.untested)


def test_nothing_at_all():
    assert compared(*tables([])) == []
    assert compared(*tables([row("a", 1, 3.0)])) == []
    assert compared(*tables([row("a", 1, 3.0, kept=False), row("b", 1, 3.0)])) == []
    assert summarise([]) == []


def test_hundreds_of_conditions_need_a_reference():
    rows = [row(f"{i}", f"{i}-{r}", 10.0 + r) for i in range(MOST_CONDITIONS + 1) for r in range(2)]
    assert compared(*tables(rows)) == []
    assert len(compared(*tables(rows), reference="0")) == MOST_CONDITIONS * len(COMPARED)


# ---- in short


def test_summary_sorts_by_verdict_and_size():
    rng = np.random.default_rng(4)
    shift = {"noise_fraction": 40.0, NN: 12.0, "nn_median_nm": 0.3, "ripley_max_nm": 0.0}
    values = {
        c: {name: nested(rng, rng.normal(100 + s * (c == "b"), 1, 5), rois=4, noise=0.1) for name, s in shift.items()} for c in ("a", "b")
    }
    rois, fields = campaign(values)
    (summary,) = summarise(compared(rois, fields))
    assert [c.descriptor for c in summary.differing] == ["noise_fraction", NN]
    assert {c.descriptor for c in summary.unclear} == {"nn_median_nm", "ripley_max_nm"}
    assert [c.descriptor for c in summary.untestable] == ["n_locs"]  # it doesn't vary
    assert len(summary.untested) == len(COMPARED) - 5
    assert (summary.channel, summary.pairs, summary.n_family) == (0, (("a", "b"),), 4)
    assert summary.fewest_replicates == 0  # where a descriptor is undefined
    assert summary.most_replicates == 5
