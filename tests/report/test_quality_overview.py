import html
import re

import pytest

from smlmbatch.analyse.tables import write_tables
from smlmbatch.report.quality_overview import read_checks, show_quality, words_of


def plain(markup):
    return re.sub(r"\|+", "|", html.unescape(re.sub(r"<[^>]+>", "|", markup)).replace("\u202f", " "))


def rows_of_lights(markup):
    """(classes of the lights) of each row of the matrix."""
    return [re.findall(r'class="light (\w+)"', row) for row in re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL) if "<td" in row]


def test_few_fields_are_shown_with_values_and_words_for_the_colour_blind(records):
    rows = [records.row("a", "red"), records.row("b", "green")]
    checks = [records.check("a", "red", value=64.2), records.check("a", "amber", "blinks", value=0.2), records.check("b")]
    markup = show_quality(rows, checks)
    assert rows_of_lights(markup) == [["red", "red", "amber"], ["green", "green"]]
    assert "|✕| 64 nm|" in plain(markup)
    assert "|!| 20 %|" in plain(markup)
    assert 'href="fields/a.html"' in markup
    assert 'title="drift_nm of a is told."' in markup
    assert "|good|" in plain(markup).replace("| good", "|good")


def test_a_cell_holds_the_worst_of_its_channels(records):
    checks = [records.check("a", light, channel=c, value=10.0 * c) for c, light in enumerate(("green", "red", "grey"))]
    markup = show_quality([records.row("a", "red")], checks)
    assert rows_of_lights(markup) == [["red", "red"]]
    assert "|✕| 10 nm|" in plain(markup)
    assert "Channel 0: drift_nm of a is told.\nChannel 1: " in html.unescape(markup)


def test_amber_and_red_are_told_the_worst_first(records):
    checks = [
        records.check("c", "amber", value=20.0),
        records.check("b", "red"),
        records.check("a", "amber", value=30.0),
        records.check("d"),
    ]
    text = plain(show_quality([records.row(k, "amber") for k in "cbad"], checks))
    assert "|Drift|: 1 in doubt, 2 worth a look|" in text
    assert text.index("drift_nm of b is told.") < text.index("drift_nm of a is told.")
    assert "drift_nm of c is told." not in text  # the field's own page says it
    assert "The same in |!| 20 nm| |c.|csv|" in text
    assert "drift_nm of d" not in text


def test_what_could_not_be_judged_is_counted_by_reason(records):
    checks = [records.check(k, "grey", "fading", value=records.NAN, text="no frames.") for k in "abc"]
    text = plain(show_quality([records.row(k, "grey") for k in "abc"], checks))
    assert "|?| |Fading|, 3 fields: no frames.|" in text


def test_fields_of_one_name_are_told_apart(records):
    rows = [records.row(k, "red", field="cell.csv", conditions=(c,)) for k, c in (("a", "ctrl"), ("b", "EGF"))]
    text = plain(show_quality(rows, [records.check(k, "red", field="cell.csv") for k in "ab"]))
    assert "cell.|csv (ctrl, r1)|: drift_nm of a" in text
    assert "cell.|csv (EGF, r1)|: drift_nm of b" in text


def test_many_fields_stand_abreast_by_condition(records):
    rows = [records.row(f"f{i:03}", "green", conditions=("ctrl" if i < 100 else "EGF",)) for i in range(200)]
    markup = show_quality(rows, [records.check(row["key"]) for row in rows])
    assert markup.count("<table") == 3
    assert sum(lights == ["green", "green"] for lights in rows_of_lights(markup)) == 200
    assert plain(markup).count("|ctrl|") + plain(markup).count("|EGF|") == 4  # where a table or a condition begins


def test_beyond_a_page_the_worst_are_shown(records):
    rows = [records.row(f"f{i:03}", "red" if i == 777 else "green") for i in range(1000)]
    markup = show_quality(rows, [records.check(row["key"], row["light"]) for row in rows])
    assert len([lights for lights in rows_of_lights(markup) if lights]) == 300
    assert "fields/f777.html" in markup
    assert "The 300 worst of 1,000 fields are shown" in markup


def test_sentences_and_lights_tell_one_percentage(made, tmp_path):
    cell = made.Cell(field=made.field("a.csv", "c", "r"), quality=(("fading", 0.0345), ("blinks", 0.00217), ("rois", 0.0)))
    write_tables(made.build(tmp_path, [cell]), fingerprint="f")
    texts = {c.check: c.text for c in read_checks(tmp_path)}
    assert "fall to 3.5\u202f% from the first" in texts["fading"] or "fall to 3.4\u202f% from the first" in texts["fading"]
    assert texts["blinks"].startswith("0.22\u202f% of the locs go on")
    assert "(--roi-nm)" in texts["rois"]


def test_no_check_at_all():
    assert "No field was judged" in show_quality([], [])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("nena_over_precision", 1.234, "1.2\u00d7"),
        ("drift_nm", 3.0, "3.0 nm"),
        ("duplicates", 0.0004, "0.040 %"),
        ("rois", 12.0, "12"),
        ("a_new_check", 0.5, "0.500"),
    ],
)
def test_values_have_their_units(name, value, said):
    assert words_of(name).show(value).replace("\u202f", " ") == said


def test_checks_are_read_back_from_the_table(made, tmp_path):
    cell = made.Cell(field=made.field("a.csv", "c", "r"), channels=(0, 1), quality=(("drift_nm", 99.0), ("fading", None)))
    write_tables(made.build(tmp_path, [cell]), fingerprint="f")
    checks = {(c.check, c.channel): c for c in read_checks(tmp_path)}
    assert checks["drift_nm", 1].value == 99.0
    assert checks["drift_nm", 1].light == "red"
    assert checks["fading", 0].light == "grey"
    assert checks["fading", 0].value != checks["fading", 0].value
