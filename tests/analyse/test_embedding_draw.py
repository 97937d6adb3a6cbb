import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse.embedding_draw import MAP, THIN, draw_evenly, generator


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(1, 100), st.integers(0, 5))
def test_drawn_evenly(code, limit, seed):
    code = np.array(code, dtype=np.intp)
    rows = draw_evenly(code, limit, np.random.default_rng(seed))
    assert len(rows) == min(limit, len(code))
    assert (np.diff(rows) > 0).all()
    there, taken = np.bincount(code, minlength=5), np.bincount(code[rows], minlength=5)
    left = taken < there
    if left.any():  # who could give more gave as many as any other
        assert taken[left].min() >= taken.max() - 1


def test_generators_are_keyed_by_what_they_are_for():
    draws = [
        float(generator(*key).random())
        for key in [(0, THIN, "f", 1, 0), (0, THIN, "f", 1, 0), (1, THIN, "f", 1, 0), (0, MAP, "f", 1, 0), (0, THIN, "f", 0, 1)]
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 4


def test_names_that_are_no_utf8_have_a_generator_too():
    assert generator(0, THIN, "caf\udce9").random() >= 0
