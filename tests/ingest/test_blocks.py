"""The block parser: the same records whatever the block size, fast path and exact path alike."""

import csv
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.errors import InputError
from smlmbatch.ingest.blocks import TEXT, TextTable, text_blocks
from smlmbatch.ingest.heads import parse_head
from smlmbatch.ingest.source import Malformed
from smlmbatch.ingest.streams import opener_of

TYPES = {0: pa.float64(), 1: pa.float32(), 3: TEXT}
HEADER = "a,b,unused,c\n"

numbers = st.one_of(
    st.floats(allow_nan=False, width=64).map(repr),
    st.integers(-(10**6), 10**6).map(str),
    st.sampled_from(["NaN", "inf", "-Infinity", "", "\u221e", "1e5", "1E-3", ".5", "7.", " 3 ", '"4.5"', "+2"]),
)
words = st.sampled_from(["A", "B", '"with, comma"', "caf\u00e9", ""])
junk = st.sampled_from(["x", "1.2.3", "0x1f", "1_000", "--1", "1e", "1 2"])
good = st.tuples(numbers, numbers, st.sampled_from(["", "text", "5"]), words).map(",".join)
bad = st.one_of(
    st.tuples(junk, numbers, words, words).map(",".join), st.sampled_from(["1,2,3", "1,2,3,A,5", '"1,2,3,A', "x", "   ", '1,"2,3,A'])
)
lines = st.lists(st.one_of(good, good, bad, st.just("")), max_size=40)


def read(path, block_bytes):
    """Record numbers and values of the good records; number of all."""
    with path.open("rb") as file:
        head = parse_head(file.read(1 << 16))
    index, columns, n = [], {"0": [], "1": [], "3": []}, 0
    for block in text_blocks(TextTable(path, opener_of(path), head, TYPES), Malformed(), block_bytes=block_bytes):
        index += (n + (np.arange(block.n_records) if block.index is None else block.index)).tolist()
        n += block.n_records
        columns["0"] += block.columns["0"].tolist()
        columns["1"] += block.columns["1"].tolist()
        text = block.columns["3"]
        columns["3"] += [(*text.names, "")[code] for code in text.codes]
    return index, columns, n


def expected(body):
    """The same by Python's csv module, record by record."""
    index, columns, n = [], {"0": [], "1": [], "3": []}, 0
    for line in body.split("\n"):
        if not line:
            continue
        cells = next(csv.reader([line]))
        try:
            assert line.count('"') % 2 == 0
            assert len(cells) == 4
            values = [number(cell) for cell in cells[:2]]
        except (AssertionError, ValueError):
            n += 1
            continue
        index.append(n)
        columns["0"].append(values[0])
        with np.errstate(over="ignore"):
            columns["1"].append(float(np.float32(values[1])))
        columns["3"].append(cells[3])
        n += 1
    return index, columns, n


def number(cell):
    text = cell.strip()
    if text in ("", "\u221e"):
        return math.nan
    if "_" in text:
        raise ValueError(text)
    return float(text)


@settings(max_examples=150, deadline=None)
@given(lines=lines, block_bytes=st.sampled_from([80, 200, 1 << 20]))
def test_records_against_the_csv_module(tmp_path_factory, lines, block_bytes):
    path = tmp_path_factory.getbasetemp() / "blocks.csv"
    body = "\n".join(lines)
    path.write_text(HEADER + body)
    index, columns, n = read(path, block_bytes)
    want_index, want_columns, want_n = expected(body)
    assert (index, n) == (want_index, want_n)
    np.testing.assert_array_equal(columns["0"], want_columns["0"])
    np.testing.assert_array_equal(np.array(columns["1"], "f4"), np.array(want_columns["1"], "f4"))
    assert columns["3"] == want_columns["3"]


def test_exact_path_gives_the_same_numbers(tmp_path):
    """One bad cell sends the whole block down the exact path: not a bit may change."""
    rng = np.random.default_rng(1)
    lines = [f"{x!r},{y!r},,A" for x, y in rng.normal(0, 1e5, (2000, 2)).tolist()]
    (tmp_path / "good.csv").write_text(HEADER + "\n".join(lines))
    (tmp_path / "bad.csv").write_text(HEADER + "\n".join(["x,1,,A", *lines]))
    _, fast, _ = read(tmp_path / "good.csv", 1 << 20)
    index, exact, n = read(tmp_path / "bad.csv", 1 << 20)
    assert (index, n) == (list(range(1, 2001)), 2001)
    assert fast == exact


def test_a_line_without_end_is_no_table(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text(HEADER + "1,2,3,4\n" + "5" * 3000)
    with pytest.raises(InputError, match="a line is longer"):
        read(path, 1000)
