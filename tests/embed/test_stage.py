"""The stage on a small field: rows, their order and their vectors against rasters and batches made here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smlmbatch.config import Config, EmbedConfig, TileConfig
from smlmbatch.embed import stage
from smlmbatch.errors import InputError, ResourceError
from smlmbatch.methods.chosen import settle
from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.folders import keep_copy, model_sha256
from smlmbatch.methods.model import load_model, save_model
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import Work

FIELD = Field(path="ctrl/FOV1.csv", name="FOV1.csv", condition="ctrl", replicate="FOV1.csv", format="generic")
ORIGINS_NM = np.array([[0.0, 0], [3000.5, 0], [0, 3000.25], [3000.5, 3000.25]])
KEPT = [1, 1, 0, 1]
NETWORK = ContrastiveConfig(features=24, channels=(4, 8), encoder="paper", as_if_locs=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained model's folder."""
    folder = tmp_path_factory.mktemp("model") / "mine"
    torch.manual_seed(3)
    save_model(folder, Contrastive(), NETWORK, Contrastive().build(NETWORK))
    return folder


def field_locs() -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 2) and channels: channel 0 everywhere, channel 2 with a few locs in the second region, and none in the fourth."""
    rng = np.random.default_rng(8)
    xy_nm = np.concatenate([rng.uniform(0, 6000, (4000, 2)), rng.normal(900, 40, (300, 2)), rng.uniform(3300, 5000, (20, 2)) * [1, 0.5]])
    channel = np.r_[rng.choice([0, 0, 2], 4000), np.full(320, 2)]
    channel[:4000][(channel[:4000] == 2) & (xy_nm[:4000, 0] > 2900)] = 0
    return xy_nm.astype(np.float32), channel


def inside(roi: int, channel: int) -> np.ndarray:
    """Positions relative to the region's corner, in float64."""
    xy_nm, channels = field_locs()
    offset = xy_nm.astype(np.float64) - ORIGINS_NM[roi]
    return offset[((offset >= 0) & (offset < 3000)).all(axis=1) & (channels == channel)]


def counts_of(roi: int, channel: int) -> np.ndarray:
    edges = np.linspace(0, 3000, NETWORK.side_px + 1)
    return np.histogram2d(*inside(roi, channel).T[::-1], bins=[edges, edges])[0]


def upstream(folder: Path, kept: list[int]) -> dict[str, UnitReader]:
    xy_nm, channel = field_locs()
    column, row = np.floor(xy_nm / 1000).astype(int).T
    order = np.argsort(row * 7 + column, kind="stable")
    with unit_writer(folder / "i.zip", "ingest") as out:
        for name, values in {"x_nm": xy_nm[:, 0], "y_nm": xy_nm[:, 1], "channel": channel, "row": np.arange(len(row))}.items():
            out.write(name, values[order])
        out.write("tile_start", np.searchsorted((row * 7 + column)[order], np.arange(50)))
        out.attrs.update(tile_nm=1000.0, tile_grid=[7, 7], origin_nm=[0.0, 0.0])
    n_locs = np.array([[len(inside(roi, c)) for c in (0, 2)] for roi in range(4)])
    arrays = {"roi_origin_nm": ORIGINS_NM, "roi_coverage": np.full(4, 0.95), "roi_kept": np.array(kept), "roi_n_locs": n_locs}
    with unit_writer(folder / "t.zip", "tile") as out:
        for name, spec in SCHEMA["tile"].items():
            shape = tuple({"roi": 4, "axis": 2}.get(dim, 1) for dim in spec.dims)
            out.write(name, arrays.get(name, np.zeros(shape)))
        out.attrs.update(channels=[0, 2], roi_nm=3000.0)
    return {"ingest": UnitReader(folder / "i.zip"), "tile": UnitReader(folder / "t.zip")}


def embed(folder: Path, model: Path | None, *, kept: list[int] = KEPT, field: Field = FIELD, **settings: object) -> UnitReader:
    """The unit that the stage makes of the field, with a copy of this model (None: as the settings say)."""
    folder.mkdir()
    settings = settings if model is None else {"model": str(model)} | settings
    config = Config(embed=EmbedConfig(**settings))
    if model is not None:
        config = settle(config).config
        keep_copy(model, folder / "models", name=config.embed.model, sha256=config.embed.sha256)
    return run(folder, config, kept=kept, field=field)


def run(folder: Path, config: Config, *, kept: list[int] = KEPT, field: Field = FIELD) -> UnitReader:
    with unit_writer(folder / "e.zip", "embed") as out:
        stage.run(
            Work(
                field=field,
                source=folder / "unused.csv",
                outline=None,
                config=config,
                upstream=upstream(folder, kept),
                out=out,
                scratch=folder,
                memory_bytes=1 << 28,
                models=folder / "models",
            )
        )
    return UnitReader(folder / "e.zip")


def test_rows_and_vectors(tmp_path, model) -> None:
    """Two channels, a dropped region, a channel with too few locs: against the network called here, region by region."""
    unit = embed(tmp_path / "a", model)
    keys = [(0, 0), (0, 2), (1, 0), (3, 0)]
    assert list(zip(unit.read("roi").tolist(), unit.read("channel").tolist(), strict=True)) == keys
    assert unit.read("n_locs").tolist() == [len(inside(*key)) for key in keys]
    network = load_model(model).network
    views = [np.rot90(flipped, k) for key in keys for flipped in (counts_of(*key), counts_of(*key)[:, ::-1]) for k in range(4)]
    with torch.no_grad():
        single = network.encode(torch.from_numpy(np.array(views, np.float32))).numpy()
    np.testing.assert_allclose(unit.read("embedding"), single.reshape(4, 8, 24).mean(axis=1), atol=1e-5)
    attrs = unit.attrs
    assert attrs["n_skipped"] == [0, 2], "of channel 2, one region has 20 locs and one none; the dropped region doesn't count"
    assert attrs["n_beyond"] == [0, 0]
    assert (attrs["model"], attrs["model_sha256"], attrs["why_none"]) == ("mine", model_sha256(model), "")
    assert (attrs["side_px"], attrs["pixel_nm"], attrs["features"], attrs["channels"]) == (64, 46.875, 24, [0, 2])
    assert (attrs["turned"], attrs["n_locs"], attrs["device"]) == (True, 0, "cpu")


