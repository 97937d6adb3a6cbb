"""What a model's folder tells of what it was made from."""

import pytest

from smlmbatch.methods.folders import CARD, CONFIG, shipped
from smlmbatch.methods.origin import Origin, conditions_said, read_origin


@pytest.fixture
def folder(tmp_path):
    (tmp_path / CONFIG).write_text('method = "miro"\n[miro]\ntemplates = "ab"\n')
    return tmp_path


def test_the_shipped_model_is_not_tuned():
    origin = read_origin(shipped("miro"))
    assert not origin.tuned
    assert origin.conditions == ()
    assert origin.material


def test_without_a_card_it_is_known_that_it_was_tuned(folder):
    assert read_origin(folder) == Origin(tuned=True)


@pytest.mark.parametrize("conditions", [("ctrl",), ('a "b"', "c, d", "\u03b5; e\nf"), ()])
def test_conditions_come_back_as_they_were_given(folder, conditions):
    (folder / CARD).write_text(f"# A\n\n- made\n- trained on 9 clusters{conditions_said(conditions)}\n- sha256\n", encoding="utf-8")
    assert read_origin(folder) == Origin(tuned=True, material="9 clusters", conditions=conditions)


@pytest.mark.parametrize("listed", ["egf", "7", '["egf"'])
def test_what_a_hand_wrote_is_not_guessed(folder, listed):
    (folder / CARD).write_text(f"- trained on 9 clusters; conditions of the marked clusters: {listed}\n")
    assert read_origin(folder).conditions == ()
