import pyarrow as pa
import pytest

from smlmbatch.analyse.grouping import EMPTY, check_columns, check_plan, condition_columns, group_rois, resolved_columns
from smlmbatch.config import CompareConfig
from smlmbatch.errors import ConfigError
from smlmbatch.samples import Field
from tests.analyse.drawn import tables

SWAP = {
    "a": {"protein_0": "EGFR", "protein_1": "EREG", "dye_0": "568", "dye_1": "647", "drug": ""},
    "b": {"protein_0": "EREG", "protein_1": "EGFR", "dye_0": "568", "dye_1": "647", "drug": "x"},
}
ROWS = [
    {"key": key, "condition": "cells", "replicate": key, "channel": channel, "batch": batch, "region": region, "distance_to_edge_nm": far}
    for key, batch in (("a", "day 1"), ("b", ""))
    for channel, region, far in ((0, None, 500.0), (1, "rim", 4000.0))
]


def conditions(columns, **settings):
    rois, fields = tables(ROWS, SWAP)
    grouped = group_rois(rois, fields, config=CompareConfig(conditions=columns, **settings))
    return grouped["condition"].to_pylist()


def test_by_default_the_condition_of_the_sheet():
    rois, fields = tables(ROWS, SWAP)
    assert group_rois(rois, fields, config=CompareConfig()).equals(rois)


def test_products_of_columns():
    assert conditions("condition,batch") == ["cells \u00d7 day 1"] * 2 + [f"cells \u00d7 {EMPTY}"] * 2
    assert conditions(" drug, replicate,drug") == [f"{EMPTY} \u00d7 a"] * 2 + ["x \u00d7 b"] * 2
    assert conditions("label_drug") == [EMPTY] * 2 + ["x"] * 2
    assert conditions("channel") == ["channel 0", "channel 1"] * 2


def test_labels_given_per_channel_are_those_of_the_channel():
    assert conditions("protein") == ["EGFR", "EREG", "EREG", "EGFR"]
    assert conditions("protein,dye") == ["EGFR \u00d7 568", "EREG \u00d7 647", "EREG \u00d7 568", "EGFR \u00d7 647"]
    assert conditions("protein_0") == ["EGFR", "EGFR", "EREG", "EREG"]


def test_a_channel_without_a_label_of_its_own_has_the_fields():
    rois, fields = tables(ROWS, {"a": {"dye": "647", "dye_1": "568"}, "b": {"dye": "647", "dye_1": ""}})
    assert group_rois(rois, fields, config=CompareConfig(conditions="dye"))["condition"].to_pylist() == ["647", "568", "647", "647"]


def test_regions_of_the_file_or_by_distance():
    assert conditions("region") == [EMPTY, "rim"] * 2
    assert conditions("region", periphery_nm=1000.0) == ["periphery", "centre"] * 2
    assert conditions("region", periphery_nm=500.0) == ["centre", "centre"] * 2


@pytest.mark.parametrize(
    ("columns", "joined"), [("condition", False), ("drug", False), ("protein_0", False), ("protein", True), ("drug,channel", True)]
)
def test_channels_are_compared_with_each_other_where_they_are_part_of_the_condition(columns, joined):
    rois, fields = tables(ROWS, SWAP)
    found = group_rois(rois, fields, config=CompareConfig(conditions=columns))["channel"]
    assert found.to_pylist() == ([None] * 4 if joined else [0, 1, 0, 1])
    assert found.type == pa.uint8()


def test_blocks_name_what_pairs():
    rois, fields = tables(ROWS, SWAP)
    blocks = [group_rois(rois, fields, config=CompareConfig(paired=name))["block"].to_pylist() for name in ("batch", "replicate", "drug")]
    assert blocks == [["day 1", "day 1", None, None], ["a", "a", "b", "b"], [None, None, "x", "x"]]


def test_empty_tables():
    rois, fields = tables([])
    assert len(group_rois(rois, fields, config=CompareConfig(conditions="condition,region,channel", paired="batch"))) == 0


def test_unknown_columns_are_refused_with_those_there_are():
    rois, fields = tables(ROWS, SWAP)
    for settings in ({"conditions": "condition,drag"}, {"paired": "drag"}):
        with pytest.raises(
            ConfigError, match="no column 'drag'; there are condition, region, replicate, batch, channel, drug, dye, protein"
        ):
            group_rois(rois, fields, config=CompareConfig(**settings))
    with pytest.raises(ConfigError, match="nothing has a partner"):
        check_columns(["drug"], config=CompareConfig(conditions="condition,drug", paired="drug"))


def planned(**more):
    labels = tuple(sorted({"drug": "x", "condition_1": "other"}.items()))
    return [Field(path="a", name="a", condition="ctrl", replicate="1", labels=labels, **more)]


def test_plans_are_checked_before_anything_is_computed():
    check_plan(planned(), config=CompareConfig())
    check_plan(planned(), config=CompareConfig(reference="other"))
    check_plan(planned(), config=CompareConfig(conditions="condition,drug", reference="ctrl \u00d7 x"))
    check_plan(planned(), config=CompareConfig(conditions="condition,channel", reference="anything"))  # channels are not known yet
    check_plan(planned(cell_outline="o.csv"), config=CompareConfig(conditions="region"))
    check_plan(planned(), config=CompareConfig(conditions="region", periphery_nm=100.0))
    for settings, why in (
        ({"reference": "Ctrl"}, "no such condition; there are ctrl; other"),
        ({"conditions": "drug", "reference": "ctrl"}, "there are x"),
        ({"conditions": "region"}, "no field has an outline file"),
        ({"conditions": "dye"}, "no column 'dye'"),
    ):
        with pytest.raises(ConfigError, match=why):
            check_plan(planned(), config=CompareConfig(**settings))
    check_plan([], config=CompareConfig())


