"""Settings of a campaign, looked at before anything is computed."""

import pytest

from smlmbatch.campaign import settle_files
from smlmbatch.config import Config, override
from smlmbatch.errors import ConfigError
from smlmbatch.simulate.cluster_shapes import SHAPES


def shaped(name):
    return override(Config(), {"pick": {"source": "cluster", "shape": name}})


def test_a_shape_that_no_model_tells_is_refused_with_the_choices(tmp_path):
    with pytest.raises(ConfigError, match=r"pick\.shape = 'rings' .*wanted one of spot, ellipse, disc, ring, c, fibre"):
        settle_files(shaped("rings"), tmp_path)


@pytest.mark.parametrize("name", ["", *SHAPES])
def test_the_others_are_taken(tmp_path, name):
    assert settle_files(shaped(name), tmp_path)[0].config.pick.shape == name
