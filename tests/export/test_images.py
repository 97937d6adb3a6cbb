"""Density images: every loc in its pixel at every level, labels on the ROIs, coordinates of the source."""

import json
import os
from itertools import pairwise

import numpy as np
import pytest
import zarr

from smlmbatch.config import Config, override
from smlmbatch.errors import ConfigError
from smlmbatch.export import images
from smlmbatch.export.campaign import export_campaign, unfit_fields
from smlmbatch.samples import field_of_row
from smlmbatch.store import images as store_images
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.tile.stage import run as run_tile
from smlmbatch.work import Campaign, FieldResult, Work
from tests.export.conftest import columns_of, ingested


@pytest.fixture
def field(tmp_path):
    """A field of two channels with its outlines: a campaign of it, and its locs."""

    def make(x_nm, y_nm, channel, *, outline="field", roi_nm=1000.0):
        source = tmp_path / "f.csv"
        rows = (f"{x},{y},{c}" for x, y, c in zip(x_nm, y_nm, channel, strict=True))
        source.write_text("\n".join(["x_nm,y_nm,channel", *rows]) + "\n")
        ingest, tile = ingested(source, tmp_path / "ingest"), tmp_path / "tile.zarr.zip"
        own = field_of_row({}, path="f.csv", format_name="")
        config = override(Config(), {"tile": {"outline": outline, "roi_nm": roi_nm, "min_locs": 1}})
        with UnitReader(ingest) as unit, unit_writer(tile, "tile") as out:
            upstream = {"ingest": unit}
            run_tile(
                Work(
                    field=own,
                    source=source,
                    outline=None,
                    config=config,
                    upstream=upstream,
                    out=out,
                    scratch=tmp_path,
                    memory_bytes=1 << 30,
                )
            )
        result = FieldResult(field=own, units={"ingest": ingest, "tile": tile})
        return Campaign(output=tmp_path, config=config, fields=(result,)), columns_of(ingest)[0]

    return make


def uniform(n=4000, width_nm=9000.0, height_nm=5000.0, corner_nm=(-2_000_000.0, 70_000.0)):
    rng = np.random.default_rng(0)
    return corner_nm[0] + rng.uniform(0, width_nm, n), corner_nm[1] + rng.uniform(0, height_nm, n), rng.integers(0, 2, n)


def drawn(campaign, folder, **options):
    (path,) = export_campaign(campaign, folder, format="ome-zarr", **options)
    return path, zarr.open_group(path, mode="r")


def placed(group, level):
    """Scale and centre of the first pixel of a level, (y, x) um."""
    scale, translation = group.attrs["ome"]["multiscales"][0]["datasets"][level]["coordinateTransformations"]
    return np.array(scale["scale"][-2:]), np.array(translation["translation"][-2:])


@pytest.mark.parametrize("pixel_nm", [20.0, 33.3, 250.0])
def test_every_loc_is_in_its_pixel(field, tmp_path, pixel_nm):
    campaign, locs = field(*uniform())
    _, group = drawn(campaign, tmp_path / "out", pixel_nm=pixel_nm)
    level = group["0"][:]
    scale_um, centre_um = placed(group, 0)
    np.testing.assert_allclose(scale_um, pixel_nm / 1000)
    for channel in (0, 1):
        mine = locs["channel"] == channel
        y_um, x_um = locs["y_nm"][mine] / 1000, locs["x_nm"][mine] / 1000
        edges = [c - s / 2 + s * np.arange(n + 1) for c, s, n in zip(centre_um, scale_um, level.shape[1:], strict=True)]
        expected, _, _ = np.histogram2d(y_um, x_um, bins=edges)
        assert expected.sum() == mine.sum()
        counts = level[channel] * (pixel_nm / 1000) ** 2
        # on a pixel's edge, rounding of um and of nm may differ
        assert np.abs(np.rint(counts) - expected).sum() <= 2
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)
        assert counts.sum() == pytest.approx(mine.sum(), rel=1e-6)
    assert group.attrs["smlmbatch"] == {"unit": "1/um2", "n_outside": 0}


def test_levels_are_means_of_those_below(field, tmp_path, monkeypatch):
    for module in (images, store_images):  # blocks small enough for several of them
        monkeypatch.setattr(module, "SHARD_PX", 64)
    monkeypatch.setattr(store_images, "CHUNK_PX", 16)
    campaign, _ = field(*uniform())
    _, group = drawn(campaign, tmp_path / "out")
    levels = [group[dataset["path"]][:] for dataset in group.attrs["ome"]["multiscales"][0]["datasets"]]
    assert max(levels[-1].shape[1:]) <= 16 < max(levels[-2].shape[1:])
    for level, (below, above) in enumerate(pairwise(levels)):
        padded = np.pad(below, ((0, 0), (0, below.shape[1] % 2), (0, below.shape[2] % 2)))
        expected = padded.reshape(2, above.shape[1], 2, above.shape[2], 2).mean(axis=(2, 4))
        np.testing.assert_allclose(above, expected, rtol=1e-6)
        lower, upper = placed(group, level), placed(group, level + 1)
        np.testing.assert_allclose(upper[0], 2 * lower[0])
        np.testing.assert_allclose(upper[1] - upper[0] / 2, lower[1] - lower[0] / 2, rtol=1e-12)  # one corner for all