def test_names_of_columns():
    assert condition_columns(CompareConfig(conditions="a, label_b,,a")) == ["a", "label_b"]
    found = resolved_columns(["a"], config=CompareConfig(conditions="a, label_a,batch,label_batch"))
    assert found == [("a", True), ("batch", False)]


def test_a_blank_pairs_nothing():
    assert CompareConfig(paired=" ") == CompareConfig()
    assert "block" not in group_rois(*tables(ROWS), config=CompareConfig(paired=" ")).column_names


ODD = {key: {"region": f"sheet {key}", "channel_0": "red", "label_dose": key.upper()} for key in ("a", "b")}


def test_columns_of_the_sheet_are_reached_whatever_they_are_called():
    rois, fields = tables(ROWS, ODD)

    def of(columns, **settings):
        return group_rois(rois, fields, config=CompareConfig(conditions=columns, **settings))["condition"].to_pylist()

    assert of("label_region") == ["sheet a"] * 2 + ["sheet b"] * 2
    assert of("label_region", periphery_nm=1000.0) == of("label_region")
    assert of("label_channel") == ["red", EMPTY] * 2
    assert of("label_dose") == of("label_label_dose") == ["A"] * 2 + ["B"] * 2
    both = {key: {"dose": key, "label_dose": key.upper()} for key in ("a", "b")}
    for name, first in (("label_dose", "a"), ("label_label_dose", "A")):
        assert group_rois(*tables(ROWS, both), config=CompareConfig(conditions=name))["condition"][0].as_py() == first


@pytest.mark.parametrize("settings", [{"conditions": "condition,region"}, {"conditions": "channel"}, {"paired": "region"}])
def test_a_name_that_may_mean_two_columns_is_refused(settings):
    fields = [Field(path="a", name="a", condition="x", replicate="1", labels=(("channel", "red"), ("region", "rim")), cell_outline="o.csv")]
    with pytest.raises(ConfigError, match=r"write label_(region|channel) for the sheet's, or rename"):
        check_plan(fields, config=CompareConfig(**settings))
    check_plan(fields, config=CompareConfig(conditions="label_region,label_channel", reference="rim \u00d7 red"))


def test_known_names_are_listed_once_and_as_they_can_be_written():
    with pytest.raises(ConfigError) as refused:
        check_columns(["region", "dye_0", "dye_1", "label_dose", "condition_1", "batch_0"], config=CompareConfig(conditions="x"))
    assert str(refused.value).endswith("there are condition, region, replicate, batch, channel, dye, label_dose, label_region")
    with pytest.raises(ConfigError, match="no column 'label_region'"):
        check_columns([], config=CompareConfig(conditions="label_region"))


# ---- replicates of several conditions


def samples(*names):
    """Two regions of each (condition, replicate)."""
    return [
        {"key": f"{c}{r}", "condition": c, "replicate": r, "region": region, "nn_mean_nm": 1.0}
        for c, r in names
        for region in ("core", "rim")
    ]


@pytest.mark.parametrize("paired", ["", "replicate"])
def test_replicates_of_other_conditions_are_other_replicates(paired):
    rois, fields = tables(samples(("A", "1"), ("A", "2"), ("B", "1")))
    grouped = group_rois(rois, fields, config=CompareConfig(conditions="region", paired=paired))
    expected = [name for name in ("A \u00d7 1", "A \u00d7 2", "B \u00d7 1") for _ in range(2)]
    assert grouped["replicate"].to_pylist() == expected
    if paired:
        assert grouped["block"].to_pylist() == expected
    for columns in ("condition", "region,condition"):
        assert group_rois(rois, fields, config=CompareConfig(conditions=columns))["replicate"].equals(rois["replicate"])


def test_names_of_replicates_that_are_no_others_stay():
    rois, fields = tables(samples(("A", "1"), ("A", "2"), ("B", "3")))
    assert group_rois(rois, fields, config=CompareConfig(conditions="region"))["replicate"].equals(rois["replicate"])


def test_a_dye_swap_pairs_within_the_cells_though_channels_have_conditions():
    """The field's own condition, not the channel's, tells replicates apart."""
    rows = [
        {"key": f"{day}/{cell}", "condition": "EGFR" if channel == (day == "swap") else "EREG", "replicate": cell, "channel": channel}
        for day in ("plain", "swap")
        for cell in ("1", "2")
        for channel in (0, 1)
    ]
    labels = {key: {"protein_0": "EGFR", "protein_1": "EREG"} for key in ("plain/1", "plain/2")}
    labels |= {key: {"protein_0": "EREG", "protein_1": "EGFR"} for key in ("swap/1", "swap/2")}
    rois, fields = tables(rows, labels)
    fields = fields.set_column(fields.schema.get_field_index("condition"), "condition", pa.array(["plain"] * 2 + ["swap"] * 2))
    blocks = group_rois(rois, fields, config=CompareConfig(conditions="protein", paired="replicate"))["block"].to_pylist()
    assert blocks[::2] == blocks[1::2] == ["plain \u00d7 1", "plain \u00d7 2", "swap \u00d7 1", "swap \u00d7 2"]
