"""The stage on a small field: rows, their order and their values against the locs counted and measured here."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull, cKDTree
from sklearn.cluster import DBSCAN

from smlmbatch.config import Config, MeasureConfig
from smlmbatch.errors import ConfigError
from smlmbatch.measure import stage
from smlmbatch.samples import Field
from smlmbatch.store.arrays import UnitReader, unit_writer
from smlmbatch.store.schema import SCHEMA
from smlmbatch.work import Work

TILE_NM, ROI_NM = 1000.0, 3000.0
FIELD = Field(path="ctrl/FOV1.csv", name="FOV1.csv", condition="ctrl", replicate="FOV1.csv", format="generic")
ORIGINS_NM = np.array([[0.0, 0], [3000, 0], [0, 3000], [3000, 3000]])
COVERAGE = np.array([1.0, 0.95, 0.3, 0.9])


def field_locs() -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 2) and channels: discs of 12 locs in channel 0, the last region without a loc of channel 2."""
    rng = np.random.default_rng(8)
    discs = rng.uniform(200, 5800, (40, 1, 2)) + rng.normal(0, 8, (40, 12, 2))
    spread = rng.uniform(0, 6000, (900, 2))
    xy_nm = np.concatenate([discs.reshape(-1, 2), spread, [[3000.0, 10.0], [2999.9998, 20.0]]]).astype(np.float32)
    channel = np.r_[np.zeros(480, int), rng.choice([0, 2], 900), 2, 2]
    channel[(channel == 2) & (xy_nm >= 3000).all(axis=1)] = 0
    return xy_nm, channel


def write_ingest(path: Path) -> UnitReader:
    xy_nm, channel = field_locs()
    column, row = np.floor(xy_nm / TILE_NM).astype(int).T
    tile = row * 6 + column
    order = np.argsort(tile, kind="stable")
    with unit_writer(path, "ingest") as out:
        for name, values in {"x_nm": xy_nm[:, 0], "y_nm": xy_nm[:, 1], "channel": channel, "row": np.arange(len(tile))}.items():
            out.write(name, values[order])
        out.write("tile_start", np.searchsorted(tile[order], np.arange(37)))
        out.attrs.update(tile_nm=TILE_NM, tile_grid=[6, 6], origin_nm=[0.0, 0.0])
    return UnitReader(path)


def write_tile(path: Path, kept: list[int]) -> UnitReader:
    n = len(ORIGINS_NM)
    arrays = {"roi_origin_nm": ORIGINS_NM, "roi_coverage": COVERAGE, "roi_kept": np.array(kept), "roi_n_locs": np.zeros((n, 2))}
    with unit_writer(path, "tile") as out:
        for name, spec in SCHEMA["tile"].items():
            shape = tuple({"roi": n, "axis": 2}.get(dim, 1) for dim in spec.dims)
            out.write(name, arrays.get(name, np.zeros(shape)))
        out.attrs.update(channels=[0, 2], roi_nm=ROI_NM)
    return UnitReader(path)


def measure(
    folder: Path, kept: list[int], config: MeasureConfig | None = None, *, field: Field = FIELD, memory_bytes: int = 1 << 28
) -> UnitReader:
    """The unit that the stage makes of the field with these regions kept."""
    folder.mkdir()
    upstream = {"ingest": write_ingest(folder / "i.zip"), "tile": write_tile(folder / "t.zip", kept)}
    with unit_writer(folder / "m.zip", "measure") as out:
        stage.run(
            Work(
                field=field,
                source=folder / "unused.csv",
                outline=None,
                config=Config(measure=config or MeasureConfig()),
                upstream=upstream,
                out=out,
                scratch=folder,
                memory_bytes=memory_bytes,
            )
        )
    return UnitReader(folder / "m.zip")


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> UnitReader:
    return measure(tmp_path_factory.mktemp("stage") / "all", [1, 1, 0, 1])


def inside(roi: int, channel: int) -> np.ndarray:
    xy_nm, channels = field_locs()
    low = ORIGINS_NM[roi]
    return xy_nm[(channels == channel) & ((xy_nm >= low) & (xy_nm < low + ROI_NM)).all(axis=1)].astype(np.float64)


def test_one_row_per_kept_region_and_channel(unit: UnitReader) -> None:
    assert unit.read("roi").tolist() == [0, 0, 1, 1, 3, 3]
    assert unit.read("channel").tolist() == [0, 2, 0, 2, 0, 2]
    assert unit.read("n_locs").tolist() == [len(inside(r, c)) for r in (0, 1, 3) for c in (0, 2)]
    assert unit.read("n_locs").min() == 0


def test_density_is_per_covered_area(unit: UnitReader) -> None:
    expected = unit.read("n_locs") / (9 * COVERAGE[unit.read("roi")])
    np.testing.assert_allclose(unit.read("density_per_um2"), expected, rtol=1e-12)


def test_cluster_descriptors_against_scikit_learn(unit: UnitReader) -> None:
    for row in (0, 2, 4):
        xy_nm = inside(int(unit.read("roi")[row]), 0)
        labels = DBSCAN(eps=25, min_samples=5).fit(xy_nm).labels_
        own = [xy_nm[labels == label] for label in range(labels.max() + 1)]
        assert len(own) > 3
        assert unit.read("n_clusters")[row] == len(own)
        assert unit.read("noise_fraction")[row] == pytest.approx((labels < 0).mean())
        assert unit.read("locs_per_cluster")[row] == pytest.approx(np.mean([len(c) for c in own]))
        assert unit.read("cluster_area_nm2")[row] == pytest.approx(np.mean([ConvexHull(c).volume for c in own]))
        assert unit.read("cluster_radius_nm")[row] == pytest.approx(np.mean([np.sqrt(c.var(axis=0).sum()) for c in own]))


