"""The stage on fields of known clusters, by both methods: labels, rows of clusters, regions, fields with next to nothing in them."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from smlmbatch.cluster import stage
from smlmbatch.config import ClusterConfig, Config
from smlmbatch.errors import InputError
from smlmbatch.methods.folders import model_sha256
from smlmbatch.methods.miro.blocks import MiroBlocks
from smlmbatch.methods.miro.context import N_HINT
from smlmbatch.methods.miro.graph import UNIT_NM
from smlmbatch.samples import Field
from smlmbatch.simulate.cluster_shapes import SHAPES
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import Sources
from tests.cluster.fields import FIELD, Blobs, draw_blobs, make_unit, still_model, write_field

DBSCAN = Config(cluster=ClusterConfig(method="dbscan", eps_nm=24.0, min_locs=4))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return still_model(tmp_path_factory.mktemp("models") / "still", classes=7)


def by_miro(model: Path, **settings: object) -> Config:
    return Config(cluster=ClusterConfig(model=str(model), **settings))


def configs(model: Path) -> dict[str, tuple[Config, Path | None]]:
    return {"dbscan": (DBSCAN, None), "miro": (by_miro(model), model)}


def true_numbers(blobs: Blobs) -> np.ndarray:
    """Number of every loc's blob in the order of channels, then of first rows; -1 for strays."""
    numbers = {}
    for channel in np.unique(blobs.channel):
        for blob in blobs.blob[(blobs.channel == channel) & (blobs.blob >= 0)].tolist():
            numbers.setdefault(blob, len(numbers))
    return np.array([numbers.get(blob, -1) for blob in blobs.blob.tolist()])


