"""The two-pass median, against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.ingest.median import Median

positive = st.floats(2.0**-100, 2.0**100, width=32)


@given(values=st.lists(st.one_of(positive, st.just(float("nan")), st.floats(5, 6, width=32)), max_size=60), cut=st.integers(0, 60))
def test_against_numpy(values, cut):
    data = np.array(values, dtype=np.float32)
    median = Median()
    for piece in (data[:cut], data[cut:]):
        median.add(piece)
    for piece in (data[cut:], data[:cut]):
        median.refine(piece)
    known = data[~np.isnan(data)]
    if not len(known):
        assert median.exact() is None
        assert median.estimate() is None
        return
    assert median.n == len(known)
    middle = np.sort(known)[[(len(known) - 1) // 2, len(known) // 2]]
    assert median.exact() == middle.astype(np.float64).mean()
    assert median.estimate() == pytest.approx(median.exact(), rel=1 / 256)
