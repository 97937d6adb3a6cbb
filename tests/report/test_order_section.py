"""The page's part on particles in order: its numbers are those of the tables, and what is wrong is said."""

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.ordering import order_state
from smlmbatch.report.gallery import Gallery
from smlmbatch.report.order_figures import BinValues, Still, draw_film, draw_losses, draw_violins
from smlmbatch.report.order_section import _said, _warnings, show_order
from smlmbatch.run import collect
from smlmbatch.store.arrays import unit_writer
from smlmbatch.upkeep import standing
from smlmbatch.work import Campaign, OrderUnits


def campaign_of(output: Path) -> Campaign:
    plan = load_plan(output)
    outcomes = standing(plan, trust_cache=True)
    return collect(plan, outcomes, order_state(plan, outcomes))


@pytest.fixture(scope="module")
def shown(ordered_output, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return show_order(campaign_of(ordered_output), gallery=Gallery(folder)), folder


def test_numbers_are_those_of_the_tables(shown, ordered_output):
    page, folder = shown
    text = re.sub(r"<[^>]+>", " ", re.sub(r'src="[^"]*"', "", page))
    assert "what 60 particles of channel 0 differ in" in text
    row = next(
        row
        for row in pq.read_table(ordered_output / "tables" / "order_axes.parquet").to_pylist()
        if (row["direction"], row["quantity"]) == ("pc1", "circle_radius_nm")
    )
    assert f"{row['pearson']:+z.2f}, {row['spearman']:+z.2f}".replace("-", "\u2212") in text
    bins = [row for row in pq.read_table(ordered_output / "tables" / "order_bins.parquet").to_pylist() if row["direction"] == "pc1"]
    lines = (folder / "order_film_pc1.csv").read_text().splitlines()
    assert len(lines) == 1 + len(bins)
    assert lines[1].split(",")[4] == str(bins[0]["circle_radius_nm"])
    assert "30 particles" in text
    assert "p per particle," in text
    assert "ROI" not in text


def test_figures_are_files_too(shown):
    _, folder = shown
    wanted = {f"{name}.{kind}" for name in ("order_film_pc1", "order_bins_pc1", "order_training") for kind in ("svg", "png", "csv")}
    assert wanted <= {path.name for path in folder.iterdir()}


def test_missing_bins_are_left_out_and_the_rest_is_shown(ordered_output, tmp_path):
    output = Path(shutil.copytree(ordered_output, tmp_path / "out"))
    next((output / "store" / "fields" / "campaign").glob("register-*")).unlink()
    page = show_order(campaign_of(output), gallery=Gallery(tmp_path / "gallery"))
    assert "Super-particles of 3 bins along principal axis 1." in page
    for path in (output / "store" / "fields" / "campaign").glob("register-*"):
        path.unlink()
    assert "No bin is registered (yet)." in show_order(campaign_of(output), gallery=Gallery(tmp_path / "gallery2"))


def test_nothing_in_order_says_why(ordered_output, tmp_path):
    path = tmp_path / "order.zarr.zip"
    with unit_writer(path, "order") as out:
        out.attrs |= {"why_none": "12 particles: fewer than 50", "left_out": {"more than 3 times as large as most": 2}, "far_locs": 1}
        out.attrs |= {"other_channels": {"1": 7}, "flattened": True, "channel": 0, "n_particles": 12}
    campaign = campaign_of(ordered_output)
    campaign = Campaign(output=campaign.output, config=campaign.config, fields=campaign.fields, order=OrderUnits(path, {}))
    page = show_order(campaign, gallery=Gallery(tmp_path / "gallery"))
    assert "Not put in order: 12 particles: fewer than 50." in page
    assert "2 particles more than 3 times as large as most; 1 localisation far from its particle; 7 particles of channel 1" in page
    assert "by x and y alone" in page
    nothing = Campaign(output=campaign.output, config=campaign.config, fields=campaign.fields)
    assert show_order(nothing, gallery=Gallery(tmp_path / "gallery")) is None


def test_a_direction_of_labelling_is_warned_of():
    def row(direction, quantity, pearson):
        return {"direction": direction, "quantity": quantity, "pearson": pearson}

    counts = [row("unit1", "n_points", -0.8), row("unit1", "circle_radius_nm", 0.4), row("pc1", "n_points", 0.6)]
    found = "".join(_warnings([*counts, row("pc1", "circle_radius_nm", 0.9), row("pc2", "n_points", None)]))
    assert "Unit 1: more with the number of locs than with any shape" in found
    assert "axis" not in found


@pytest.mark.parametrize(
    ("name", "said"), [("unit3", "unit 3"), ("pc12", "principal axis 12"), ("value", "the direction of the known value")]
)
def test_what_directions_are_called(name, said):
    assert _said(name) == said


def test_figures_hold_whatever_bins_hold():
    stills = [
        Still(views=[np.zeros((8, 8)), np.eye(8)], decoded_nm=np.zeros((4, 3), np.float32), label="1", failed=failed)
        for failed in (True, False)
    ]
    film = draw_film(stills * 6, half_nm=50.0, bar_nm=20.0)
    assert film.png.startswith(b"\x89PNG")
    assert b"<svg" in film.svg
    empty = BinValues(
        axis="radius (nm)", values=[np.zeros(0), np.ones(1), np.ones(5)], super_nm=np.full(3, np.nan), super_error_nm=np.full(3, np.nan)
    )
    assert draw_violins([empty], across="bin").png
    assert draw_losses(np.array([[1.0, 2.0]])).png
