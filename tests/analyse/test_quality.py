"""Lights of made-up fields whose values are known, and the table they stand in."""

import dataclasses
import math

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.analyse.quality import RULES, checks_of, judge, worst
from smlmbatch.analyse.results import LIGHTS, QualityCheck
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import Config, PrepareConfig, QualityConfig
from smlmbatch.samples import Field
from smlmbatch.settings import resolve
from smlmbatch.work import FieldResult

RESULT = FieldResult(field=Field(path="ctrl/a.csv", name="a.csv", condition="ctrl", replicate="r1"), units={})
GOOD = {
    **{"precision_median_nm": 10.0, "nena_nm": 11.0, "nena_over_precision": 1.1, "nena_n_pairs": 900.0},
    **{"drift_nm": 4.0, "drift_x_nm": 4.0, "drift_y_nm": 0.0, "drift_error_nm": 1.0, "fading": 0.6, "gaps": 0.0},
    **{"duplicates": 0.0, "n_duplicates": 0.0, "blinks": 0.05, "crowding": 0.01, "illumination": 0.9, "cut": 0.05, "rois": 40.0},
}


def check(name, *, merged=False, config=None, no_field="", **values):
    """The check called `name` of a field that is good but for `values`."""
    found = GOOD | values
    attrs = {
        "channels": [2],
        "merged": merged,
        "values": {key: [value] for key, value in found.items() if key not in ("cut", "rois")},
        "field_values": {key: found[key] for key in ("cut", "rois")},
        "notes": {key: "nothing to measure" for key, value in found.items() if value is None},
        "crowded_nm": [520.0],
        **({"no_field": no_field} if no_field else {}),
    }
    checks = judge(RESULT, attrs, config or Config())
    assert [one.check for one in checks] == list(RULES)
    return next(one for one in checks if one.check == name)


def test_every_limit_has_a_rule():
    limits = {field.name.rpartition("_")[0] for field in dataclasses.fields(QualityConfig)}
    assert limits == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_good_field_is_green_in_all(name):
    found = check(name)
    assert found.light == "green"
    assert (found.key, found.field, found.channel) == (RESULT.field.key, "a.csv", None if name in ("cut", "rois") else 2)
    assert found.value == GOOD[name]


@pytest.mark.parametrize(
    ("name", "amber", "red"),
    [
        ("nena_over_precision", 1.6, 2.6),
        ("nena_over_precision", 0.6, 0.3),  # the inverse counts alike
        ("drift_nm", 16.0, 41.0),
        ("fading", 0.19, 0.04),
        ("gaps", 0.11, 0.31),
        ("duplicates", 0.002, 0.03),
        ("blinks", 0.11, 0.51),
        ("crowding", 0.11, 0.31),
        ("illumination", 0.59, 0.34),
        ("cut", 0.41, 0.81),
        ("rois", 4.0, 0.0),
    ],
)
def test_beyond_the_limits(name, amber, red):
    for value, light in ((amber, "amber"), (red, "red")):
        found = check(name, **{name: value})
        assert found.light == light
        assert len(found.text) > 60, "it says what to do"
        assert "{" not in found.text


@pytest.mark.parametrize("name", RULES)
def test_what_was_not_measured_is_grey_with_its_reason(name):
    found = check(name, **{name: None})
    assert found.light == "grey"
    assert math.isnan(found.value)
    assert found.text == "Not judged: nothing to measure."


@given(name=st.sampled_from(sorted(RULES)), value=st.floats(0, 1000), merged=st.booleans())
def test_every_value_gives_a_sentence(name, value, merged):
    found = check(name, merged=merged, **{name: value})
    assert found.light in LIGHTS
    assert found.text.endswith(".")
    assert "nan" not in found.text


@pytest.mark.parametrize(
    ("drift_nm", "error_nm", "light"),
    [
        (12.0, 2.0, "green"),
        (25.0, 5.0, "amber"),
        (19.0, 10.0, "green"),
        (25.0, 20.0, "grey"),
        (5.0, 50.0, "grey"),
        (40.0, 14.0, "grey"),
        (50.0, 15.0, "red"),
    ],
)
def test_drift_is_judged_by_its_error(drift_nm, error_nm, light):
    """No offset is called drift that its error allows, and none is ruled out that a large error would hide."""
    assert check("drift_nm", drift_nm=drift_nm, drift_error_nm=error_nm).light == light


def test_sentences_hold_the_numbers():
    text = check("nena_over_precision", nena_over_precision=2.0, nena_nm=21.04, precision_median_nm=10.52).text
    assert "21.0 nm" in text
    assert "10.5 nm" in text
    assert check("drift_nm", drift_nm=50.0, drift_x_nm=40.0, drift_y_nm=-30.0).text.startswith(
        "The second half of the recording lies 50 ± 1 nm"
    )
    assert "x +40, y -30" in check("drift_nm", drift_nm=50.0, drift_x_nm=40.0, drift_y_nm=-30.0).text
    assert check("rois", rois=0.0).text.startswith("No region is kept")
    assert check("rois", rois=1.0).text.startswith("1 region is kept")
    assert "--roi-nm" in check("rois", rois=1.0).text


def test_nena_of_merged_blinks_is_that_of_before():
    """Merged locs have a better precision; what NeNA is held against is the one of single locs."""
    values = {"nena_over_precision": 2.87, "nena_nm": 28.7, "precision_median_nm": 6.0}
    found = check("nena_over_precision", merged=True, precision_unmerged_nm=10.0, **values)
    assert found.light == "red"
    assert "28.7 nm from molecules seen in following frames before merging, but the file states 10.0 nm" in found.text
    assert "before merging" not in check("nena_over_precision", **values).text
    assert "6.0 nm" in check("nena_over_precision", **values).text


