"""Box plots of scores: equal numbers are equal files, and what is undefined is left out."""

import numpy as np
import pytest

from smlmbatch.report.score_figures import draw_score_boxes


def panels(seed, n_methods, n=9):
    rng = np.random.default_rng(seed)
    return {title: [rng.uniform(0, 1, n) for _ in range(n_methods)] for title in ("ARI†", "IoU")}


@pytest.mark.parametrize("n_methods", [1, 2])
def test_equal_numbers_are_equal_files(n_methods):
    labels = ["one", "a second with a $long$ name <&>"][:n_methods]
    drawn = [draw_score_boxes(panels(seed, n_methods), labels=labels) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0].svg != drawn[2].svg
    assert drawn[0].png.startswith(b"\x89PNG")
    assert drawn[0].svg.lstrip().startswith(b"<?xml")


def test_undefined_values_and_single_fields_are_drawn():
    nothing = {"ARI†": [np.full(3, np.nan), np.array([np.nan, 0.5, 0.5])], "IoU": [np.array([0.1, 0.2, 0.3])] * 2}
    assert draw_score_boxes(nothing, labels=["a", "b"]).png
    six = {title: [np.array([0.5])] for title in "abcdef"}  # one more than a row holds
    assert draw_score_boxes(six, labels=["a"]).svg
