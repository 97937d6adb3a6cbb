"""Text tables as programs, spreadsheets and people write them."""

import numpy as np
import pytest

from smlmbatch.errors import InputError

XY = np.array([[100.125, 200.25], [1100.5, 250.75], [150.0625, 5200.5]])
PRECISION = np.array([5.5, 6.25, 7.125])


def table(names, columns, *, delimiter=",", quote='"', end="\n", decimal="."):
    rows = [delimiter.join(f"{value}".replace(".", decimal) for value in row) for row in zip(*columns, strict=True)]
    return end.join([delimiter.join(f"{quote}{name}{quote}" for name in names), *rows, ""])


def plain(**options):
    names = ["id", "frame", "x [nm]", "y [nm]", "uncertainty [nm]"]
    return table(names, [[1, 2, 3], [1, 1, 2], *XY.T, PRECISION], **options)


def check(found, *, frame=(0, 0, 1)):
    got = found.by_row()
    np.testing.assert_allclose(np.stack([got["x_nm"], got["y_nm"]], 1), XY, rtol=0, atol=3e-4)  # float32 at 5 um
    np.testing.assert_array_equal(got["row"], [0, 1, 2])
    np.testing.assert_array_equal(got["frame"], frame)
    np.testing.assert_array_equal(got["precision_nm"], PRECISION.astype("f4"))
    assert found.attrs["dropped"] == {}
    assert found.attrs["n"] == found.attrs["n_read"] == 3
    return found


