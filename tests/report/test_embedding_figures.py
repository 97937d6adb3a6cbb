import io
import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform

from smlmbatch.report.embedding_figures import (
    Bar,
    Dots,
    OrderedDots,
    ScorePanel,
    ScoreRow,
    draw_bend,
    draw_compositions,
    draw_distances,
    draw_map,
    draw_order,
    draw_scores,
    tree_order,
)
from smlmbatch.report.figures import look_of

NAMES = ["ctrl", "EGF $x_1$ <b>", "日本語", "x" * 90, "_hidden"]
NAN = math.nan


def check(drawing):
    root = ET.fromstring(drawing.svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    picture = matplotlib.image.imread(io.BytesIO(drawing.png), format="png")
    assert picture[..., :3].std() > 0.01  # something is drawn
    return picture


def looks(n):
    return [look_of(i) for i in range(n)]


@pytest.mark.parametrize("n", [0, 1, 700])
def test_map_of_any_number_of_rois(n):
    rng = np.random.default_rng(1)
    condition = np.arange(n, dtype=np.int64) % len(NAMES)
    drawn = draw_map(Dots(x=rng.normal(size=n), y=rng.normal(size=n), condition=condition, looks=looks(5), labels=NAMES))
    check(drawn)
    assert drawn == draw_map(Dots(x=np.zeros(0), y=np.zeros(0), condition=condition[:0], looks=looks(5), labels=NAMES)) or n > 0


def test_no_condition_hides_another_on_the_map():
    """Of two conditions at the same places, about as many dots of each are seen on top."""
    n = 400
    place = np.repeat(np.arange(n / 2), 2)
    drawn = draw_map(Dots(x=place % 20, y=place // 20, condition=np.arange(n) % 2, looks=looks(2), labels=["a", "b"]))
    rgb = (check(drawn)[..., :3] * 255).astype(int)[:, :1000]
    blue, orange = ((rgb[..., 2] - rgb[..., 0] > 60).sum(), (rgb[..., 0] - rgb[..., 2] > 60).sum())
    assert 0.5 < blue / orange < 2


@pytest.mark.parametrize("n", [2, 20])
def test_compositions_of_many_conditions(n):
    bars = [Bar(label=f"Cluster {i}", shares=[1 / n] * n, words="9 ROIs, entropy 1.00") for i in range(4)]
    check(draw_compositions(bars, looks=looks(n), labels=[f"c{i}" for i in range(n)]))


@pytest.mark.parametrize(("bend", "used"), [(3, 3), (None, 20), (None, 0), (2, 5)])
def test_bend_with_and_without_marks(bend, used):
    check(draw_bend([1.0, 0.5, 0.3, 0.25, 0.2], used=used, bend=bend))


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_tree_puts_near_conditions_beside_each_other(n):
    rng = np.random.default_rng(n)
    places = np.sort(rng.normal(size=n))
    between = np.abs(places[:, None] - places[None])
    order = tree_order(between)
    assert sorted(order) == list(range(n))
    heights = squareform(cophenet(linkage(squareform(between), method="average")))
    beside = [heights[a, b] for a, b in pairwise(order)]
    for i, a in enumerate(order[:-1]):  # in a tree's order no later leaf joins a leaf earlier than its neighbour does
        assert beside[i] <= min(heights[a, b] for b in order[i + 1 :]) + 1e-9
    check(draw_distances(between, (NAMES * 4)[:n]))


def test_equal_conditions_can_be_drawn():
    check(draw_distances(np.zeros((3, 3)), ["a", "b", "c"]))


def test_scores_with_and_without_intervals():
    rows = [
        ScoreRow(row="Embedding", value=0.9, low=NAN, high=NAN, filled=True),
        ScoreRow(row="Embedding", value=NAN, low=NAN, high=NAN, filled=False),
        ScoreRow(row="Number of locs alone", value=-0.4, low=-0.6, high=1.3, filled=True),
    ]
    panels = [ScorePanel(title="All locs, 3 ROIs", scores=rows, chance=0.0), ScorePanel(title="900 each", scores=rows[:1], chance=NAN)]
    check(draw_scores(panels, axis="Adjusted Rand index", low=-0.1, kinds=("K-means", "Ward")))


def test_doses_stand_in_their_order():
    groups = [
        OrderedDots(at=at, label=f"{at} nM {'x' * i * 9}", look=look_of(i), replicates=np.full(i + 1, at)) for i, at in enumerate((9, 0, 3))
    ]
    check(draw_order(groups, axis="Place along the leading axis"))
