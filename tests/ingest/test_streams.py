"""Compressed text: read like the text itself, damage and bombs refused."""

import contextlib
import gzip
import zlib

import numpy as np
import pytest

from smlmbatch.errors import InputError
from smlmbatch.ingest import streams
from smlmbatch.ingest.streams import opener_of, read_head

HEADER = b"frame,x [nm],y [nm]\n"


def table(n):
    rng = np.random.default_rng(1)
    return HEADER + "".join(f"{i},{x!r},{y!r}\n" for i, (x, y) in enumerate(rng.uniform(0, 1e4, (n, 2)).tolist())).encode()


def test_the_same_digest_compressed_or_not(ingest, write):
    text = table(2000)
    plain = ingest(write("f.csv", text))
    for packed in (gzip.compress(text), gzip.compress(text[:5000]) + gzip.compress(text[5000:])):  # pigz writes several members
        assert ingest(write("f.csv.gz", packed)).digest == plain.digest


@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_cut_off_file_is_refused(ingest, write, share):
    packed = gzip.compress(table(60_000))
    with pytest.raises(InputError, match="can't be unpacked to its end"):
        ingest(write("f.csv.gz", packed[: int(len(packed) * share)]))


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_refused_or_read(ingest, write, seed):
    """The checksum tells of every damage beyond the head."""
    rng = np.random.default_rng(seed)
    packed = bytearray(gzip.compress(table(500)))
    at = int(rng.integers(2, len(packed)))
    packed[at] ^= 1 << int(rng.integers(8))
    path = write("f.csv.gz", bytes(packed))
    if at < 10:  # flags, date and system: the content may still be whole
        with contextlib.suppress(InputError):
            assert ingest(path).attrs["n"] == 500
        return
    with pytest.raises(InputError) as caught:
        ingest(path)
    assert caught.value.mend


def test_a_last_line_without_end(ingest, write):
    found = ingest(write("f.csv.gz", gzip.compress(HEADER + b"1,2,3\n1,4,5\n1,6,7")))
    assert found.attrs["n"] == 3
    assert found.attrs["warnings"] == {"the last line has no end: is the file cut off?": 1}


def test_a_bomb_is_refused(ingest, write, monkeypatch):
    monkeypatch.setattr(streams, "_BOMB_BYTES", 1 << 20)
    bomb = gzip.compress(HEADER + b"1,2,3\n" * 1_000_000, compresslevel=9)
    assert len(bomb) < 6_000_000 / 100
    with pytest.raises(InputError, match="more than 100 times its size"):
        ingest(write("f.csv.gz", bomb))
    small = gzip.compress(HEADER + b"1,2,3\n" * 100_000, compresslevel=9)  # as dense, and small
    assert ingest(write("g.csv.gz", small)).attrs["n"] == 100_000


def test_reading_in_pieces(write):
    text = table(3000)
    with opener_of(write("f.gz", gzip.compress(text)))() as stream:
        pieces = [stream.read(size) for size in (0, 1, 100, 1 << 20)]
        assert stream.readable()
    assert b"".join(pieces) == text
    assert read_head(opener_of(write("g.gz", gzip.compress(text))), 1000) == text[:1000]
    assert read_head(opener_of(write("h.csv", b"short")), 1000) == b"short"


def test_no_deflate_data_at_all(ingest, write):
    wrong = gzip.compress(b"x")[:10] + zlib.compress(b"no gzip") * 3
    with pytest.raises(InputError, match="can't be unpacked"):
        ingest(write("f.csv.gz", wrong))