@pytest.mark.parametrize("method", ["dbscan", "miro"])
@pytest.mark.parametrize("axes", [2, 3])
def test_blobs_of_two_channels(tmp_path, model, method, axes) -> None:
    """Every loc has its blob's number; every number in the table is that of a formula applied to the blob's locs alone."""
    blobs = draw_blobs(channels=(0, 2), axes=axes)
    units, (config, own) = write_field(tmp_path, blobs), configs(model)[method]
    with make_unit(tmp_path / "c", units, config, model=own) as unit, UnitReader(units["ingest"]) as ingest:
        truth = true_numbers(blobs)
        assert unit.read("label").tolist() == truth[ingest.read("row")].tolist()
        assert unit.read("cluster_channel").tolist() == [0] * 16 + [2] * 16
        assert unit.attrs["n_clustered"] == [int(((blobs.channel == c) & (blobs.blob >= 0)).sum()) for c in (0, 2)]
        rows = {name: unit.read(name) for name in ("n_locs", "x_nm", "y_nm", "z_nm", "radius_of_gyration_nm", "area_nm2", "nearest_nm")}
        middles = np.array([blobs.xyz_nm[truth == k].mean(axis=0, dtype=np.float64) for k in range(32)])
        for k in range(32):
            locs = blobs.xyz_nm[truth == k].astype(np.float64)
            assert rows["n_locs"][k] == len(locs)
            np.testing.assert_allclose([rows["x_nm"][k], rows["y_nm"][k]], middles[k, :2], rtol=1e-9)
            plane = locs[:, :2] - middles[k, :2]
            assert rows["radius_of_gyration_nm"][k] == pytest.approx(np.sqrt((plane**2).sum(axis=1).mean()), rel=1e-6)
            assert rows["area_nm2"][k] == pytest.approx(ConvexHull(locs[:, :2]).volume, rel=1e-6)
            others = [j for j in range(32) if j // 16 == k // 16 and j != k]
            assert rows["nearest_nm"][k] == pytest.approx(np.linalg.norm(middles[others] - middles[k], axis=1).min(), rel=1e-6)
        assert np.isnan(rows["z_nm"]).all() if axes == 2 else np.allclose(rows["z_nm"], middles[:, 2], rtol=1e-6, atol=1e-4)
        assert (unit.read("parent") == -1).all()
        assert unit.attrs["warnings"] == [] or method == "miro"
        assert unit.has("belonging") == (method == "miro")


@pytest.mark.parametrize("method", ["miro", "dbscan"])
def test_localisations_without_z(tmp_path, model, method) -> None:
    """A channel without any lies in the plane; of another, DBSCAN can't place the few that have none. A mean is that of what is known."""
    blobs, (config, own) = draw_blobs(channels=(0, 1), axes=3), configs(model)[method]
    lost = (blobs.channel == 1) | (np.arange(len(blobs.blob)) % 9 == 0)
    xyz_nm = blobs.xyz_nm.copy()
    xyz_nm[lost, 2] = np.nan
    units = write_field(tmp_path, Blobs(xyz_nm, blobs.channel, blobs.blob))
    with UnitReader(units["ingest"]) as ingest, make_unit(tmp_path / "c", units, config, model=own) as unit:
        row, label = ingest.read("row"), unit.read("label")
        outside = lost[row] & (blobs.channel[row] == 0) if method == "dbscan" else np.zeros(len(row), bool)
        assert ((label == -1) == (outside | (blobs.blob[row] == -1))).all()
        assert len(set(zip(label[label >= 0], blobs.blob[row][label >= 0], strict=True))) == unit.length("z_nm") == 32
        flat = unit.read("cluster_channel") == 1
        assert np.isnan(unit.read("z_nm")[flat]).all()
        expected = [np.nanmean(xyz_nm[row, 2][label == k]) for k in np.flatnonzero(~flat)]
        np.testing.assert_allclose(unit.read("z_nm")[~flat], expected, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(unit.read("nearest_nm")[flat], 500, atol=15)


def test_regions_hold_clusters_and_their_locs(tmp_path) -> None:
    blobs = draw_blobs(channels=(0, 2))
    units = write_field(tmp_path, blobs)
    with make_unit(tmp_path / "c", units, DBSCAN) as unit:
        square = (unit.read("x_nm") // 1000 + 2 * (unit.read("y_nm") // 1000)).astype(int)
        assert unit.read("roi").tolist() == np.where(square == 2, -1, square).tolist(), "the third region was dropped"
        counts = np.zeros((4, 2), int)
        place = (blobs.xyz_nm[:, 0] // 1000 + 2 * (blobs.xyz_nm[:, 1] // 1000)).astype(int)
        np.add.at(counts, (place[blobs.blob >= 0], (blobs.channel[blobs.blob >= 0] == 2).astype(int)), 1)
        assert unit.read("roi_n_clustered").tolist() == counts.tolist()


def test_what_the_network_says(tmp_path, model) -> None:
    """A network that moves nothing, is sure to 0.993, and tells the third shape of all."""
    blobs = draw_blobs()
    units = write_field(tmp_path, blobs)
    with make_unit(tmp_path / "c", units, by_miro(model), model=model) as unit, UnitReader(units["ingest"]) as ingest:
        np.testing.assert_allclose(unit.read("contracted_x_nm"), ingest.read("x_nm"), atol=1e-3)
        np.testing.assert_allclose(unit.read("contracted_y_nm"), ingest.read("y_nm"), atol=1e-3)
        np.testing.assert_allclose(unit.read("belonging"), 1 / (1 + np.exp(-5.0)), rtol=1e-6)
        np.testing.assert_allclose(unit.read("belonging_mean"), 1 / (1 + np.exp(-5.0)), rtol=1e-6)
        assert unit.attrs["shapes"] == list(SHAPES)
        assert (unit.read("shape") == 2).all()
        assert (unit.read("shape_share") == 1.0).all()
        names = ("method", "model", "model_sha256", "why_none", "channels", "with_parents")
        assert [unit.attrs[name] for name in names] == ["miro", "still", model_sha256(model), "", [0], False]


def test_copy_numbers_and_locs_per_spot(tmp_path) -> None:
    units = write_field(tmp_path, draw_blobs())
    config = Config(cluster=ClusterConfig(method="dbscan", eps_nm=24.0, min_locs=4, calibration_locs_per_molecule=4.0))
    with make_unit(tmp_path / "a", units, config) as unit, make_unit(tmp_path / "b", units, DBSCAN) as without:
        n_locs = unit.read("n_locs")
        assert unit.read("n_molecules").tolist() == (n_locs / 4).tolist()
        (fit,) = unit.attrs["locs_per_spot"]
        assert (fit["n_clusters"], fit["least"]) == (16, n_locs.min())
        assert fit["mean"] == pytest.approx((n_locs - n_locs.min()).mean() + 1)
        assert np.isnan(without.read("n_molecules")).all()


def test_no_clusters_wanted(tmp_path) -> None:
    with make_unit(tmp_path / "c", write_field(tmp_path, draw_blobs()), Config(cluster=ClusterConfig(method="none"))) as unit:
        assert (unit.read("label") == -1).all()
        assert unit.length("n_locs") == 0
        assert unit.attrs["channels"] == []
        assert unit.attrs["why_none"] == 'No clusters were wanted (cluster.method = "none").'
        assert unit.read("roi_n_clustered").shape == (4, 0)


# ---- next to nothing

EMPTY = {
    "no locs": (np.empty((0, 2)), "The field has 0 localisations, too few to look for clusters."),
    "two locs": (np.array([[3.0, 3], [4, 4]]), "The field has 2 localisations, too few to look for clusters."),
    "three on a line": (np.array([[0.0, 0], [400, 400], [800, 800]]), "The field has no clusters."),
    "three apart": (np.array([[0.0, 0], [400, 0], [800, 800]]), "The field has no clusters."),
}


@pytest.mark.parametrize("method", ["dbscan", "miro"])
@pytest.mark.parametrize("name", EMPTY)
def test_fields_without_clusters(tmp_path, model, method, name) -> None:
    (xy_nm, sentence), (config, own) = EMPTY[name], configs(model)[method]
    blobs = Blobs(xy_nm.astype(np.float32), np.zeros(len(xy_nm), int), np.full(len(xy_nm), -1))
    with make_unit(tmp_path / "c", write_field(tmp_path, blobs), config, model=own) as unit:
        assert unit.read("label").tolist() == [-1] * len(xy_nm)
        assert unit.length("n_locs") == 0
        assert sentence in unit.attrs["warnings"]
        assert unit.attrs["n_clustered"] == [0]
        assert unit.attrs["locs_per_spot"] == [None]


ODD = {
    "forty at one place": np.full((40, 2), 77.0),
    "forty on a line": np.column_stack([np.linspace(0, 200, 40), np.linspace(0, 100, 40)]),
    "pairs of duplicates": np.repeat(np.random.default_rng(0).uniform(0, 20, (20, 2)), 2, axis=0),
}


@pytest.mark.parametrize("method", ["dbscan", "miro"])
@pytest.mark.parametrize("name", ODD)
def test_odd_fields_are_one_cluster(tmp_path, model, method, name) -> None:
    xy_nm, (config, own) = ODD[name].astype(np.float32), configs(model)[method]
    blobs = Blobs(xy_nm, np.zeros(40, int), np.zeros(40, int))
    with make_unit(tmp_path / "c", write_field(tmp_path, blobs), config, model=own) as unit:
        assert unit.read("label").tolist() == [0] * 40
        assert unit.read("n_locs").tolist() == [40]
        assert np.isnan(unit.read("area_nm2")[0]) == (name != "pairs of duplicates")
        assert np.isnan(unit.read("nearest_nm")).all()
        np.testing.assert_allclose(unit.read("radius_of_gyration_nm")[0], np.sqrt(xy_nm.astype(float).var(axis=0).sum()), atol=1e-3)


def test_a_channel_without_locs_enough(tmp_path, model) -> None:
    blobs = draw_blobs()
    xy_nm = np.concatenate([blobs.xyz_nm, [[20.0, 20], [900, 900]]]).astype(np.float32)
    both = Blobs(xy_nm, np.r_[blobs.channel, 3, 3], np.r_[blobs.blob, -1, -1])
    for method, (config, own) in configs(model).items():
        with make_unit(tmp_path / method, write_field(tmp_path, both), config, model=own) as unit:
            assert unit.attrs["channels"] == [0, 3]
            assert unit.attrs["warnings"][0] == "Channel 3 has 2 localisations, too few to look for clusters."
            assert unit.attrs["n_clustered"] == [int((blobs.blob >= 0).sum()), 0]
            assert unit.read("cluster_channel").tolist() == [0] * 16


# ---- what the network is told


def sources(folder: Path, units: dict[str, Path], config: Config, field: Field = FIELD) -> Sources:
    return Sources(
        field=field,
        config=config,
        upstream={name: UnitReader(path) for name, path in units.items()},
        memory_bytes=1 << 28,
        models=folder / "models",
    )


def told(tmp_path: Path, *, blinking: str, precision_nm: np.ndarray | None, config: Config, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the stage gives the blocks."""
    heard: dict = {}

    class Hears:
        def __init__(self, unit, **given) -> None:
            heard.update(given)

    monkeypatch.setattr("smlmbatch.methods.miro.blocks.MiroBlocks", Hears)
    units = write_field(tmp_path, draw_blobs(), precision_nm=precision_nm)
    stage.blocks(sources(tmp_path, units, config, Field(path="a.csv", name="a", condition="c", replicate="r", blinking=blinking)))
    return heard


def test_blinking_and_errors(tmp_path, monkeypatch) -> None:
    """The sheet's word, and the median of the precisions that are known."""
    n = len(draw_blobs().blob)
    precision_nm = np.where(np.arange(n) % 3 == 0, np.nan, 14.0)
    heard = told(tmp_path, blinking="yes", precision_nm=precision_nm, config=Config(), monkeypatch=monkeypatch)
    (taken,) = heard["taken"]
    np.testing.assert_allclose(taken, [1, 1, 1, np.log(1.4)], rtol=1e-6)
    assert heard["hint"] is None
    for blinking, expected in {"no": [1, 0, 0, 0], "": [0, 0, 0, 0]}.items():
        heard = told(tmp_path, blinking=blinking, precision_nm=precision_nm, config=Config(), monkeypatch=monkeypatch)
        assert heard["taken"][0].tolist() == expected
    heard = told(tmp_path, blinking="yes", precision_nm=None, config=Config(), monkeypatch=monkeypatch)
    assert heard["taken"][0].tolist() == [1, 1, 0, 0]


def test_a_users_hint(tmp_path, monkeypatch) -> None:
    config = Config(cluster=ClusterConfig(cluster_radius_nm=50.0, locs_per_cluster=300.0))
    hint = told(tmp_path, blinking="", precision_nm=None, config=config, monkeypatch=monkeypatch)["hint"]
    assert hint.shape == (N_HINT,)
    np.testing.assert_allclose(hint[[0, 1, 3]], [1, np.log(50 / UNIT_NM), np.log(300 / 30)], atol=0.01)


def test_a_hint_that_a_model_never_learned_is_told_of(tmp_path) -> None:
    deaf = still_model(tmp_path / "deaf", hint_share=0.0)
    units = write_field(tmp_path, draw_blobs())
    with make_unit(tmp_path / "c", units, by_miro(deaf, cluster_radius_nm=50.0, locs_per_cluster=30.0), model=deaf) as unit:
        assert any("cluster_radius_nm and locs_per_cluster are not used" in sentence for sentence in unit.attrs["warnings"])


# ---- blocks


class Backwards:
    """A team of two that hold no memory in common, the last block first."""

    def __init__(self, make) -> None:
        self.make, self.count = make, 0

    def gather(self, blocks):
        self.count = blocks.count
        return [self.make().compute(number) for number in reversed(range(blocks.count))][::-1]


def test_blocks_from_anywhere_in_any_order(tmp_path, model, monkeypatch) -> None:
    def small(unit, **given) -> MiroBlocks:
        return MiroBlocks(unit, most_locs=100, **given)

    monkeypatch.setattr("smlmbatch.methods.miro.blocks.MiroBlocks", small)
    units, config = write_field(tmp_path, draw_blobs(per_side=6)), by_miro(model)
    with make_unit(tmp_path / "a", units, config, model=model) as alone:
        from smlmbatch.methods.chosen import settle

        team = Backwards(lambda: stage.blocks(sources(tmp_path / "a", units, settle(config).config)))
        with make_unit(tmp_path / "b", units, config, model=model, team=team) as shared:
            assert team.count > 4
            assert shared.digest == alone.digest


def test_a_copy_that_is_not_there(tmp_path, model) -> None:
    with pytest.raises(InputError, match="copy of its model is not there") as refused:
        make_unit(tmp_path / "c", write_field(tmp_path, draw_blobs()), by_miro(model))
    assert "--cluster-model" in refused.value.mend
