"""Feather tables of one's own."""

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest.columns import Overrides
from smlmbatch.ingest.recognise import recognise
from tests.ingest.reading import damage_is_told, read

N = 1000


@pytest.fixture
def feather(tmp_path):
    def put(columns=None, **options):
        table = {"y_nm": np.arange(N) * 2.0, "label": ["a"] * N, "x_nm": np.arange(N) * 1.5, "channel": ["green", "red"] * (N // 2)}
        pyarrow.feather.write_feather(pa.table(columns or table), tmp_path / "field.feather", **options)
        return tmp_path / "field.feather"

    return put


@pytest.mark.parametrize("options", [{}, {"compression": "uncompressed"}, {"compression": "zstd", "chunksize": 70}])
def test_our_own_names(feather, ingest, options):
    found = ingest(feather(**options))
    got = found.by_row()
    np.testing.assert_allclose(got["x_nm"], np.arange(N) * 1.5)
    np.testing.assert_allclose(got["y_nm"], np.arange(N) * 2)
    np.testing.assert_array_equal(got["channel"], np.arange(N) % 2)
    assert (found.attrs["format"], found.attrs["channel_names"]) == ("table", ["green", "red"])


def test_by_a_map_with_a_missing_value(feather):
    found = read(feather({"a": [1.0, None, 3.0], "b": [1, 2, 3]}), map="x=b,y=a,unit=um")
    assert found.row.tolist() == [0, 2]
    assert found.y_nm.tolist() == [1000, 3000]


def test_unknown_columns(feather):
    seen = recognise(feather({"a": [1.0], "b": [2.0]}), overrides=Overrides())
    assert seen.kind == "unreadable"
    assert "found a, b" in seen.reason


def test_words_for_x(feather):
    with pytest.raises(InputError, match="column a holds string, no numbers"):
        read(feather({"a": ["1"], "b": [2.0]}), map="x=a,y=b,unit=nm")


def test_version_1(feather):
    path = feather()
    path.write_bytes(b"FEA1" + bytes(100))
    assert "version 1" in recognise(path, overrides=Overrides()).reason


@pytest.mark.parametrize("options", [{"compression": "uncompressed"}, {"compression": "lz4", "chunksize": 300}])
def test_random_damage(feather, options):
    damage_is_told(feather(**options), np.random.default_rng(9), n_times=150)
