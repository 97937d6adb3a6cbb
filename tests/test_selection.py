"""Which fields and stages are chosen, and what is wrong with a choice."""

import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.samples import Field
from smlmbatch.selection import Selection, choose, choose_stages

FIELDS = (
    Field(path="ctrl/a.csv", name="a", condition="ctrl", replicate="1", batch="1", labels=(("dose", "0"), ("time point", "early"))),
    Field(path="egf/a.csv", name="first", condition="egf", replicate="1", batch="2", labels=(("dose", "10"), ("time point", "late"))),
    Field(path="egf/b[1].csv", name="b[1]", condition="egf", replicate="2", batch="2", labels=(("class", "x"), ("dose", ""))),
)


def chosen(*, where="", fields=()):
    keys = choose(FIELDS, Selection(where=where, fields=fields))
    return [field.path for field in FIELDS if field.key in keys]


def test_nothing_asked_for_chooses_all():
    assert len(chosen()) == 3
    assert not Selection()


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (("ctrl/a.csv",), ["ctrl/a.csv"]),
        (("first",), ["egf/a.csv"]),
        ((FIELDS[0].key,), ["ctrl/a.csv"]),
        (("egf/*",), ["egf/a.csv", "egf/b[1].csv"]),
        (("*a.csv",), ["ctrl/a.csv", "egf/a.csv"]),
        (("b[1]",), ["egf/b[1].csv"]),  # word for word, not a glob's class
        (("egf/b*", "a"), ["ctrl/a.csv", "egf/b[1].csv"]),
    ],
)
def test_fields_by_name_key_and_glob(patterns, paths):
    assert chosen(fields=patterns) == paths


@pytest.mark.parametrize(
    ("where", "paths"),
    [
        ("condition == 'egf' and replicate != '2'", ["egf/a.csv"]),
        ("dose >= 5", ["egf/a.csv"]),
        ("label_dose == 0", ["ctrl/a.csv"]),
        ("time_point == 'late'", ["egf/a.csv"]),
        ("label_class == 'x'", ["egf/b[1].csv"]),
        ("field == 'first' or name == 'a'", ["ctrl/a.csv", "egf/a.csv"]),
        ("'b' in path", ["egf/b[1].csv"]),
    ],
)
def test_fields_by_condition(where, paths):
    assert chosen(where=where) == paths


def test_a_name_with_brackets_is_no_glob():
    fields = tuple(Field(path=path, name=path, condition="c", replicate="1") for path in ("cell[1].csv", "cell1.csv", "cell2.csv"))
    assert choose(fields, Selection(fields=("cell[1].csv",))) == {fields[0].key}
    assert choose(fields[1:], Selection(fields=("cell[1].csv",))) == {fields[1].key}  # nothing is called so


def test_both_must_hold():
    assert chosen(where="condition == 'egf'", fields=("*a.csv",)) == ["egf/a.csv"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fields": ("nobody",)}, "'nobody' fits none of 3 fields"),
        ({"fields": ("a", "nobody")}, "'nobody' fits none"),
        ({"where": "condition == 'none'"}, "chooses none of 3 fields"),
        ({"where": "conditions == 'egf'"}, r"no column 'conditions'; known are .*condition, dose, .*label_class.*time_point"),
        ({"where": "condition == 'egf'", "fields": ("ctrl/*",)}, "chooses none"),
    ],
)
def test_mistakes_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        chosen(**options)


def test_labels_that_read_the_same_can_not_be_meant():
    twins = (Field(path="a.csv", name="a", condition="x", replicate="1", labels=(("a b", "1"), ("a.b", "2"))),)
    with pytest.raises(ConfigError, match="no column 'a_b'"):
        choose(twins, Selection(where="a_b == 1"))


@pytest.mark.parametrize(
    ("only", "skip", "stages"),
    [((), (), ("a", "b", "c")), (("c", "a"), (), ("a", "c")), ((), ("b",), ("a", "c")), (("a", "b"), ("a",), ("b",))],
)
def test_stages(only, skip, stages):
    assert choose_stages(only, skip, ("a", "b", "c")) == stages


def test_stages_that_make_no_sense():
    with pytest.raises(ConfigError, match="--only: no stage x; known are a, b"):
        choose_stages(("x",), (), ("a", "b"))
    with pytest.raises(ConfigError, match="--skip: no stage y"):
        choose_stages((), ("y",), ("a", "b"))
    with pytest.raises(ConfigError, match="leave no stage"):
        choose_stages(("a",), ("a",), ("a", "b"))