def test_upright(tmp_path, model) -> None:
    unit = embed(tmp_path / "a", model, turned=False)
    with torch.no_grad():
        found = load_model(model).network.encode(torch.from_numpy(counts_of(1, 0)[None].astype(np.float32))).numpy()
    np.testing.assert_allclose(unit.read("embedding")[2], found[0], atol=1e-5)
    assert unit.attrs["turned"] is False


def test_min_locs_counts_the_channels_own(tmp_path, model) -> None:
    assert embed(tmp_path / "a", model, min_locs=20).attrs["n_skipped"] == [0, 1]
    unit = embed(tmp_path / "b", model, min_locs=100_000)
    assert unit.attrs["n_skipped"] == [3, 3]
    assert unit.read("embedding").shape == (0, 24)


def test_densities_beyond_what_was_learned_are_counted(tmp_path, model) -> None:
    """Of the second region's channel 2, 20 locs in 9 um2; the family begins at 20 per um2."""
    assert embed(tmp_path / "a", model, min_locs=20).attrs["n_beyond"] == [0, 1]


def test_so_many_locs_of_each(tmp_path, model) -> None:
    """Drawn at random, keyed by field and seed; regions with fewer are left out."""
    first, again = (embed(tmp_path / name, model, n_locs=600) for name in ("a", "b"))
    assert first.digest == again.digest
    assert first.read("n_locs").tolist() == [600] * 4
    other_seed = embed(tmp_path / "c", model, n_locs=600, seed=1)
    other_field = embed(tmp_path / "d", model, n_locs=600, field=replace(FIELD, path="ctrl/FOV2.csv"))
    whole = embed(tmp_path / "e", model)
    for other in (other_seed, other_field, whole):
        assert (np.abs(other.read("embedding") - first.read("embedding")).max(axis=1) > 1e-5).all()
    assert embed(tmp_path / "f", model, n_locs=900).attrs["n_skipped"] == [
        int(n) for n in ([len(inside(r, c)) < 900 for r in (0, 1, 3)].count(True) for c in (0, 2))
    ]


def test_batches_are_cut_from_the_first_row(tmp_path, model, monkeypatch) -> None:
    """With room for two rasters at a time the vectors have the same bits."""
    whole = embed(tmp_path / "a", model)
    monkeypatch.setattr(stage, "BATCH", 2)
    np.testing.assert_array_equal(embed(tmp_path / "b", model).read("embedding"), whole.read("embedding"))


# ---- nothing to embed


@pytest.mark.parametrize(("kept", "min_locs"), [([0, 0, 0, 0], 50), (KEPT, 100_000)])
def test_without_rows_the_network_is_not_loaded(tmp_path, model, monkeypatch, kept, min_locs) -> None:
    config = settle(Config(embed=EmbedConfig(model=str(model), min_locs=min_locs))).config
    keep_copy(model, tmp_path / "a" / "models", name=config.embed.model, sha256=config.embed.sha256)
    monkeypatch.setattr(stage, "load_model", None)
    unit = run(tmp_path / "a", config, kept=kept)
    assert unit.read("embedding").shape == (0, 24)
    assert unit.attrs["model"] == "mine"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (Config(embed=EmbedConfig(model="none")), 'No embedding was wanted (embed.model = "none").'),
        (Config(tile=TileConfig(roi_nm=1000.0)), "The shipped model embeds regions of 3000 nm, and these have 1000 nm."),
    ],
)
def test_no_model(tmp_path, config, why) -> None:
    unit = run(tmp_path, config)
    assert unit.attrs["why_none"] == why
    assert (unit.attrs["model"], unit.attrs["model_sha256"], unit.attrs["n_skipped"]) == ("", "", [0, 0])
    assert unit.read("roi").tolist() == []
    assert unit.read("embedding").shape == (0, 0)


# ---- what can be wrong at run time


def test_a_copy_that_is_damaged_or_gone(tmp_path, model) -> None:
    config = settle(Config(embed=EmbedConfig(model=str(model)))).config
    copy = keep_copy(model, tmp_path / "models", name=config.embed.model, sha256=config.embed.sha256)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(InputError, match="copy of its model is damaged") as damaged:
        run(tmp_path, config)
    assert damaged.value.path == f"models/{copy.name}"
    assert "--retry-failed" in damaged.value.mend
    copy.rename(tmp_path / "models" / "elsewhere")
    with pytest.raises(InputError, match="copy of its model is not there"):
        run(tmp_path, config)


def test_vectors_that_are_no_numbers_are_not_stored(tmp_path, model, monkeypatch) -> None:
    monkeypatch.setattr(stage, "embed_counts", lambda network, counts, **more: np.full((len(counts), NETWORK.features), np.inf, np.float32))
    with pytest.raises(InputError, match="vectors that are no numbers"):
        embed(tmp_path / "a", model)


def test_no_gpu(tmp_path, model, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match=r"stage\.embed\.gres"):
        embed(tmp_path / "a", model, device="cuda")
