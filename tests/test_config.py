"""Settings: defaults, round trip, and every kind of mistake named."""

import dataclasses

import pytest

from smlmbatch.config import Config, TileConfig, config_from_dict, load_config, override, to_toml
from smlmbatch.errors import ConfigError


def test_round_trip(tmp_path):
    config = override(Config(), {"ingest": {"map": 'x="a\\b",y=\u00e9'}, "tile": {"roi_nm": 1e3}})
    (tmp_path / "c.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "c.toml") == config
    assert config.tile.roi_nm == 1000


def test_none_changes_nothing():
    assert override(Config(), {"tile": {"roi_nm": None}}) == Config()


def test_whole_numbers_are_lengths():
    assert config_from_dict({"tile": {"roi_nm": 2000}}).tile == TileConfig(roi_nm=2000.0)


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ({"tiles": {}}, r"unknown section \[tiles\]"),
        ({"tile": 3}, "unknown section"),
        ({"tile": {"roi": 3}}, "unknown key tile.roi; known are roi_nm"),
        ({"tile": {"roi_nm": "3"}}, "wanted a float"),
        ({"tile": {"min_locs": 1.5}}, "wanted a int"),
        ({"tile": {"min_locs": True}}, "wanted a int"),
        ({"tile": {"roi_nm": 0}}, "a length above 0"),
        ({"tile": {"outline": "guess"}}, '"found" or "field"'),
        ({"tile": {"min_coverage": 1.5}}, "between 0 and 1"),
        ({"measure": {"dbscan_min_locs": 0}}, "at least 1"),
        ({"tile": {"roi_nm": float("inf")}}, "finite"),
        ({"tile": {"density_sigma_nm": 1e9}}, "up to 10,000 nm"),
        ({"measure": {"ripley_step_nm": 1e-6}}, "0.1 nm or more"),
        ({"tile": {"roi_nm": 10**400}}, "finite"),
        ({"ingest": {"map": "x=\udcff"}}, "printable"),
    ],
)
def test_mistakes_are_named(raw, match):
    with pytest.raises(ConfigError, match=match):
        config_from_dict(raw)


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("a = = b")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "bad.toml")


def test_every_setting_reaches_its_dataclass():
    """A key with an impossible value is refused somewhere: no setting goes unchecked but names, switches, and numbers of groups."""
    for section in dataclasses.fields(Config):
        for key in dataclasses.fields(section.default_factory):
            if key.type is float or (key.type is int and key.name not in ("seed", "no_group")):
                with pytest.raises(ConfigError, match=key.name):
                    config_from_dict({section.name: {key.name: -2}})
