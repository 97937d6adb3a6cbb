"""Files of centres: what is read of them, and what is said of those that can't be right."""

import math

import pytest

from smlmbatch.errors import InputError
from smlmbatch.pick.given import check_fields, read_picks
from smlmbatch.samples import Field


def read(text: str, name: str = "picks.csv", radius_nm: float = 80.0):
    return read_picks(name, text.encode(), radius_nm=radius_nm)


@pytest.mark.parametrize(
    ("text", "place", "units"),
    [
        ("x,y\n1.5,-2\n", (1.5, -2.0, math.nan), ("nm", "nm", False)),
        ("field,X [nm],Y [nm],z_nm\na.csv,1,2,3\n", (1.0, 2.0, 3.0), ("nm", "nm", True)),
        ("\ufeffy_um;x_um;z_um\n2,5;1,5;0,1\n", (1.5, 2.5, 0.1), ("um", "um", True)),
        ("x_px\ty_px\tz\n100\t200\t-30\n", (100.0, 200.0, -30.0), ("px", "nm", True)),
        ("x (µm),y (µm),z\n1,2,\n", (1.0, 2.0, math.nan), ("um", "um", True)),
    ],
)
def test_columns_and_units(text, place, units) -> None:
    found = read(text)
    assert found.picks[0].place == pytest.approx(place, nan_ok=True)
    assert (found.unit, found.z_unit, found.is_stated) == units


def test_every_column() -> None:
    found = read("file,x,y,diameter_nm,channel,remark\na.csv,1,2,100,1,good\n\nb.csv,3,4,,,bad\n", radius_nm=70.0)
    assert [(p.row, p.field, p.radius_nm, p.channel) for p in found.picks] == [(0, "a.csv", 50.0, 1), (1, "b.csv", 0.0, -1)]
    assert read("x,y,radius [nm]\n1,2,55\n", radius_nm=0.0).picks[0].radius_nm == 55.0


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("a,b\n1,2\n", "no column x and y; found a, b"),
        ("x_nm,z_nm\n1,2\n", "no column y"),
        ("1,2\n3,4\n", "no column x and y; found 1, 2"),
        ("x,y\n", "holds no centre"),
        ("x,y\n1,2\n3,\n", "y of pick 2 is ''"),
        ("x,y\n1,2\n3,four\n", "y of pick 2 is 'four'"),
        ("x,y\n1,nan\n", "y of pick 1 is 'nan'"),
        ("x,y,x_um\n1,2,3\n", "several columns for one thing"),
        ("x_px,y_nm\n1,2\n", "x and y have two units"),
        ("x,y,radius\n1,2,3\n", "the column radius doesn't say its unit"),
        ("x,y,radius_nm\n1,2,-3\n", "has the radius or diameter -3"),
        ("x,y,channel\n1,2,0.5\n", "the channel 0.5"),
    ],
)
def test_wrong_tables(text, finding) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert finding in error.value.finding
    assert error.value.path == "picks.csv"
    assert error.value.mend


def test_no_radius_anywhere() -> None:
    with pytest.raises(InputError, match=r"says no radius of pick 2, and pick.radius_nm is 0.*--radius-nm"):
        read("x,y,radius_nm\n1,2,50\n3,4,\n", radius_nm=0.0)


# ---- Picasso

REGIONS = "Centers:\n- - 10.5\n  - 20.0\n- - 30.0\n  - 40.25\n"


def test_pick_regions() -> None:
    found = read(f"{REGIONS}Diameter (nm): 160.0\nShape: Circle\n", "p.yaml", radius_nm=0.0)
    assert [pick.place[:2] for pick in found.picks] == [(10.5, 20.0), (30.0, 40.25)]
    assert (found.unit, found.picks[0].radius_nm, found.radius_px) == ("px", 80.0, 0.0)
    older = read(f"{REGIONS}Diameter: 1.5\n", "p.yaml", radius_nm=0.0)
    assert (older.picks[1].radius_nm, older.radius_px) == (0.0, 0.75)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Shape: Rectangle\nCenter-Axis-Points: []\n", "holds picks of the shape Rectangle"),
        ("Shape: Circle\n", "has no Centers"),
        ("- 1\n- 2\n", "has no Centers"),
        ("Centers: [[1, 2]\n", "is not YAML"),
        ("Centers: [[1, 2], [3]]\nDiameter: 2\n", "centre 2 is not x and y"),
        ("Centers: [[1, 2]]\nDiameter: wide\n", "its diameter is no number"),
        ("Centers: []\nDiameter: 2\n", "holds no centre"),
        ("!!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_wrong_regions(text, finding) -> None:
    with pytest.raises(InputError) as error:
        read(text, "p.yaml")
    assert finding in error.value.finding


# ---- whose they are

FIELDS = [
    Field(path=path, name=name, condition="c", replicate="r") for path, name in (("a/FOV1.csv", "cell one"), ("b/FOV1.csv", "cell two"))
]


def table(*names: str):
    return read("field,x,y\n" + "".join(f"{name},1,2\n" for name in names))


@pytest.mark.parametrize("name", ["a/FOV1.csv", "cell one", FIELDS[0].key, "a\\FOV1.csv", "/archive/2024/a/FOV1.csv"])
def test_names_of_a_field(name) -> None:
    given = table(name, "elsewhere.csv")
    assert [given.picks[0].is_of(field) for field in FIELDS] == [True, False]
    assert check_fields(given, FIELDS) == ("elsewhere.csv",)


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (table("cell one", "FOV1"), "the field 'FOV1' may be any of a/FOV1.csv, b/FOV1.csv"),
        (table("cell three"), "names no field of the campaign: cell three"),
        (table("cell one", ""), "doesn't say which of 2 fields"),
        (read("x,y\n1,2\n"), "doesn't say which of 2 fields"),
    ],
)
def test_names_that_tell_no_field(given, finding) -> None:
    with pytest.raises(InputError) as error:
        check_fields(given, FIELDS)
    assert finding in error.value.finding


def test_one_field_needs_no_name() -> None:
    assert check_fields(read("x,y\n1,2\n"), FIELDS[:1]) == ()
