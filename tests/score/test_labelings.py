"""Reading and joining tables of labels: every way they are written, and a clear word for each that can't be used."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smlmbatch.errors import ConfigError, InputError
from smlmbatch.score.folders import Reading, score_tables
from smlmbatch.score.labelings import join_labelings, read_labeling

XY = {"x_nm": [0.0, 9.0, 0.0, 500.0], "y_nm": [0.0, 0.0, 9.0, 500.0]}


@pytest.fixture
def table(tmp_path):
    """Writes a table and gives its path; columns of one length."""

    def write(name, /, **columns):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.table(columns), path)
        else:
            lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
            path.write_text("\n".join(lines).replace(",", "\t" if path.suffix == ".tsv" else ",") + "\n")
        return path

    return write


def joined(truth, found, *, truth_column=""):
    return join_labelings(read_labeling(truth, column=truth_column), read_labeling(found))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_by_order(table, ending):
    both = joined(table(f"t{ending}", **XY, label=[1, 1, 1, 0]), table(f"l{ending}", cluster=[5, 5, -1, -1]))
    np.testing.assert_array_equal(both.xy_nm, np.transpose([XY["x_nm"], XY["y_nm"]]))
    assert both.truth.tolist() == [1, 1, 1, 0]
    assert both.labels.tolist() == [5, 5, -1, -1]


def test_by_row_in_any_order(table):
    truth = table("t.csv", row=[10, 20, 30, 40], label=[1, 2, 3, 4])
    found = table("l.parquet", row=[40, 10, 30, 20], x_nm=[4.0, 1, 3, 2], y_nm=[0.0] * 4, label=[14, 11, 13, 12])
    both = joined(truth, found)
    assert both.labels.tolist() == [11, 12, 13, 14]
    assert both.xy_nm[:, 0].tolist() == [1, 2, 3, 4]


def test_names_of_columns(table):
    truth = table("t.csv", **{"x [nm]": [1.5, 2.5], "y": [3, 4], "frame": [0, 1], "molecule": [7.0, 8.0], "label": [0, 0]})
    both = joined(truth, table("l.csv", label=[1, 2]), truth_column="molecule")
    assert both.truth.tolist() == [7, 8]
    assert both.xy_nm.tolist() == [[1.5, 3], [2.5, 4]]


def test_no_locs_at_all(table):
    both = joined(table("t.parquet", x_nm=pa.array([], "f4"), y_nm=pa.array([], "f4"), label=pa.array([], "i4")), table("l.csv", label=[]))
    assert len(both.truth) == len(both.xy_nm) == 0


@pytest.mark.parametrize(
    ("truth", "found", "words"),
    [
        ({**XY, "label": [1] * 4}, {"label": [1] * 3}, "3 locs. Wanted: as many as"),
        ({**XY, "label": [1] * 4, "row": [1, 2, 3, 4]}, {"label": [1] * 3, "row": [1, 2, 9]}, "2 of 4 rows .* missing, 1 rows are not"),
        ({**XY, "label": [1] * 4, "row": [1, 2, 3, 3]}, {"label": [1] * 4}, "`row` occur more than once"),
        (
            {**XY, "label": [1] * 4},
            {"x_nm": [0, 9, 0, 503.0], "y_nm": XY["y_nm"], "label": [1] * 4},
            r"1 of 4 locs lie elsewhere .*loc 3: 3 nm",
        ),
        ({"label": [1] * 4}, {"label": [1] * 4}, "no columns x_nm and y_nm, nor in"),
        ({**XY, "label": [1] * 4}, {"name": [1] * 4}, "columns name. Wanted: one column of labels: label or cluster"),
        ({**XY, "label": [1] * 4, "cluster": [1] * 4}, {"label": [1] * 4}, "one column of labels"),
        ({**XY, "label": [1, 2.5, 3, 4]}, {"label": [1] * 4}, "column label holds 2.5"),
        ({**XY, "label": [1, 2, 3, "a"]}, {"label": [1] * 4}, "column label holds string"),
        ({**XY, "label": [1, 2, 3, ""]}, {"label": [1] * 4}, "1 of 4 cells of column label are empty"),
        ({**XY, "label": [1, 2, 3, "nan"]}, {"label": [1] * 4}, "column label"),
        ({**XY, "label": [1, 2, 3, 1e300]}, {"label": [1] * 4}, r"column label holds 1e\+300"),
        ({**XY, "x_nm": [1, 2, 3, "inf"], "label": [1] * 4}, {"label": [1] * 4}, "1 of 4 cells of column x_nm are no finite number"),
        ({**XY, "x_nm": [1, 2, 3, "far"], "label": [1] * 4}, {"label": [1] * 4}, "cells of column x_nm are no finite number"),
    ],
)
def test_what_does_not_match_is_said(table, truth, found, words):
    with pytest.raises(InputError, match=words):
        joined(table("t.csv", **truth), table("l.csv", **found))


def test_what_is_no_table_is_said(tmp_path, table):
    (tmp_path / "t.parquet").write_text("label\n1\n")
    (tmp_path / "t.txt").write_text("label\n1\n")
    (tmp_path / "ragged.csv").write_text("a,label\n1,2\n3\n")
    (tmp_path / "empty.csv").write_text("")
    for name, words in (
        ("t.parquet", "can't be read"),
        ("t.txt", "ends in none of"),
        ("ragged.csv", "can't be read"),
        ("empty.csv", "can't"),
    ):
        with pytest.raises(InputError, match=words):
            read_labeling(tmp_path / name)


def test_folders_are_matched_by_name(table):
    for name, found in (("b", [5, 5, 5, -1]), ("a", [5, -1, 5, -1])):
        truth = table(f"truth/{name}.csv", **XY, label=[1, 1, 1, -1]).parent
        labels = table(f"found/{name}.parquet", label=found).parent
    (truth / "notes.txt").write_text("not a table")
    scored = score_tables(truth, labels, reading=Reading())
    assert [field.field for field in scored] == ["a", "b"]
    assert [field.scores.ari for field in scored] == [0, 1]
    assert [(field.true_noise, field.found_noise) for field in scored] == [(1, 2), (1, 1)]
    table("found/c.csv", label=[1])
    with pytest.raises(InputError, match=r"found: 1 of 3 tables have no partner in .*truth, the first is c.csv"):
        score_tables(truth, labels, reading=Reading())
    with pytest.raises(InputError, match="1 of 3 tables have no partner"):
        score_tables(labels, truth, reading=Reading())


def test_what_can_not_be_paired_is_said(tmp_path, table):
    file = table("truth/a.csv", **XY, label=[1] * 4)
    with pytest.raises(ConfigError, match="one is a folder"):
        score_tables(file.parent, file, reading=Reading())
    with pytest.raises(ConfigError, match="no such file"):
        score_tables(file, tmp_path / "nowhere.csv", reading=Reading())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no table"):
        score_tables(tmp_path / "empty", file.parent, reading=Reading())
    table("truth/a.parquet", label=[1] * 4)
    with pytest.raises(InputError, match="lies beside it"):
        score_tables(file.parent, file.parent, reading=Reading())


def test_noise_that_no_loc_has_is_noticed(table):
    truth, found = table("t.csv", **XY, label=[1, 1, 1, 0]), table("l.csv", label=[5, 5, 5, -1])
    (field,) = score_tables(truth, found, reading=Reading())
    assert (field.true_noise, field.found_noise) == (0, 1)
    (field,) = score_tables(truth, found, reading=Reading(truth_noise=0))
    assert (field.true_noise, field.found_noise) == (1, 1)
    assert field.scores.ji_c == 1