def test_neighbours_and_k(unit: UnitReader) -> None:
    radii_nm = unit.read("radius_nm")
    np.testing.assert_array_equal(radii_nm, np.arange(10, 751, 10))  # a quarter of the side
    xy_nm = inside(0, 0)
    nearest = cKDTree(xy_nm).query(xy_nm, k=2)[0][:, 1]
    assert unit.read("nn_mean_nm")[0] == pytest.approx(nearest.mean())
    assert unit.read("nn_median_nm")[0] == pytest.approx(np.median(nearest))
    k_nm2 = unit.read("ripley_k_nm2")[0]
    n = len(xy_nm)
    gap = np.abs(xy_nm[:, None] - xy_nm[None])[~np.eye(n, dtype=bool)]
    near = np.hypot(*gap.T) <= 20.0
    assert k_nm2[1] == pytest.approx(ROI_NM**4 / (n * (n - 1)) * (1 / (ROI_NM - gap[near]).prod(axis=1)).sum())
    excess = np.sqrt(k_nm2 / np.pi) - radii_nm
    assert unit.read("ripley_max_nm")[0] == pytest.approx(excess.max())
    assert unit.read("ripley_peak_nm")[0] == radii_nm[excess.argmax()]
    assert unit.read("ripley_n")[0] == n


def test_a_channel_without_locs_is_a_row_of_nan(unit: UnitReader) -> None:
    row = 5
    undefined = {name for name in unit.names() if name != "radius_nm" and np.isnan(unit.read(name)[row]).any()}
    assert undefined == {
        "noise_fraction",
        "locs_per_cluster",
        "cluster_area_nm2",
        "cluster_radius_nm",
        "nn_mean_nm",
        "nn_median_nm",
        "ripley_peak_nm",
        "ripley_max_nm",
        "ripley_k_nm2",
    }
    assert [unit.read(name)[row] for name in ("n_locs", "density_per_um2", "n_clusters", "ripley_n")] == [0, 0, 0, 0]


def test_attributes_say_how_it_was_measured(unit: UnitReader) -> None:
    assert unit.attrs["edge_correction"] == "translation"
    assert unit.attrs["settings"] == dataclasses.asdict(MeasureConfig())
    assert unit.attrs["units"]["ripley_k_nm2"] == "nm2"


def test_no_kept_region_is_a_unit_without_rows(tmp_path: Path) -> None:
    unit = measure(tmp_path / "none", [0, 0, 0, 0])
    assert unit.length("n_locs") == 0
    assert unit.array("ripley_k_nm2").shape == (0, 75)
    assert unit.recompute_digest() == unit.digest


def test_result_does_not_depend_on_memory_nor_on_other_regions(unit: UnitReader, tmp_path: Path) -> None:
    thinned = MeasureConfig(ripley_max_locs=100)
    assert measure(tmp_path / "again", [1, 1, 0, 1], memory_bytes=1 << 20).digest == unit.digest
    whole, alone = measure(tmp_path / "whole", [1, 1, 0, 1], thinned), measure(tmp_path / "alone", [0, 1, 0, 0], thinned)
    np.testing.assert_array_equal(whole.read("ripley_k_nm2")[2:4], alone.read("ripley_k_nm2"))


def test_dense_regions_are_thinned_by_seed_and_field(tmp_path: Path) -> None:
    config = MeasureConfig(ripley_max_locs=100)
    first = measure(tmp_path / "first", [1, 0, 0, 0], config)
    seed = measure(tmp_path / "seed", [1, 0, 0, 0], dataclasses.replace(config, seed=1))
    field = measure(tmp_path / "field", [1, 0, 0, 0], config, field=dataclasses.replace(FIELD, path="egf/FOV1.csv"))
    n_locs = first.read("n_locs")
    assert first.read("ripley_n").tolist() == np.minimum(n_locs, 100).tolist()
    assert n_locs.max() > 100
    for other in (seed, field):
        assert not np.array_equal(first.read("ripley_k_nm2"), other.read("ripley_k_nm2"))
        for name in ("n_clusters", "nn_mean_nm"):  # all locs, whatever K takes
            np.testing.assert_array_equal(first.read(name), other.read(name))


@pytest.mark.parametrize("config", [MeasureConfig(ripley_max_nm=3000), MeasureConfig(ripley_step_nm=800)])
def test_radii_that_a_region_can_not_give(tmp_path: Path, config: MeasureConfig) -> None:
    with pytest.raises(ConfigError, match=r"measure\.ripley_(max|step)_nm"):
        measure(tmp_path / "wrong", [1, 0, 0, 0], config)


def test_radii_follow_the_settings(tmp_path: Path) -> None:
    unit = measure(tmp_path / "radii", [1, 0, 0, 0], MeasureConfig(ripley_max_nm=500, ripley_step_nm=100))
    assert unit.read("radius_nm").tolist() == [100, 200, 300, 400, 500]
