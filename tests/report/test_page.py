from html import unescape
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.report.page import Markup, breakable, document, element, escape, join, section, table


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@given(text=st.text())
def test_text_stays_text(text):
    page = element("p", text, title=text)
    tags = Tags()
    tags.feed(page)
    assert [tag for tag, _ in tags.found] == ["p"]
    inner = page[page.index(">") + 1 : -len("</p>")]
    assert "<" not in inner
    shown = "".join("\ufffd" if (ord(c) < 32 and c not in "\t\n\r") or 127 <= ord(c) < 160 else c for c in text)
    assert unescape(inner) == shown


def test_markup_is_not_escaped_twice():
    inner = element("b", "a & b")
    assert element("p", inner, None, " < ") == "<p><b>a &amp; b</b> &lt; </p>"
    assert join([Markup("<br>"), "<br>"]) == "<br>&lt;br&gt;"


def test_attributes():
    assert (
        element("rect", stroke_width="2", class_="x", viewbox="0 0 1 1", fill=None)
        == '<rect stroke-width="2" class="x" viewBox="0 0 1 1"></rect>'
    )
    assert element("meta", name="a", content="b") == '<meta name="a" content="b">'


def test_table_aligns_numbers():
    html = table(["name", "n"], [["<a>", "1"]], numeric=[1], whole=[0])
    assert '<th class="n">n</th>' in html
    assert '<td class="w">&lt;a&gt;</td><td class="n">1</td>' in html


def test_document_is_whole():
    page = document("<t>", section("S", "body", anchor="s"), fingerprint="ab12")
    assert page.startswith("<!DOCTYPE html>\n<html")
    assert page.endswith("</html>\n")
    assert "<title>&lt;t&gt;</title>" in page
    assert '<meta name="smlmbatch-fingerprint" content="ab12">' in page


@given(text=st.text())
def test_breaks_do_not_change_a_name(text):
    pieces = breakable(text).split("<wbr>")
    assert "".join(pieces) == escape(text)
    assert all(len(unescape(piece)) <= 40 for piece in pieces)


def test_names_break_where_their_words_end():
    assert breakable("C15_EGFR-568.tif.csv").split("<wbr>") == ["C15_", "EGFR-", "568.", "tif.", "csv"]
    assert breakable("__a..b") == "__<wbr>a..<wbr>b"
    assert [len(piece) for piece in breakable("x" * 60).split("<wbr>")] == [24, 24, 12]
