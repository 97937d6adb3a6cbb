"""The sample and the count of copies: exact below their limits, honest estimates above."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.ingest.survey import Copies, Sample


def batches(n, *, copies=0, size=1000, seed=0, frame=True):
    """`n` locs of which `copies` repeat others, shuffled, in batches."""
    rng = np.random.default_rng(seed)
    values = {"x_nm": rng.uniform(-1e4, 1e4, n - copies), "y_nm": rng.uniform(0, 1e4, n - copies)}
    if frame:
        values["frame"] = rng.integers(0, 1000, n - copies).astype(np.int32)
    order = rng.permutation(np.concatenate([np.arange(n - copies), rng.integers(0, n - copies, copies)]))
    values = {name: column[order] for name, column in values.items()}
    for start in range(0, n, size):
        yield {name: column[start : start + size] for name, column in values.items()}


def counted(parts, **options):
    copies = Copies(**options)
    for part in parts:
        copies.add(part)
    return copies


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.floats(0, 0.9), st.integers(1, 97), st.booleans())
def test_copies_are_counted_exactly(n, share, size, frame):
    n_copies = int(share * n)
    found = counted(batches(n, copies=n_copies, size=size, seed=n, frame=frame))
    assert found.exact
    assert found.share() == n_copies / n


def test_copies_are_estimated_in_bounded_memory():
    found = counted(batches(200_000, copies=20_000), limit=1 << 14)
    assert not found.exact
    assert found._held <= 1 << 14
    assert found.share() == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / (1 << 11)))  # at least an eighth of the limit is looked at


def test_one_position_many_times_fits_into_memory():
    found = counted(({"x_nm": np.full(1000, 2.5), "y_nm": np.zeros(1000)} for _ in range(200)), limit=1 << 12)
    assert found._held <= 1 << 12
    assert found.share() in (0.0, 1 - 1 / 200_000)  # its hash is among those looked at, or not
    both = counted(
        ({"x_nm": np.arange(1000) % 100 * 1.0, "y_nm": np.zeros(1000)} for _ in range(200)),
        limit=1 << 12,
    )
    assert both.share() == pytest.approx(1 - 100 / 200_000, abs=1e-9)


def test_what_makes_a_copy():
    def share(x, y, frame=None):
        batch = {"x_nm": np.array(x, dtype=float), "y_nm": np.array(y, dtype=float)}
        return counted([batch | ({} if frame is None else {"frame": np.array(frame, dtype=np.int32)})]).share()

    assert share([1, 1], [2, 2]) == 0.5
    assert share([1, 2], [2, 1]) == 0.0
    assert share([0.0, -0.0], [3, 3]) == 0.5
    assert share([1, 1], [2, 2], [5, 5]) == 0.5
    assert share([1, 1], [2, 2], [5, 6]) == 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(1, 60))
def test_a_sample_is_every_so_maniest_loc(n, size):
    sample = Sample(limit=64)
    for part in batches(n, size=size):
        sample.add(part)
    whole = {name: np.concatenate([part[name] for part in batches(n, size=size)]) for name in ("x_nm", "frame")}
    found = sample.columns()
    assert sample.stride == 1 << max(0, int(np.ceil(np.log2(n / 64))))
    assert set(found) == {"x_nm", "y_nm", "frame"}
    for name, values in whole.items():
        assert np.array_equal(found[name], values[:: sample.stride])
