import csv
import io

import numpy as np
import pytest

from smlmbatch.analyse.compare import replicate_means
from smlmbatch.analyse.grouping import group_rois
from smlmbatch.analyse.tables import read_tables, write_tables
from smlmbatch.config import config_from_dict
from smlmbatch.report import superplots
from smlmbatch.report.gallery import Drawing, Gallery
from smlmbatch.report.numbers import gather, most_dots
from smlmbatch.report.superplots import show_superplots
from smlmbatch.report.wording import titles


@pytest.fixture(scope="module")
def tables(made, tmp_path_factory):
    campaign = made.study(tmp_path_factory.mktemp("out"), channels=(0, 1), n_locs=2600)
    write_tables(campaign, fingerprint="f")
    return read_tables(campaign.output)


def panels_of(tables, tmp_path, monkeypatch, channel, **compare):
    """What is handed to the drawing, by file name; and the CSV of each."""
    config = config_from_dict({"compare": compare}).compare
    grouped = group_rois(tables.rois, tables.fields, config=config)
    numbers = gather(grouped, [], [], min_locs=50, paired=bool(config.paired))
    drawn = []
    monkeypatch.setattr(superplots, "draw_superplot", lambda panel, rng: drawn.append(panel) or Drawing(b"", b""))
    gallery = Gallery(tmp_path / "figures")
    show_superplots(numbers, channel, titles(["density_per_um2", "nn_mean_nm"]), gallery=gallery)
    return grouped, drawn, gallery


def test_dots_stand_in_the_lane_of_their_replicate(tables, tmp_path, monkeypatch):
    _, (density, _), _ = panels_of(tables, tmp_path, monkeypatch, 1)
    rows = [r for r in tables.rois.to_pylist() if r["kept"] and r["channel"] == 1 and r["condition"] == "egf"]
    strip = density.strips[1]
    assert strip.label == "egf"
    for lane, name in enumerate(strip.names):
        own = sorted(r["density_per_um2"] for r in rows if r["replicate"] == name)
        assert sorted(strip.rois[strip.lanes == lane]) == pytest.approx(own)
        assert strip.replicates[lane] == pytest.approx(np.mean(own))
    assert strip.mean == pytest.approx(strip.replicates.mean())


def test_channels_may_be_conditions_and_replicates_pair_them(tables, tmp_path, monkeypatch):
    grouped, (density, _), gallery = panels_of(tables, tmp_path, monkeypatch, None, conditions="channel", paired="replicate")
    assert [strip.label for strip in density.strips] == ["channel 0", "channel 1"]
    assert density.joined
    blocks = [f"{name} \u00d7 rep{r}" for name in ("ctrl", "egf") for r in range(3)]
    assert sorted(density.strips[0].blocks) == sorted(density.strips[1].blocks) == blocks
    means = [m.mean for m in replicate_means(grouped, min_locs=50, descriptors=["density_per_um2"]) if m.condition == "channel 1"]
    assert density.strips[1].replicates == pytest.approx(means)
    assert "density_per_um2.csv" in gallery.written  # no channel in the name


def test_unpaired_replicates_are_not_joined(tables, tmp_path, monkeypatch):
    _, (density, _), gallery = panels_of(tables, tmp_path, monkeypatch, 0)
    assert not density.joined
    assert all(block is None for strip in density.strips for block in strip.blocks)
    assert gallery.written == {f"{name}_c0.{kind}" for name in ("density_per_um2", "nn_mean_nm") for kind in ("svg", "png", "csv")}


def test_sparse_rois_are_in_no_plot_of_the_pattern(tables, tmp_path, monkeypatch):
    _, (density, neighbours), gallery = panels_of(tables, tmp_path, monkeypatch, 0)
    rows = [r for r in tables.rois.to_pylist() if r["kept"] and r["channel"] == 0]
    enough = sum(r["n_locs"] >= 50 for r in rows)
    assert 0 < enough < len(rows)
    assert sum(len(strip.rois) for strip in density.strips) == len(rows)
    assert sum(len(strip.rois) for strip in neighbours.strips) == enough
    text = (gallery.folder / "nn_mean_nm_c0.csv").read_text()
    assert sum(row["level"] == "roi" for row in csv.DictReader(io.StringIO(text))) == enough


def test_large_conditions_are_sampled_the_same_way_each_time(tables, monkeypatch):
    from smlmbatch.report import numbers

    monkeypatch.setattr(numbers, "_DOTS_OF_ALL", 40)
    monkeypatch.setattr(numbers, "_FEWEST_DOTS", 7)
    grouped = group_rois(tables.rois, tables.fields, config=config_from_dict({}).compare)
    one, other = (gather(grouped, [], [], min_locs=50) for _ in range(2))
    assert {len(sample) for sample in one.sampled.values()} == {most_dots(4)} == {10}
    assert all(one.sampled[group].equals(other.sampled[group]) for group in one.sampled)
