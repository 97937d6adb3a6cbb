"""INPUT to fields: folders, sheets, hostile names."""

import os

import pytest

from smlmbatch.config import Config, override
from smlmbatch.errors import ConfigError, InputError
from smlmbatch.ingest.scan import scan_input

TS = "frame,x [nm],y [nm]\n1,2.5,3\n2,3,4\n"


def put(root, *names, content=TS):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def scan(path, *, sheet=None, exclude=None, config=None):
    return scan_input(path, sheet=sheet, exclude=exclude, config=config or Config())


def test_a_folder(tmp_path):
    put(tmp_path, "egf/b.csv", "egf/a.csv", "ctrl/cell 1/a.csv", ".hidden/x.csv", "egf/.x.csv", "out/y.csv")
    put(tmp_path, "README.md", "notes.txt", content="some words\n")
    put(tmp_path, "ctrl/xyz.csv", content="a,b\n1,2\n3,4\n")
    found = scan(tmp_path, exclude=tmp_path / "out")
    assert [(f.path, f.format) for f in found.fields] == [
        ("ctrl/cell 1/a.csv", "thunderstorm"),
        ("ctrl/xyz.csv", ""),
        ("egf/a.csv", "thunderstorm"),
        ("egf/b.csv", "thunderstorm"),
    ]
    assert [(f.condition, f.replicate) for f in found.fields][:3] == [("ctrl", "cell 1"), ("ctrl", "xyz.csv"), ("egf", "a.csv")]
    assert [path for path, _ in found.ignored] == ["README.md", "notes.txt"]
    assert found.root == tmp_path
    assert len({f.key for f in found.fields}) == 4


def test_one_file(tmp_path):
    put(tmp_path, "a.csv", "b.csv")
    found = scan(tmp_path / "a.csv")
    assert [f.path for f in found.fields] == ["a.csv"]
    put(tmp_path, "note.txt", content="words")
    with pytest.raises(InputError, match="holds no localisations"):
        scan(tmp_path / "note.txt")


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        scan(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="it is empty"):
        scan(tmp_path / "empty")
    put(tmp_path, "words/note.txt", content="words")
    with pytest.raises(InputError, match="nothing in it is a localisation file"):
        scan(tmp_path / "words")
    with pytest.raises(ConfigError, match=r"ingest\.format"):
        scan(tmp_path, config=override(Config(), {"ingest": {"format": "storm"}}))


def test_hostile_names(tmp_path):
    names = ["with space.csv", "quote'\".csv", "line\nbreak.csv", "µm ⟨5⟩.csv", "-rf.csv", "a;b,c.csv", "%s$HOME.csv"]
    put(tmp_path, *names)
    raw = os.fsdecode(b"latin\xe9.csv")
    put(tmp_path, raw)
    found = scan(tmp_path)
    assert {f.path for f in found.fields} == {*names, raw}
    assert all(f.key.isascii() and "/" not in f.key for f in found.fields)
    assert len({f.key for f in found.fields}) == len(names) + 1


def test_links(tmp_path):
    put(tmp_path, "in/data/a.csv", "elsewhere/b.csv")
    (tmp_path / "in/data/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/dangling.csv").symlink_to(tmp_path / "nowhere.csv")
    assert [f.path for f in scan(tmp_path / "in").fields] == ["data/a.csv", "linked/b.csv"]


def test_a_sheet(tmp_path):
    put(tmp_path, "data/a.csv", "data/b.csv", "data/extra.csv")
    put(tmp_path, "data/xyz.dat", content="a,b\n1,2\n3,4\n")
    put(tmp_path, "data/cell.csv", content="x_nm,y_nm\n1,2\n3,4\n5,0\n")
    sheet = tmp_path / "samples.csv"
    sheet.write_text(
        "path,condition,map,cell_outline,drug\n"
        "data/b.csv,EGF,,./data/cell.csv,x\n"
        "data\\a.csv,ctrl,,,y\n"
        'data/xyz.dat,ctrl,"x=a,y=b,unit=nm",,\n'
        "data/gone.csv,ctrl,,,\n"
    )
    found = scan(tmp_path)
    assert [(f.path, f.format) for f in found.fields] == [
        ("data/a.csv", "thunderstorm"),
        ("data/b.csv", "thunderstorm"),
        ("data/gone.csv", ""),
        ("data/xyz.dat", "table"),
    ]
    assert found.fields[1].cell_outline == "data/cell.csv"
    assert found.fields[1].labels == (("drug", "x"),)
    assert found.ignored == (("data/extra.csv", "not in the sample sheet"),)
    assert scan(sheet).fields == found.fields
    moved = sheet.rename(tmp_path / "data/sheet.txt")
    moved.write_text("path\na.csv\n../data/b.csv\n")
    elsewhere = scan(tmp_path, sheet=moved)
    assert elsewhere.root == tmp_path / "data"
    assert [f.path for f in elsewhere.fields] == ["../data/b.csv", "a.csv"]


def test_sheets_that_are_wrong(tmp_path):
    put(tmp_path, "a.csv")
    with pytest.raises(InputError, match="is not there"):
        scan(tmp_path, sheet=tmp_path / "gone.csv")
    sheet = tmp_path / "samples.csv"
    sheet.write_text("path\na.csv\n./a.csv\n")
    with pytest.raises(InputError, match=r"a\.csv is named twice"):
        scan(tmp_path)
    sheet.write_text("path,pixel_size_nm\na.csv,wide\n")
    with pytest.raises(InputError, match="pixel_size_nm"):
        scan(tmp_path)
    sheet.write_text("path\n")
    with pytest.raises(InputError, match="has no rows"):
        scan(tmp_path)


def test_a_table_called_samples_is_a_field(tmp_path):
    put(tmp_path, "samples.csv")
    assert [f.path for f in scan(tmp_path).fields] == ["samples.csv"]


def test_absolute_paths_in_a_sheet(tmp_path):
    put(tmp_path, "data/a.csv", "sheets/x.csv")
    (tmp_path / "sheets/samples.csv").write_text(f"path\n{tmp_path}/data/a.csv\n")
    found = scan(tmp_path / "sheets")
    assert (found.root / found.fields[0].path).resolve() == tmp_path / "data/a.csv"
    assert found.fields[0].format == "thunderstorm"


def test_a_file_that_cannot_be_opened_is_a_field(tmp_path):
    put(tmp_path, "a.csv", "b.csv")
    sheet = tmp_path / "samples.csv"
    (tmp_path / "folder").mkdir()
    sheet.write_text("path\na.csv\nfolder\n")
    assert [(f.path, f.format) for f in scan(tmp_path).fields] == [("a.csv", "thunderstorm"), ("folder", "")]