VARIANTS = {
    "plain": plain(),
    "unquoted header": plain(quote=""),
    "apostrophes": plain(quote="'"),
    "byte-order mark": "\ufeff" + plain(),
    "CR LF": plain(end="\r\n"),
    "CR": plain(end="\r"),
    "no line end at the end": plain().rstrip("\n"),
    "semicolons": plain(delimiter=";"),
    "semicolons, decimal commas": plain(delimiter=";", decimal=","),
    "tabs": plain(delimiter="\t"),
    "tabs, decimal commas": plain(delimiter="\t", decimal=","),
    "separator line": "sep=;\n" + plain(delimiter=";", quote=""),
    "blank lines": "\n\n" + plain().replace("\n", "\n\n"),
    "trailing delimiters": plain(quote="").replace("\n", ",\n"),
    "trailing delimiters in records": (lambda t: t[0] + "\n" + t[2].replace("\n", ",\n"))(plain(quote="").partition("\n")),
    "header in one cell": '"' + plain().partition("\n")[0].replace('"', '""') + '"\n' + plain().partition("\n")[2],
    "all in one cell each": "".join(f'"{line}"\n' for line in plain(quote="").splitlines()),
    "quoted cells": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in plain(quote="").splitlines()),
    "blanks after delimiters": plain(quote="").replace(",", ", "),
    "no unit's blank": plain().replace(" [nm]", "[nm]"),
    "capitals": plain().replace("x [nm]", "X [nm]").replace("uncertainty", "Uncertainty"),
    "latin-1": plain().replace('"id"', '"n\u00b0"').encode("latin-1"),
    "plus signs": plain(quote="").replace(",100.125", ",+100.125"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_thunderstorm(ingest, write, variant):
    found = check(ingest(write("f.csv", VARIANTS[variant])))
    assert found.attrs["format"] == "thunderstorm"
    assert found.attrs["frame_base"] == 1


def test_columns_missing_more_and_in_another_order(ingest, write):
    names = ["chi2", "uncertainty_xy [nm]", "uncertainty [nm]", "note", "y [nm]", "x [nm]", "frame"]
    columns = [[9, 9, 9], PRECISION, [77, 77, 77], ["good", "", "bad"], XY[:, 1], XY[:, 0], [1, 1, 2]]
    found = check(ingest(write("f.csv", table(names, columns))))
    assert found.attrs["columns"] == {"x_nm": "x [nm]", "y_nm": "y [nm]", "frame": "frame", "precision_nm": "uncertainty_xy [nm]"}
    assert set(found.arrays) == {"x_nm", "y_nm", "frame", "precision_nm", "channel", "row", "tile_start"}
    assert found.channel.tolist() == [0, 0, 0]


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_saved_again_by_pandas(ingest, write, first):
    names = [first, "id", "frame", "x [nm]", "y [nm]", "uncertainty [nm]"]
    columns = [[0, 1, 2], ["1.0", "2.0", "3.0"], ["1.0", "1.0", "2.0"], *XY.T, PRECISION]
    check(ingest(write("f.csv", table(names, columns, quote=""))))


def test_frames_from_0_under_a_thunderstorm_header(ingest, write):
    """Picasso exports this header and counts from 0."""
    found = ingest(write("f.csv", plain().replace("\n1,1,", "\n1,0,").replace("\n2,1,", "\n2,0,").replace("\n3,2,", "\n3,1,")))
    assert found.attrs["frame_base"] == 0
    check(found)


@pytest.mark.parametrize(("unit", "per_nm"), [("um", 1e-3), ("\u00b5m", 1e-3), ("\u03bcm", 1e-3), ("px", 1 / 100)])
def test_units_by_suffix(ingest, write, unit, per_nm):
    names = ["frame", f"x [{unit}]", f"y [{unit}]", "uncertainty [nm]"]
    path = write("f.csv", table(names, [[1, 1, 2], *(XY.T * per_nm).round(9), PRECISION]))
    found = check(ingest(path, pixel_size_nm=100 if unit == "px" else 0))
    assert found.attrs["pixel_size_nm"] == (100 if unit == "px" else None)
    assert found.attrs["unit"] == unit
    if unit == "px":
        with pytest.raises(InputError, match="no pixel size is known") as caught:
            ingest(path)
        assert "pixel_size_nm" in caught.value.mend


def test_three_dimensions(ingest, write):
    names = ["frame", "x [nm]", "y [nm]", "z [nm]", "sigma1 [nm]", "sigma2 [nm]", "uncertainty_xy [nm]", "uncertainty_z [nm]"]
    columns = [[1, 1, 2], *XY.T, [-10, 0, 30.5], [100, 110, 120], [140, 130, 140], PRECISION, [9, 8, 7]]
    found = check(ingest(write("f.csv", table(names, columns))))
    got = found.by_row()
    np.testing.assert_array_equal(got["z_nm"], np.array([-10, 0, 30.5], "f4"))
    np.testing.assert_array_equal(got["psf_nm"], [120, 120, 130])
    np.testing.assert_array_equal(got["precision_z_nm"], [9, 8, 7])
    assert (found.attrs["dims"], found.attrs["z_extent_nm"]) == (3, [-10, 30.5])


def test_z_of_zero_is_two_dimensional(ingest, write):
    names = ["frame", "x [nm]", "y [nm]", "z [nm]", "uncertainty [nm]"]
    found = check(ingest(write("f.csv", table(names, [[1, 1, 2], *XY.T, [0, 0, 0], PRECISION]))))
    assert found.attrs["dims"] == 2
    assert "z_nm" not in found.arrays
    assert "z_nm" not in found.attrs["columns"]


@pytest.mark.parametrize("nothing", ["NaN", "Infinity", "-inf", "\u221e", "", "nan", "#N/A"])
def test_what_is_not_finite(ingest, write, nothing):
    text = plain() + f"4,3,{nothing},20,5\n5,3,20,30,{nothing}\n6,3,1e12,5,5\n7,4,20,40,0\n8,4,20,50,-3\n"
    found = ingest(write("f.csv", text))
    assert found.attrs["dropped"] == {"coordinate not finite": 1, "coordinate out of range": 1}
    assert found.attrs["warnings"] == {"precision not a positive number": 3}
    assert (found.attrs["n_read"], found.attrs["n"]) == (8, 6)
    got = found.by_row()
    assert got["row"].tolist() == [0, 1, 2, 4, 6, 7]
    assert np.isnan(got["precision_nm"][3:]).all()
    assert found.attrs["precision_median_nm"] == 6.25


def test_precision_that_is_none_throughout_is_not_stored(ingest, write):
    names = ["frame", "x [nm]", "y [nm]", "uncertainty [nm]"]
    found = ingest(write("f.csv", table(names, [[1, 1, 2], *XY.T, [0, 0, 0]])))
    assert "precision_nm" not in found.arrays
    assert found.attrs["precision_median_nm"] is None
    assert found.attrs["warnings"] == {"precision not a positive number": 3}


BAD_RECORDS = {
    "few cells": "7,8",
    "many cells": "1,1,1,1,1,1,1",
    "words": "1,1,abc,2,3",
    "no number": "1,1,1.2.3,2,3",
    "hexadecimal": "1,1,0x10,2,3",
    "blanks": "   ",
    "a frame and a half": "1,1.5,1,2,3",
    "a frame below 0": "1,-1,1,2,3",
    "no frame": "1,,1,2,3",
    "rubbish": "\x00\x01\xff,\xfe",
    "open quote": '"1,1,1,2,3',
    "quotes that swallow": '1,1,"1,2\n1,1,2",3,4',
}


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_row_joins_back_after_a_bad_record(ingest, write, bad, quote):
    """Malformed records are dropped and keep their number; blank lines have none."""
    n, at = 200, 77
    xy = np.arange(2 * n).reshape(n, 2) + 0.5
    lines = [f"{quote}{i}{quote},{i // 3 + 1},{x},{y},5" for i, (x, y) in enumerate(xy)]
    content = "\n".join(['"id","frame","x [nm]","y [nm]","uncertainty [nm]"', *lines[:at], BAD_RECORDS[bad], "", *lines[at:]])
    found = ingest(write("f.csv", content.encode("latin-1")))
    n_bad = BAD_RECORDS[bad].count("\n") + 1
    assert found.attrs["dropped"] == {"malformed": n_bad}
    assert found.attrs["n_read"] == n + n_bad
    got = found.by_row()
    np.testing.assert_array_equal(got["row"], [*range(at), *range(at + n_bad, n + n_bad)])
    np.testing.assert_allclose(np.stack([got["x_nm"], got["y_nm"]], 1), xy)


def test_cut_off_in_the_last_line(ingest, write):
    found = ingest(write("f.csv", plain() + "4,2,1234.5,12"))
    assert found.attrs["dropped"] == {"malformed": 1}
    assert found.attrs["n"] == 3


def test_more_bad_than_good_is_refused(ingest, write):
    with pytest.raises(InputError, match=r"10 of 13 records are malformed; record 3 .*no number") as caught:
        ingest(write("f.csv", plain() + "1,1,abc,2,3\n" * 10))
    assert caught.value.mend
    assert ingest(write("g.csv", plain() + "1,1,abc,2,3\n" * 9)).attrs["dropped"] == {"malformed": 9}


def test_thousands_separators_are_refused(ingest, write):
    rows = "".join(f'{i};{i + 1};"12.345,6";"1.000,5"\n' for i in range(20))
    with pytest.raises(InputError, match="malformed"):
        ingest(write("f.csv", "id;frame;x [nm];y [nm]\n" + rows))


REFUSED = {
    "empty": ("", "empty"),
    "header only": (plain().partition("\n")[0] + "\n", "no localisations"),
    "no header": ("1,2,3\n4,5,6\n7,8,9\n", "without a header line"),
    "no x": ("frame,a [nm],y [nm]\n1,2,3\n1,2,3\n", "no reader knows"),
    "two x": ("frame,x [nm],x [nm],y [nm]\n1,2,3,4\n1,2,3,4\n", "2 columns are called x"),
    "no unit": ("frame,x,y\n1,2,3\n1,2,3\n", "in which unit x and y are"),
    "nothing finite": ("frame,x [nm],y [nm]\n1,NaN,3\n1,NaN,3\n", "none of the 2 records"),
    "binary": (bytes(range(256)) * 40, "binary"),
    "UTF-16": (plain().encode("utf-16"), "UTF-16"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why(ingest, write, case):
    content, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as caught:
        ingest(write("f.csv", content))
    assert caught.value.want
    assert caught.value.mend


@pytest.mark.parametrize("case", sorted(set(REFUSED) - {"a picture"}))
def test_a_forced_format_is_refused_as_clearly(ingest, write, case):
    with pytest.raises(InputError):
        ingest(write("f.csv", REFUSED[case][0]), format="thunderstorm")


def test_a_missing_file_and_an_unknown_reader(ingest, tmp_path, write):
    with pytest.raises(InputError, match="is not there"):
        ingest(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="is not there"):
        ingest(tmp_path / "gone.csv", format="thunderstorm")
    with pytest.raises(InputError, match="no reader is called 'storm'"):
        ingest(write("f.csv", plain()), format="storm")


# ---- own tables


def own(delimiter=","):
    names = ["F", "X (um)", "Y (um)", "C", "P", "N", "G"]
    columns = [[1, 1, 2], *(XY.T / 1000).round(9), ["EREG", "EGFR", "EREG"], PRECISION / 1000, [500, 600, 700], [3, 3, -1]]
    return table(names, columns, delimiter=delimiter)


MAP = "x=X (um), y=Y (um), frame=F, channel=C, precision=P, photons=N, group=G, unit=um, frame_base=1"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_an_own_table_by_its_map(ingest, write, delimiter):
    found = ingest(write("f.txt", own(delimiter)), map=MAP)
    got = found.by_row()
    np.testing.assert_allclose(np.stack([got["x_nm"], got["y_nm"]], 1), XY, atol=3e-4)
    np.testing.assert_allclose(got["precision_nm"], PRECISION, rtol=1e-6)
    assert got["channel"].tolist() == [1, 0, 1]
    assert got["group"].tolist() == [3, 3, -1]
    assert got["photons"].tolist() == [500, 600, 700]
    assert got["frame"].tolist() == [0, 0, 1]
    attrs = found.attrs
    assert (attrs["channels"], attrs["channel_names"], attrs["n_per_channel"]) == ([0, 1], ["EGFR", "EREG"], [1, 2])
    assert (attrs["format"], attrs["unit"], attrs["frame_base"], attrs["columns"]["x_nm"]) == ("table", "um", 1, "X (um)")


def test_a_map_of_the_configuration_is_for_tables_no_reader_knows(ingest, write):
    assert ingest(write("f.txt", own()), config={"map": MAP}).attrs["n"] == 3
    assert ingest(write("g.csv", plain()), config={"map": MAP}).attrs["format"] == "thunderstorm"
    assert ingest(write("g.csv", plain()), map="x=y [nm],y=x [nm],unit=nm").attrs["columns"] == {"x_nm": "y [nm]", "y_nm": "x [nm]"}


def test_own_column_names_need_no_map(ingest, write):
    names = ["x_nm", "y_nm", "precision_nm", "frame", "channel", "row"]
    found = check(ingest(write("f.csv", table(names, [*XY.T, PRECISION, [0, 0, 1], [2, 7, 2], [8, 8, 8]], quote=""))))
    assert found.attrs["channels"] == [2, 7]
    assert found.attrs["channel_names"] == ["channel 2", "channel 7"]
    assert found.attrs["n_per_channel"] == [2, 1]
    assert found.by_row()["channel"].tolist() == [2, 7, 2]


def test_a_commented_header(ingest, write):
    text = "# made by hand\n# x_nm, y_nm, frame, precision_nm\n" + table([], [*XY.T, [0, 0, 1], PRECISION]).lstrip("\n")
    check(ingest(write("f.txt", text)))


BAD_MAPS = {
    "x=X (um),y=Y (um)": "gives no unit",
    "x=X (um),y=Y (um),unit=inch": "gives the unit 'inch'",
    "x=X (um),y=Y (um),unit=px": "no pixel size is known",
    "x=X (um),y=Y (um),unit=px,pixel=-3": "pixel=-3",
    "x=X (um),y=Z,unit=nm": "'Z', which the file has not",
    "x=X (um),unit=nm": "no columns for x and y",
    "x=X (um),y=Y (um),unit=nm,colour=C": "'colour=C'",
    "x=X (um),x=F,y=Y (um),unit=nm": "'x=F'",
    "x=X (um),y=Y (um),unit=nm,frame_base=2": "frame_base=2",
    "x=X (um),y=Y (um),unit=nm,channel=F,frame=F": "the column 'F' for the channel and for frame",
    "X": "'X'",
}


@pytest.mark.parametrize("text", BAD_MAPS)
def test_a_map_that_is_wrong(ingest, write, text):
    import re

    with pytest.raises(InputError, match=re.escape(BAD_MAPS[text])):
        ingest(write("f.txt", own()), map=text)


def test_a_column_used_twice_keeps_its_digits(ingest, write):
    """Photons alone are read in 4 bytes, in which 16777217 is no number."""
    text = "X,Y,F\n" + "".join(f"{100_000.0625 + i},{i},{16_777_217 + i}\n" for i in range(4))
    for pairs in ("frame=F,photons=F,background=X", "photons=F,frame=F"):
        got = ingest(write("f.csv", text), map=f"x=X,y=Y,{pairs},unit=nm").by_row()
        assert got["frame"].tolist() == [16_777_217 + i for i in range(4)]
        np.testing.assert_array_equal(got["x_nm"], 100_000.0625 + np.arange(4))
        np.testing.assert_array_equal(got["photons"], np.float32(16_777_217 + np.arange(4)))


def test_pixels_by_map(ingest, write):
    text = table(["x", "y", "z"], [*(XY.T / 117), [-5, 5, 6]])
    found = ingest(write("f.csv", text), map="x=x,y=y,z=z,unit=px,pixel=117")
    got = found.by_row()
    np.testing.assert_allclose(np.stack([got["x_nm"], got["y_nm"]], 1), XY, atol=1e-3)
    assert got["z_nm"].tolist() == [-5, 5, 6]
    assert (found.attrs["unit"], found.attrs["pixel_size_nm"], found.attrs["frame_base"]) == ("px", 117, None)


def test_too_many_channels(ingest, write):
    text = "x_nm,y_nm,channel\n" + "".join(f"{i},{i},name{i}\n" for i in range(300))
    with pytest.raises(InputError, match="more than 255"):
        ingest(write("f.csv", text))
