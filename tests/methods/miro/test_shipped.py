"""The model that comes with the package: of the default recipe, told of by its card, and of use on fields that nobody trained on."""

import pytest

from smlmbatch.methods.folders import model_sha256, shipped
from smlmbatch.methods.miro.judge import judge
from smlmbatch.methods.miro.recipe import MiroConfig
from smlmbatch.methods.model import load_model

FOLDER = shipped("miro")


def test_shipped_model_is_of_the_default_recipe():
    assert load_model(FOLDER).config == MiroConfig()


def test_card_names_the_weights_it_tells_of():
    assert model_sha256(FOLDER) in (FOLDER / "card.md").read_text()


@pytest.mark.slow
def test_shipped_model_finds_clusters_of_a_draw_of_its_own():
    """On fields of a seed that neither recipe nor card has seen; faint clusters are among them, and nobody finds all of those."""
    model = load_model(FOLDER)
    found = judge(model.network, model.config, seeds=(7,))
    assert found["without blinking"]["JI_c"] > 0.58
    assert found["without blinking"]["AMI"] > 0.65
    assert found["with blinking"]["JI_c"] > 0.5
    assert found["with blinking"]["AMI"] > 0.6
