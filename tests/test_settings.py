"""Presets and the settings written out: nothing without its reason, and what wins over what."""

import dataclasses
import tomllib

import pytest

from smlmbatch import settings
from smlmbatch.config import Config, load_config
from smlmbatch.errors import ConfigError
from smlmbatch.settings import documented, preset_names, preset_text, preset_title, resolve
from tests.conftest import ROOT, smlmbatch
from tests.in_process import call

PRESETS = preset_names()


def test_the_four_presets_are_packaged():
    assert PRESETS == ("fibres", "nuclear-pores", "origami", "receptors")
    assert "presets/*.toml" in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_with_a_reason_for_each(name):
    config = resolve(preset=name)
    assert config != Config()
    assert 10 < len(preset_title(name)) < 130
    stated = tomllib.loads(preset_text(name))
    pairs = {(section, key) for section, table in stated.items() for key in table}
    reasons = settings._reasons(preset_text(name))
    assert pairs == set(reasons)
    shared = {("quality", "blinks_red"), ("quality", "cut_red"), ("prepare", "merge_nena")}  # the reason stands above the pair
    assert all(reasons[pair] for pair in pairs - shared)


def test_every_setting_is_explained():
    """A new key of `config.py` needs a comment that says what it means."""
    meanings = settings._meanings()
    keys = {(section.name, key.name) for section in dataclasses.fields(Config) for key in dataclasses.fields(section.default_factory)}
    assert keys == set(meanings)
    assert meanings["tile", "min_cell_um2"] == "smaller patches are debris"
    assert all(meanings.values())


@pytest.mark.parametrize("name", ["", *PRESETS])
def test_what_is_printed_is_read_back(name, tmp_path):
    config = resolve(preset=name)
    text = documented(config, preset=name)
    (tmp_path / "settings.toml").write_text(text, encoding="utf-8")
    assert load_config(tmp_path / "settings.toml") == config
    assert text.count("# preset") == sum(len(table) for table in tomllib.loads(preset_text(name)).values() if name) if name else True


def test_a_file_wins_over_a_preset_and_a_preset_over_defaults(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[tile]\nroi_nm = 1234\n[measure]\nseed = 7\n")
    config = resolve(preset="origami", file=file)
    assert config.tile.roi_nm == 1234  # the file's
    assert config.tile.outline == "field"  # the preset's
    assert config.measure.seed == 7
    assert config.measure.dbscan_eps_nm == resolve(preset="origami").measure.dbscan_eps_nm != Config().measure.dbscan_eps_nm
    assert config.tile.density_bin_nm == Config().tile.density_bin_nm
    assert resolve(file=file).tile.outline == "found"


def merging(config):
    return config.prepare.merge_nm, config.prepare.merge_nena


@pytest.mark.parametrize(
    ("stated", "wanted"),
    [
        ("merge_nm = 0", (0.0, 0.0)),
        ("merge_nm = 40", (40.0, 0.0)),
        ("merge_nena = 3.0", (0.0, 3.0)),
        ("merge_nm = 0\nmerge_nena = 2.0", (0.0, 2.0)),
        ("min_photons = 5.0", (0.0, 1.0)),  # the preset's
    ],
)
def test_one_way_of_merging_takes_the_place_of_the_other(stated, wanted, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(f"[prepare]\n{stated}\n")
    assert merging(resolve(preset="receptors")) == (0.0, 1.0)
    assert merging(resolve(preset="receptors", file=file)) == wanted


@pytest.mark.parametrize("nm", [0.0, 40.0])
def test_the_option_merge_nm_takes_the_place_of_a_preset_s_merging(nm, tmp_path):
    shown, _ = call("config", "--preset", "receptors", "--merge-nm", str(nm))
    (tmp_path / "shown.toml").write_text(shown)
    assert merging(load_config(tmp_path / "shown.toml")) == (nm, 0.0)


def test_the_option_merge_nm_over_a_campaign_s_settings(small_campaign, tmp_path):
    call("plan", small_campaign, tmp_path / "out", "--preset", "receptors")
    call("plan", small_campaign, tmp_path / "out", "--merge-nm", "40", "--update")
    assert merging(load_config(tmp_path / "out" / "config.toml")) == (40.0, 0.0)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no such preset; known are fibres, nuclear-pores, origami, receptors"):
        resolve(preset="../config")
    file = tmp_path / "mine.toml"
    file.write_text("tile = 3\n")
    with pytest.raises(ConfigError, match=r"mine\.toml over preset fibres: unknown section \[tile\]"):
        resolve(preset="fibres", file=file)
    file.write_text("[tile]\nroi = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key tile\.roi"):
        resolve(preset="fibres", file=file)


def test_options_win_and_the_campaign_keeps_the_result(small_campaign, tmp_path):
    output = tmp_path / "out"
    file = tmp_path / "mine.toml"
    file.write_text("[tile]\nmin_locs = 60\nroi_nm = 2000.0\n")
    smlmbatch("plan", small_campaign, output, "--preset", "fibres", "--config", file, "--roi-nm", "1500")
    config = load_config(output / "config.toml")
    assert (config.tile.roi_nm, config.tile.min_locs, config.tile.density_sigma_nm) == (1500.0, 60, 600.0)
    printed = smlmbatch("config", "--preset", "fibres", "--config", file, "--roi-nm", "1500").stdout
    (tmp_path / "printed.toml").write_text(printed)
    assert load_config(tmp_path / "printed.toml") == config
    smlmbatch("plan", small_campaign, output)  # keeps what it was planned with
    assert load_config(output / "config.toml") == config
    assert "min_locs: 60" in smlmbatch("plan", small_campaign, output, "--preset", "fibres", expect=2).stderr.replace(" = ", ": ")
    assert "roi_nm = 1500.0" in smlmbatch("config", output).stdout


def test_config_lists_presets_and_names_mistakes(tmp_path):
    listed = smlmbatch("config", "--presets").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(PRESETS)
    assert "holds no campaign" in smlmbatch("config", tmp_path, expect=2).stderr
    assert "no such preset" in smlmbatch("config", "--preset", "x", expect=2).stderr


def test_the_document_of_the_order_shows_its_settings_as_they_are():
    shown = (ROOT / "docs" / "order.md").read_text().partition("```toml\n")[2].partition("```")[0]
    assert shown.startswith("[order]\n")
    assert shown in documented(Config())
