"""Heads of any bytes are read without a crash, and what they give fits together."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.ingest.heads import HEAD_BYTES
from smlmbatch.ingest.odd_heads import text_head

STARTS = st.sampled_from(
    [
        b"# <localizations",
        b'# <localizations><field identifier="Position-0-0" unit="nanometer"/>',
        b"# DECODE EmitterSet\n# ",
        b'# DECODE EmitterSet\n# {"px_size": [1, "a"], "xy_unit": 3}\nx,y\n',
        b"Width\tnb_Planes\tPixel_Size(um)\n",
        b"Width\tnb_Planes\tPixel_Size(um)\n1\t2\t\n",
        b"\xef\xbb\xbf# DECODE EmitterSet\n",
        b"",
    ]
)
PIECES = st.one_of(
    st.binary(max_size=30), st.sampled_from([b"\n", b",", b"\t", b'"', b"1.5", b"x", b"{", b"}", b"[1,2]", b"<field ", b"/>"])
)


@settings(max_examples=400, deadline=None)
@given(start=STARTS, rest=st.lists(PIECES, max_size=30))
def test_no_head_crashes(start, rest):
    head = (start + b"".join(rest))[:HEAD_BYTES]
    found = text_head(head)
    assert 0 <= found.data_start <= len(head) + 1
    assert len(found.pixels_nm) in (0, 2)
    assert all(size > 0 for size in found.pixels_nm)
    assert bool(found.problem) == bool(found.mend)


def test_rapidstorm_units_stand_in_brackets():
    head = b'# <localizations><field identifier="a" unit="micrometer"/><field unit="parsec" identifier="b"/></localizations>\n1 2\n3 4\n'
    found = text_head(head)
    assert found.names == ("a [um]", "b")
    assert head[found.data_start :] == b"1 2\n3 4\n"
    assert found.sample == (("1", "2"), ("3", "4"))


def test_palmtracer_starts_after_its_second_header():
    head = b"Width\tnb_Planes\tPixel_Size(um)\r\n\r\n8\t9\t0.1\r\nPlane\tCentroidX(px)\r\n1\t2\r\n"
    found = text_head(head)
    assert found.names == ("Plane", "CentroidX(px)")
    assert head[found.data_start :] == b"1\t2\r\n"
    assert found.pixels_nm == (100.0, 100.0)
