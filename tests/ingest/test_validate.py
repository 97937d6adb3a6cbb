"""The report on a file before any run."""

import json

import pytest

from smlmbatch.config import Config
from smlmbatch.errors import InputError
from smlmbatch.ingest.scan import scan_input
from smlmbatch.ingest.validate import validate_file, validate_scan
from smlmbatch.samples import field_of_row


def report(path, **row):
    return validate_file(path, field=field_of_row(row, path=path.name, format_name=""), config=Config())


def table(n=100, scale=100.0, precision=10.0, extra=""):
    rows = "".join(f"{i + 1},{i * scale},{i * scale},{precision}\n" for i in range(n))
    return "frame,x [nm],y [nm],uncertainty [nm]\n" + rows + extra


def test_a_good_file(write):
    found = report(write("f.csv", table()))
    assert (found.format, found.n, found.n_read, found.dropped) == ("thunderstorm", 100, 100, {})
    assert found.extent_nm == ((0, 0), (9900, 9900))
    assert (found.frame_base, found.frame_extent) == (1, (0, 99))
    assert found.precision_median_nm == pytest.approx(10, rel=0.004)
    assert found.n_per_channel == {"channel 0": 100}
    assert found.columns["precision_nm"] == "uncertainty [nm]"
    assert found.warnings == ()
    assert json.loads(json.dumps(found.to_dict()))["n"] == 100


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(scale=0.1), "only 0.0099 um wide"),
        (table(scale=1e5), "9.9 mm wide"),
        (table(precision=1600), "median precision is 1.6e+03 nm"),
        (table(precision=0), "100% of the precisions"),
        (table(extra="x,1,2,3\n5,NaN,1,1\n"), "2 of 102 records were dropped"),
        ("x_nm,y_nm\n0,0\n5000,5000\n", "no precision column"),
        ("x_nm,y_nm\n0,0\n5000,5000\n", "no frame column"),
    ],
)
def test_warnings(write, content, words):
    assert any(words in text for text in report(write("f.csv", content)).warnings)


def test_an_unreadable_file(write):
    with pytest.raises(InputError):
        report(write("f.csv", "a,b\n1,2\n"))


def test_a_whole_scan(write, tmp_path):
    write("a.csv", table())
    write("b.csv", "a,b\n1,2\n3,4\n")
    write("c.txt", "words")
    before = sorted(tmp_path.rglob("*"))
    checked = list(validate_scan(scan_input(tmp_path, sheet=None, exclude=None, config=Config()), config=Config()))
    assert [(entry.path, entry.failed, bool(entry.ignored)) for entry in checked] == [
        ("a.csv", False, False),
        ("b.csv", True, False),
        ("c.txt", False, True),
    ]
    assert "100 locs" in checked[0].to_text()
    assert "no reader knows" in checked[1].to_text()
    json.dumps([entry.to_dict() for entry in checked])
    assert sorted(tmp_path.rglob("*")) == before