def test_green_blinks_say_what_they_do_not_see():
    assert "Later blinks of the same molecule are not seen" in check("blinks", blinks=0.02).text


def merging(**prepare):
    return Config(prepare=PrepareConfig(**prepare))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (merging(merge_nena=1.0), "over 1 x NeNA: molecules"),
        (merging(merge_nena=1.0), "Only 22 % of two sightings of a molecule lie so near: widen the distance"),
        (merging(merge_nm=20.0), "over 2 x NeNA: molecules"),
        (merging(merge_nm=20.0), "Only 63 %"),
        (merging(merge_nena=2.0), "--merge-nm 40)"),
        (merging(merge_nena=4.0), "although blinks were merged: molecules"),
        (merging(merge_nm=60.0), "Widen the distance (prepare.merge_nena in the settings, or --merge-nm)."),
    ],
)
def test_blinks_left_after_merging(config, expected):
    assert expected in check("blinks", blinks=0.4, merged=True, config=config, nena_nm=10.0).text


def test_unmerged_blinks_are_to_be_merged():
    assert "(prepare.merge_nena = 4 in the settings, or --merge-nm 40)" in check("blinks", blinks=0.4, nena_nm=10.0).text
    assert "(prepare.merge_nena = 4 in the settings)" in check("blinks", blinks=0.4, nena_nm=None).text


def test_origami_is_not_amber_for_its_own_merging():
    config = resolve(preset="origami")
    assert check("blinks", blinks=0.18, merged=True, config=config).light == "green"
    assert check("blinks", blinks=0.18, merged=True).light == "amber"


@pytest.mark.parametrize(("rois", "light"), [(0.0, "red"), (40.0, "amber")])
def test_no_field_of_view(rois, light):
    found = check("rois", rois=rois, no_field="not a field of view: particles centred on themselves can't be tiled")
    assert found.light == light
    assert found.text.endswith("The file is not a field of view: particles centred on themselves can't be tiled.")
    assert "--roi-nm" not in found.text
    assert "few" not in found.text


def test_limits_are_those_of_the_settings():
    strict = Config(quality=QualityConfig(fading_amber=0.9, fading_red=0.7))
    found = check("fading", config=strict)
    assert (found.light, found.amber, found.red) == ("red", 0.9, 0.7)


@pytest.mark.parametrize(
    ("lights", "expected"), [([], "grey"), (["grey"], "grey"), (["grey", "green"], "green"), (["green", "amber", "grey"], "amber")]
)
def test_worst(lights, expected):
    assert worst(lights) == expected
    assert worst([*lights, "red"]) == "red"


def test_reasons_of_the_channel_asked_for(made, tmp_path):
    field = made.field("a/x.csv", "a", "r1")
    campaign = made.build(tmp_path, [made.Cell(field=field, channels=(0, 3), quality=(("drift_nm", None),))])
    (result,) = campaign.fields
    attrs = {
        "channels": [0, 3],
        "merged": False,
        "values": {name: [value] * 2 for name, value in made.GOOD.items()} | {"drift_nm": [None, 2.0]},
        "field_values": {"cut": 0.0, "rois": 9.0},
        "notes": {"drift_nm": "channel 0: too little of it"},
        "crowded_nm": [500.0, 500.0],
    }
    of = {(one.check, one.channel): one for one in judge(result, attrs, Config())}
    assert of["drift_nm", 0].text == "Not judged: too little of it."
    assert of["drift_nm", 3].light == "green"
    assert {one.light for one in checks_of(result, Config()) if one.check == "drift_nm"} == {"grey"}
    assert checks_of(dataclasses.replace(result, units={}), Config()) == []


def test_table_of_checks_and_light_of_fields(made, tmp_path):
    cells = [
        made.Cell(field=made.field("a/1.csv", "a", "r1", batch="mon", labels=(("condition_1", "dye"),)), channels=(0, 1)),
        made.Cell(field=made.field("a/2.csv", "a", "r2"), quality=(("illumination", None),)),
        made.Cell(field=made.field("b/3.csv", "b", "r1"), quality=(("fading", 0.1), ("drift_nm", None))),
        made.Cell(field=made.field("b/4.csv", "b", "r2"), quality=(("gaps", 0.5), ("cut", 0.2))),
    ]
    failed = made.field("b/5.csv", "b", "r3")
    campaign = made.build(tmp_path, cells, failures=[(failed, "ingest", "f", "w", "m")])
    write_tables(campaign, fingerprint="f" * 64)
    assert read_tables(tmp_path).fields["light"].to_pylist() == ["green", "green", "amber", "red", None]
    rows = pq.ParquetFile(tmp_path / "tables" / "quality.parquet").read().to_pylist()
    assert set(rows[0]) == {field.name for field in dataclasses.fields(QualityCheck)} | {"condition", "replicate", "batch"}
    assert len(rows) == (8 * 2 + 2) + 3 * 10
    assert [(row["check"], row["channel"], row["condition"]) for row in rows[:2]] == [
        ("nena_over_precision", 0, "a"),
        ("nena_over_precision", 1, "dye"),
    ]
    assert {row["batch"] for row in rows[:18]} == {"mon"}
    (unknown,) = (row for row in rows if row["field"] == "2.csv" and row["check"] == "illumination")
    assert (unknown["value"], unknown["light"], unknown["text"]) == (None, "grey", "Not judged: made up.")
