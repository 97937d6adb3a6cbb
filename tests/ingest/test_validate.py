"""The report on a file before any run."""

import json

import numpy as np
import pytest

from smlmbatch.config import Config
from smlmbatch.errors import InputError
from smlmbatch.ingest.file_report import counts_of, summary_text
from smlmbatch.ingest.scan import scan_input
from smlmbatch.ingest.validate import validate_file, validate_scan
from smlmbatch.samples import field_of_row


def report(path, **row):
    return validate_file(path, field=field_of_row(row, path=path.name, format_name=""), config=Config())


def table(n=100, scale=1.0, precision=10.0, extra=""):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 9900, (2, n)) * scale
    rows = "".join(f"{i + 1},{x[i]:.3f},{y[i]:.3f},{precision}\n" for i in range(n))
    return "frame,x [nm],y [nm],uncertainty [nm]\n" + rows + extra


def test_a_good_file(write):
    found = report(write("f.csv", table()))
    assert (found.format, found.n, found.n_read, found.dropped) == ("thunderstorm", 100, 100, {})
    (x0, y0), (x1, y1) = found.extent_nm
    assert 0 <= min(x0, y0) < 500 < 9000 < max(x1, y1) < 9900
    assert (found.frame_base, found.frame_extent) == (1, (0, 99))
    assert found.precision_median_nm == 10
    assert found.n_per_channel == {"channel 0": 100}
    assert found.columns["precision_nm"].columns == ("uncertainty [nm]",)
    assert (found.share_of_copies, found.copies_exact, found.sampled_every) == (0.0, True, 1)
    assert found.warnings == ()


def test_text_says_what_becomes_of_a_column(picasso):
    records = np.zeros(50, dtype=[("frame", "u4"), ("x", "f4"), ("y", "f4"), ("lpx", "f4"), ("lpy", "f4")])
    records["x"] = np.linspace(1, 250, 50)
    records["lpx"] = records["lpy"] = 0.1
    text = report(picasso(records)).to_text()
    assert "Picasso HDF5: 50 locs in 29.13 x 0 um, pixels of 117 nm, precision 11.7 nm, frames 0 to 0" in text
    assert "x_nm = x * 117 + 58.5" in text
    assert "precision_nm = mean(lpx, lpy) * 117" in text


@pytest.mark.parametrize("make", [lambda: table(extra="x,1,2,3\n5,NaN,1,1\n"), lambda: "x_nm,y_nm,channel\n0,0,a\n5000,5000.5,b\n"])
def test_json_holds_everything_the_report_has(write, make):
    path = write("f.csv", make())
    (checked,) = validate_scan(scan_input(path, sheet=None, exclude=None, config=Config()), config=Config())
    found = json.loads(json.dumps(checked.to_dict(), allow_nan=False))
    assert found["kind"] == "field"
    assert found["report"]["n"] == checked.report.n
    assert {warning["rule"] for warning in found["report"]["warnings"]} == {warning["rule"] for warning in checked.report.warnings}
    assert found["report"]["columns"]["x_nm"]["scale"] == 1.0


def test_an_unreadable_file(write):
    with pytest.raises(InputError):
        report(write("f.csv", "a,b\n1,2\n"))


def test_a_whole_scan(write, tmp_path):
    write("a.csv", table())
    write("b.csv", "a,b\n1,2\n3,4\n")
    write("c.txt", "words")
    write("d.txt", "words")
    write("gone.csv", "frame,x [nm],y [nm]\n1,2,3\n")
    before = sorted(tmp_path.rglob("*"))
    scan = scan_input(tmp_path, sheet=None, exclude=None, config=Config())
    (tmp_path / "gone.csv").unlink()
    checked = list(validate_scan(scan, config=Config()))
    assert [(file.path, file.kind) for file in checked] == [
        ("a.csv", "field"),
        ("b.csv", "failed"),
        ("gone.csv", "failed"),
        ("c.txt", "ignored"),
        ("d.txt", "ignored"),
    ]
    assert "100 locs" in checked[0].to_text()
    lines = checked[1].to_text().splitlines()
    assert lines[0] == "b.csv"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["FAILED", "wanted", "to mend it"]
    assert set(checked[1].error) == {"finding", "want", "mend"}
    json.dumps([file.to_dict() for file in checked])
    assert counts_of(checked) == {"field": 1, "failed": 2, "ignored": 2, "with_warnings": 0}
    assert summary_text(checked).splitlines()[-1] == "1 field, 2 failed, 2 ignored"
    assert ": c.txt, d.txt" in summary_text(checked)
    assert sorted(tmp_path.rglob("*")) == [path for path in before if path.name != "gone.csv"]
