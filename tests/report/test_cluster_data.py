"""Facts on how clusters were found, from a unit's attributes and the campaign's copy of the model."""

import shutil

import pytest

from smlmbatch.methods.folders import CARD, copy_name, model_sha256, shipped
from smlmbatch.report.cluster_data import _facts


@pytest.fixture
def own(tmp_path):
    """A campaign's copy of a model: the shipped one's files, called mine."""
    sha256 = model_sha256(shipped("miro"))
    shutil.copytree(shipped("miro"), tmp_path / "models" / copy_name("mine", sha256))
    return tmp_path, {"method": "miro", "model": "mine", "model_sha256": sha256}


def test_the_card_of_a_campaign_s_own_model_is_read(own):
    output, attrs = own
    copy = output / "models" / copy_name("mine", attrs["model_sha256"])
    (copy / CARD).write_text('- trained on 9 clusters; conditions of the marked clusters: ["ctrl"]\n')
    origin = _facts(attrs, output).origin
    assert origin is not None
    assert (origin.material, origin.conditions, origin.tuned) == ("9 clusters", ("ctrl",), False)


def test_of_another_model_than_the_unit_s_nothing_is_told(own):
    output, attrs = own
    assert _facts(attrs | {"model_sha256": "00" * 32}, output).origin is None


@pytest.mark.parametrize(
    "attrs", [{"method": "dbscan", "model": None, "model_sha256": None}, {"method": "miro", "model": "miro", "model_sha256": "ab"}]
)
def test_without_a_copy_there_is_no_origin(tmp_path, attrs):
    assert _facts(attrs, tmp_path).origin is None
