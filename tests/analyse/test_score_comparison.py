"""Two clusterings compared field by field: tests against scipy's, and who is better where lower is."""

import numpy as np
import pytest
from scipy import stats

from smlmbatch.analyse.score_comparison import averages, compare_scores
from smlmbatch.score.figures import FIGURES, LOWER_IS_BETTER, Scores


def fields(rng, n, *, shift=0.0, **fixed):
    counts = {"n_locs": 100, "n_true": 5, "n_found": 5, "n_paired": 5}
    return {f"f{k:02d}": Scores(**{name: rng.normal(0.6 + shift, 0.1) for name in FIGURES} | fixed, **counts) for k in range(n)}


def values(own, figure):
    return np.array([getattr(own[name], figure) for name in sorted(own)])


def test_tests_are_paired():
    rng = np.random.default_rng(2)
    first, other = fields(rng, 20, shift=0.05), fields(rng, 20)
    for row in compare_scores(first, other):
        a, b = values(first, row.figure), values(other, row.figure)
        assert (row.n, row.mean, row.mean_other) == (20, pytest.approx(a.mean()), pytest.approx(b.mean()))
        assert row.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
        assert row.p_ranks == pytest.approx(stats.wilcoxon(a, b).pvalue)
        assert row.difference == pytest.approx(a.mean() - b.mean())
        assert row.low < row.difference < row.high
        cohens_d = (a.mean() - b.mean()) / np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        assert row.g == pytest.approx(cohens_d, rel=0.05)  # less by the correction for few fields
        assert abs(row.g) < abs(cohens_d)


def test_lower_is_better_for_errors():
    rng = np.random.default_rng(3)
    other = fields(rng, 6)
    first = {name: Scores(**{f: v + 0.1 if f in FIGURES else v for f, v in own.to_dict().items()}) for name, own in other.items()}
    for row in compare_scores(first, other):
        better = row.figure not in LOWER_IS_BETTER
        assert (row.better, row.n_better) == (("first", 6) if better else ("other", 0))


def test_a_field_without_a_value_is_left_out_of_that_figure():
    rng = np.random.default_rng(4)
    first, other = fields(rng, 5), fields(rng, 5, rmsre_n=np.nan)
    rows = {row.figure: row for row in compare_scores(first, other)}
    assert (rows["rmsre_n"].n, rows["rmsre_n"].better, rows["ari"].n) == (0, "", 5)
    assert np.isnan([rows["rmsre_n"].mean, rows["rmsre_n"].p_t, rows["rmsre_n"].g]).all()
    assert {a.figure: a.n for a in averages(list(other.values()))} == dict.fromkeys(FIGURES, 5) | {"rmsre_n": 0}


def test_equal_clusterings_and_single_fields_have_no_p():
    rng = np.random.default_rng(5)
    own = fields(rng, 4)
    for row in compare_scores(own, own):
        assert (row.better, row.n_better, row.difference) == ("", 0, 0)
        assert np.isnan([row.p_t, row.p_ranks]).all()
    alone = fields(rng, 1)
    for row in compare_scores(alone, fields(rng, 1)):
        assert np.isnan([row.p_t, row.p_ranks, row.low]).all()
    assert all(np.isnan(a.sd) and a.n == 1 for a in averages(list(alone.values())))


def test_order_of_fields_does_not_matter():
    rng = np.random.default_rng(6)
    first, other = fields(rng, 8), fields(rng, 8)
    backwards = dict(reversed(list(first.items())))
    assert compare_scores(backwards, other) == compare_scores(first, other)
