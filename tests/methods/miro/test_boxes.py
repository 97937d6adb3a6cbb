"""How a field is cut: every loc in one rectangle, of the size asked for, by the locs alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.methods.miro.boxes import cut_boxes, spread_by_density


def owners(xy, boxes):
    return ((xy[None] >= boxes[:, None, :2]) & (xy[None] < boxes[:, None, 2:])).all(axis=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=80), st.integers(1, 20), st.sampled_from([1.0, 0.1, 7777.7]))
def test_every_loc_lies_in_one_rectangle(places, most, spacing):
    """Many share a place or a line."""
    xy = (np.array(places, dtype=np.float64).reshape(-1, 2) * spacing).astype(np.float32)
    boxes = cut_boxes(*xy.T, most_locs=most)
    inside = owners(xy.astype(np.float64), boxes)
    assert (inside.sum(axis=0) == 1).all()
    for count, box in zip(inside.sum(axis=1), boxes, strict=True):
        assert count <= most or len(np.unique(xy[owners(xy.astype(np.float64), box[None])[0]], axis=0)) == 1
        assert count > 0


def test_halves_are_halves_and_the_order_of_locs_is_all_the_same():
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.uniform(0, 1e5, (3000, 2)), rng.normal(2e4, 300, (5000, 2))]).astype(np.float32)
    boxes = cut_boxes(*xy.T, most_locs=1000)
    counts = owners(xy.astype(np.float64), boxes).sum(axis=1)
    assert len(boxes) == 8
    assert counts.max() - counts.min() <= 3
    assert (cut_boxes(*xy[rng.permutation(8000)].T, most_locs=1000) == boxes).all()


def test_rectangles_end_where_locs_do():
    """Two groups far apart: none of the two rectangles reaches into what lies between."""
    x = np.concatenate([np.linspace(0, 10, 100), np.linspace(5000, 5010, 100)]).astype(np.float32)
    boxes = cut_boxes(x, np.zeros(200, np.float32), most_locs=100)
    np.testing.assert_allclose(boxes, [[0, 0, 10, 0], [5000, 0, 5010, 0]], atol=1e-6)


def test_samples_are_spread_from_the_densest_to_the_sparsest():
    sides = np.arange(1.0, 31.0)[np.random.default_rng(1).permutation(30)]
    boxes = np.column_stack([np.zeros(30), np.zeros(30), sides, sides])
    chosen = spread_by_density(boxes, 3)
    assert sorted(chosen[:, 2].tolist()) == [6.0, 16.0, 26.0]
