"""Conditions are read and judged as Python would, and never executed."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError
from smlmbatch.where import read_where

ROW = {
    "condition": "EGF",
    "batch": "2",
    "dose": "12.5",
    "least": "9",
    "empty": "",
    "path": "egf/cell1.csv",
    "pixel_size_nm": 117.0,
    "frame_base": -1,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("condition == 'EGF'", True),
        ("condition == 'EGF' and batch != '2'", False),
        ("condition != 'EGF' or batch in ('1', '2')", True),
        ("batch in [1, 2]", True),
        ("batch not in {1, 2}", False),
        ("not (condition == 'ctrl')", True),
        ("dose > 12 and dose <= 12.5", True),
        ("10 < dose < 12", False),
        ("9 < dose < 100", True),  # as numbers, not as texts
        ("pixel_size_nm == 117", True),
        ("frame_base == -1", True),
        ("'cell' in path", True),
        ("'cell' not in path", False),
        ("batch == 2", True),
        ("batch == '2.0'", False),  # texts are compared as texts
        ("empty == ''", True),
        ("empty < 5 or empty >= 5 or empty == 5", False),
        ("empty != 5", True),
        ("condition == batch", False),
        ("empty in (1, 2)", False),
        ("empty not in (1, 2)", True),
        ("'x' in empty", False),
        ("not empty > 5", True),
        ("least < dose", True),  # as texts it would not
        ("dose <= least", False),
        ("batch < dose < pixel_size_nm", True),
        ("empty < dose or dose > empty", False),
    ],
)
def test_conditions(text, holds):
    assert read_where(text, list(ROW)).holds(ROW, "cell1") is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("null > 1", False),
        ("null != 1", False),
        ("not null > 1", False),
        ("1 < 2 < null", False),
        ("null in (1, 2)", False),
        ("null not in (1, 2)", False),
        ("dose in (null, 12.5)", True),
        ("dose not in (null, 1)", False),  # it might be that
        ("'x' in null or not 'x' in null", False),
        ("null == null", False),
        ("null > 1 or dose > 1", True),
        ("not (null > 1 and dose > 100)", True),  # whatever null is
        ("not (null > 1 or dose > 100)", False),
    ],
)
def test_null_is_no_value(text, holds):
    condition = read_where(text, [*ROW, "null"])
    assert condition.holds(ROW | {"null": None}, "cell1") is holds
    assert condition.columns <= {"null", "dose"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("batch in ('1')", "write ('1',) for a list"),
        ("dose not in '510'", "write ('510',) for a list"),
        ("batch in (1)", "write (1,) for a list"),
        ("batch in path", "'text' in column"),
        ("'a' in 'abc'", "'text' in column"),
        ("5 in path", "'text' in column"),
        ("batch in ('1',) == batch", "has no place there"),
        ("treatment == 'EGF'", "no column 'treatment'; known are batch, condition, dose"),
        ("condition == EGF", "Texts stand in quotes"),
        ("condition", "has no place there"),
        ("condition = 'EGF'", "can't be read"),
        ("condition == 'EGF", "can't be read"),
        ("", "can't be read"),
        ("\0", "can't be read"),
        ("condition is 'EGF'", "has no place there"),
        ("True", "has no place there"),
        ("condition == True", "has no place there"),
        ("condition == None", "has no place there"),
        ("condition.upper() == 'EGF'", "has no place there"),
        ("condition.__class__ == 'x'", "has no place there"),
        ("__import__('os').system('true') == 0", "has no place there"),
        ("condition[0] == 'E'", "has no place there"),
        ("[x for x in condition] == 'E'", "has no place there"),
        ("(lambda: 1)() == 1", "has no place there"),
        ("(condition := 'x') == 'x'", "has no place there"),
        ("f'{condition}' == 'EGF'", "has no place there"),
        ("dose + 1 == 13.5", "has no place there"),
        ("dose == 10 ** 10", "has no place there"),
        ("batch in (('1',), '2')", "has no place there"),
        ("condition == b'EGF'", "has no place there"),
        ("dose == 1j", "has no place there"),
        ("batch == '1' " + "or batch == '1' " * 200, "too many"),
        ("(" * 900 + "batch == '1'" + ")" * 900, "can't be read"),
    ],
)
def test_anything_else_is_refused(text, word):
    with pytest.raises(ConfigError) as refused:
        read_where(text, sorted(ROW))
    assert word in str(refused.value)


def test_text_compared_with_a_number_names_the_field():
    with pytest.raises(ConfigError, match=r"cell1\.csv has 'EGF', which is no number"):
        read_where("condition > 5", list(ROW)).holds(ROW, "cell1.csv")
    with pytest.raises(ConfigError, match=r"cell1\.csv has 'EGF', which is no number"):
        read_where("batch < condition", list(ROW)).holds(ROW, "cell1.csv")


ALLOWED = (
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Compare, ast.cmpop),
    *(ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List, ast.Set),
)
PIECES = st.sampled_from(
    [
        *("condition", "batch", "'EGF'", "1", "-1", "==", "<", "in", "not", "and", "or", "(", ")", "[", "]", ",", ".", "upper", "lambda"),
        *(":", "__import__", "'os'", "f'{batch}'", "for x in", "await", "yield", ":=", "**", "if", "else", "is", "~", "*", "@", "{", "}"),
    ]
)


@given(st.lists(PIECES, max_size=12).map(" ".join) | st.text(max_size=40))
def test_nothing_but_comparisons_gets_through(text):
    try:
        condition = read_where(text, ["condition", "batch"])
    except ConfigError:
        return
    assert all(isinstance(node, ALLOWED) for node in ast.walk(condition.tree)), text


WORDS = st.text(alphabet="ab'\"\\ ", max_size=3)
COLUMNS = st.sampled_from(["a", "b"])
VALUES = COLUMNS | WORDS.map(repr)
COMPARISONS = (
    st.builds("{} {} {}".format, VALUES, st.sampled_from(["==", "!="]), VALUES)
    | st.builds("{} {} {}".format, VALUES, st.sampled_from(["<", "<=", ">", ">="]), WORDS.map(repr))  # two columns are no texts there
    | st.builds("{} {} {}".format, WORDS.map(repr), st.sampled_from(["in", "not in"]), COLUMNS)
)
LISTED = st.builds("{} {} {}".format, VALUES, st.sampled_from(["in", "not in"]), st.lists(WORDS, max_size=3).map(repr))
CONDITIONS = st.recursive(
    COMPARISONS | LISTED,
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner) | inner.map("not ({})".format),
    max_leaves=6,
)


@given(CONDITIONS, WORDS, WORDS)
def test_on_texts_it_is_python(text, a, b):
    """Where both sides are texts the meaning is Python's own."""
    expected = eval(text, {"__builtins__": {}}, {"a": a, "b": b})
    assert read_where(text, ["a", "b"]).holds({"a": a, "b": b}, "row") is expected


@given(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["==", "<", ">="])
)
def test_numbers_in_texts_are_numbers(column, number, order):
    expected = eval(f"column {order} number", {}, {"column": column, "number": number})
    assert read_where(f"dose {order} {number!r}", ["dose"]).holds({"dose": repr(column)}, "row") is expected
