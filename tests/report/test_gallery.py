import base64
import csv
import io

import numpy as np

from smlmbatch.report.gallery import Drawing, Gallery, csv_text


def test_a_figure_is_in_the_page_and_in_three_files(tmp_path):
    gallery = Gallery(tmp_path / "figures")
    shown = gallery.show(
        "density_c0", Drawing(b"<svg/>", b"\x89PNG"), numbers="a,b\n1,2\n", alt="dots & <lines>", caption="What <this> is."
    )
    assert base64.b64encode(b"<svg/>").decode() in shown
    assert "dots &amp; &lt;lines&gt;" in shown
    assert "What &lt;this&gt; is." in shown
    for kind, content in (("svg", b"<svg/>"), ("png", b"\x89PNG"), ("csv", b"a,b\n1,2\n")):
        assert f'href="figures/density_c0.{kind}"' in shown
        assert (tmp_path / "figures" / f"density_c0.{kind}").read_bytes() == content


def test_figures_of_an_earlier_report_are_removed_and_nothing_else(tmp_path):
    old = Gallery(tmp_path / "figures")
    for name in ("gone", "stays"):
        old.show(name, Drawing(b"old", b"old"), numbers="old", alt="", caption="")
    (tmp_path / "figures" / "mine.txt").write_text("a user's note")
    new = Gallery(tmp_path / "figures")
    new.show("stays", Drawing(b"new", b"new"), numbers="new", alt="", caption="")
    new.sweep()
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["mine.txt", "stays.csv", "stays.png", "stays.svg"]
    assert (tmp_path / "figures" / "stays.csv").read_bytes() == b"new"
    Gallery(tmp_path / "never").sweep()


def test_csv_keeps_names_and_numbers():
    text = csv_text(("name", "value"), [('a "b",\nc', 1 / 3), ("x", float("nan")), ("y", np.float64("nan")), ("z", None)])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["name", "value"], ['a "b",\nc', repr(1 / 3)], ["x", ""], ["y", ""], ["z", ""]]
