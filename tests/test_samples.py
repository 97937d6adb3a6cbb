"""Sample sheets and field keys, hostile names included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import InputError
from smlmbatch.samples import Field, default_labels, field_key, field_of_row, read_samples, read_sheet, samples_text

HOSTILE = [
    "a b.csv",
    "q\"uote'.csv",
    "new\nline.csv",
    "comma,semi;.csv",
    "ünïcödé日本.csv",
    "bad\udcff.csv",
    "-rf.csv",
    "a/b/../c.csv",
    ";.csv",
]


@given(st.text(min_size=1))
def test_key_is_a_plain_folder_name(path):
    key = field_key(path)
    assert key.isascii()
    assert "/" not in key
    assert len(key) <= 57
    assert not key.startswith((".", "-"))


def test_same_name_in_two_folders():
    assert field_key("a/FOV1.csv") != field_key("b/FOV1.csv")


def make(path, **more):
    condition, replicate = default_labels(path)
    return Field(**({"path": path, "name": path, "condition": condition, "replicate": replicate} | more))


def test_samples_round_trip(tmp_path):
    fields = [make(path, labels=(("condition_1", "x,y"), ("note", 'say "hi"\nthere'))) for path in HOSTILE]
    fields.append(make("plain.csv", pixel_size_nm=117.5, cell_outline="o.roi", blinking="merged", batch="b", map="x=a,y=b,unit=nm"))
    fields.append(make("counted.csv", unit="um", frame_base=0))
    text = samples_text(fields)
    (tmp_path / "samples.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    back = read_samples(tmp_path / "samples.csv")
    assert [f.path for f in back] == [f.path for f in sorted(fields, key=lambda f: f.key)]
    by_path = {f.path: f for f in back}
    assert by_path["plain.csv"].pixel_size_nm == 117.5
    assert [(by_path[path].unit, by_path[path].frame_base) for path in ("plain.csv", "counted.csv")] == [("", -1), ("um", 0)]
    assert dict(by_path["new\nline.csv"].labels) == {"condition_1": "x,y", "note": 'say "hi"\nthere'}
    assert samples_text(back) == text


def test_condition_of_channel():
    field = make("c/a.csv", labels=(("condition_1", "dye swap"),))
    assert (field.condition_of(0), field.condition_of(1)) == ("c", "dye swap")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file,condition\na.csv,x\n", "no column `path`"),
        ("", "no column `path`; found nothing"),
        ("path\na.csv\na.csv\n", "line 3 names a.csv again"),
        ("path,condition\n,x\n", "line 2 has no path"),
        ("path\na.csv,extra\n", "more cells than the header"),
    ],
)
def test_sheets_that_make_no_sense(tmp_path, text, match):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        read_sheet(tmp_path / "s.csv")


def test_sheet_details(tmp_path):
    (tmp_path / "s.csv").write_bytes("\ufeffpath , condition\n a.csv , EGF \nb.csv\n".encode())
    assert read_sheet(tmp_path / "s.csv") == [{"path": "a.csv", "condition": "EGF"}, {"path": "b.csv", "condition": ""}]
    (tmp_path / "s.csv").write_text("path;condition\na,b.csv;EGF\n")
    assert read_sheet(tmp_path / "s.csv") == [{"path": "a,b.csv", "condition": "EGF"}]
    with pytest.raises(InputError, match="pixel_size_nm is 'big'"):
        field_of_row({"pixel_size_nm": "big"}, path="a.csv", format_name="")


@pytest.mark.parametrize(("column", "wrong", "right"), [("unit", "inch", "UM"), ("frame_base", "2", "1"), ("frame_base", "one", "0")])
def test_units_and_frame_bases_of_a_sheet(column, wrong, right):
    with pytest.raises(InputError, match=f"{column} is '{wrong}'") as caught:
        field_of_row({column: wrong}, path="a.csv", format_name="")
    assert right.lower() in caught.value.want
    field = field_of_row({column: right}, path="a.csv", format_name="")
    assert str(getattr(field, column)) == right.lower()
    assert field_of_row({column: ""}, path="a.csv", format_name="") == field_of_row({}, path="a.csv", format_name="")