def test_block_size_changes_no_pixel(field, tmp_path, monkeypatch):
    campaign, _ = field(*uniform())
    _, whole = drawn(campaign, tmp_path / "whole")
    for module in (images, store_images):
        monkeypatch.setattr(module, "SHARD_PX", 256)
    _, cut = drawn(campaign, tmp_path / "cut")
    assert whole.attrs.asdict() == cut.attrs.asdict()
    for level in ("0", "1", "labels/rois/0", "labels/rois/1"):
        assert np.array_equal(whole[level][:], cut[level][:])


def test_labels_lie_on_the_kept_rois(field, tmp_path):
    campaign, _ = field(*uniform())
    _, group = drawn(campaign, tmp_path / "out")
    with UnitReader(campaign.fields[0].units["tile"]) as tile, UnitReader(campaign.fields[0].units["ingest"]) as ingest:
        kept, corners = np.flatnonzero(tile.read("roi_kept")), tile.read("roi_origin_nm") + np.array(ingest.attrs["origin_nm"])
    assert len(kept) > 10
    labels = group["labels/rois"]
    for level in range(len(labels.attrs["ome"]["multiscales"][0]["datasets"])):
        values = labels[str(level)][:]
        scale_um, centre_um = placed(labels, level)
        expected = np.zeros_like(values)
        y_um, x_um = (c + s * np.arange(n) for c, s, n in zip(centre_um, scale_um, values.shape, strict=True))
        for roi in kept:
            (x0, y0), side = corners[roi] / 1000, 1.0
            inside = ((y_um >= y0) & (y_um < y0 + side))[:, None] & ((x_um >= x0) & (x_um < x0 + side))[None, :]
            expected[inside] = roi + 1
        assert (values != expected).mean() < 1e-3  # a pixel's centre on an edge
        assert set(np.unique(values)) == set(np.unique(expected))
    assert group["labels"].attrs["ome"]["labels"] == ["rois"]
    assert labels.attrs["ome"]["image-label"]["source"]["image"] == "../../"
    assert placed(labels, 0)[1].tolist() == placed(group, 0)[1].tolist()


def test_channels_are_named_and_shown(field, tmp_path):
    campaign, _ = field(*uniform())
    _, group = drawn(campaign, tmp_path / "out")
    channels = group.attrs["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in channels] == ["channel 0", "channel 1"]
    assert len({channel["color"] for channel in channels}) == 2
    for i, channel in enumerate(channels):
        window, values = channel["window"], group["0"][i]
        assert window["max"] == pytest.approx(values.max())
        assert (values[values > 0] <= window["end"] * 1.000001).mean() >= 0.95


def test_few_files_and_the_same_each_time(field, tmp_path):
    campaign, _ = field(*uniform())
    (path, _), (again, _) = drawn(campaign, tmp_path / "a"), drawn(campaign, tmp_path / "b")
    files = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert files == {file.relative_to(again): file.read_bytes() for file in again.rglob("*") if file.is_file()}
    assert len(files) <= 16
    assert json.loads(files[(path / "zarr.json").relative_to(path)])["zarr_format"] == 3


def test_far_locs_do_not_make_it_endless(field, tmp_path):
    x_nm, y_nm, channel = uniform(corner_nm=(0.0, 0.0))
    x_nm[0], y_nm[0] = 40_000_000.0, 40_000_000.0
    campaign, _ = field(x_nm, y_nm, channel, roi_nm=1e6)
    _, group = drawn(campaign, tmp_path / "out")
    assert group.attrs["smlmbatch"]["n_outside"] == 1
    assert max(group["0"].shape) < 10_000  # 40 mm would be 2 million


def test_what_would_be_too_large_is_left_out_and_said(field, tmp_path):
    x_nm, y_nm, channel = uniform(corner_nm=(0.0, 0.0))
    x_nm[::2] += 400_000.0
    y_nm[::2] += 400_000.0
    campaign, _ = field(x_nm, y_nm, channel, roi_nm=1e5)
    assert "give a larger --pixel-nm" in unfit_fields(campaign, "ome-zarr", pixel_nm=0.5)["f.csv"]
    with pytest.raises(ConfigError, match=r"would be an image of .* pixels; give a larger --pixel-nm"):
        drawn(campaign, tmp_path / "out", pixel_nm=0.5)
    with pytest.raises(ConfigError, match="--pixel-nm 0: wanted a length above 0"):
        drawn(campaign, tmp_path / "out", pixel_nm=0)
    assert not (tmp_path / "out").exists()


def test_nothing_half_written_stays_and_a_whole_one_is_replaced(field, tmp_path, monkeypatch):
    campaign, _ = field(*uniform())
    path, _ = drawn(campaign, tmp_path / "out")
    with pytest.raises(ConfigError, match="would be overwritten"):
        drawn(campaign, tmp_path / "out")
    drawn(campaign, tmp_path / "out", overwrite=True, pixel_nm=100.0)
    assert zarr.open_group(path, mode="r")["0"].shape[1] < 100
    monkeypatch.setattr(images, "_write_labels", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        drawn(campaign, tmp_path / "out", overwrite=True)
    assert os.listdir(path.parent) == [path.name]
    assert zarr.open_group(path, mode="r")["0"].shape[1] < 100


def test_a_field_without_outlines_is_left_out(field, tmp_path):
    campaign, _ = field(*uniform())
    units = {"ingest": campaign.fields[0].units["ingest"]}
    bare = Campaign(output=tmp_path, config=Config(), fields=(FieldResult(field=campaign.fields[0].field, units=units),))
    assert "no outlines" in unfit_fields(bare, "ome-zarr")["f.csv"]
    assert unfit_fields(bare, "csv") == {}
