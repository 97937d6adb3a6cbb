"""Files in, particles out: the verb and its options, tables, rows of the files, parts, and what stays as it was."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.store.arrays import UnitReader
from smlmbatch.store.particles import particle_batches
from tests.in_process import call, digest, fresh, unit_of, units_made
from tests.pick.structures import pore, spot

PER_FIELD, OFFSET_NM = 9, 40_000.0
PICK = ("--from", "cluster", "--fewest-locs", "25", "--least-gyration-nm", "30")


def centres_nm(field: int) -> np.ndarray:
    """Of the pores of a field, in the file's frame: a grid, a little shaken."""
    grid = np.stack(np.meshgrid(*[np.arange(3) * 600.0 + 400.0] * 2), axis=-1).reshape(-1, 2)
    return grid + np.random.default_rng(field).uniform(-40, 40, grid.shape) + OFFSET_NM


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    """Two conditions of two fields; pores of which every other one is half, small spots between them, and a thin background."""
    folder = tmp_path_factory.mktemp("pores") / "input"
    for field in range(4):
        rng = np.random.default_rng(100 + field)
        pores = [pore(rng, corners=range(8 if i % 2 else 5), labelling=0.8) + at for i, at in enumerate(centres_nm(field))]
        spots = [spot(rng, molecules=6, sigma_nm=4.0) + at + [300, 300] for at in centres_nm(field)]
        x_nm, y_nm = rng.permutation(np.concatenate([*pores, *spots, rng.uniform(0, 2000, (40, 2)) + OFFSET_NM])).T
        path = folder / ("a", "b")[field // 2] / f"field{field}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{x:.3f},{y:.3f}" for x, y in zip(x_nm, y_nm, strict=True)]
        path.write_text("\n".join(["x_nm,y_nm", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "settings.toml"
    path.write_text('[tile]\noutline = "field"\nroi_nm = 1000.0\n[cluster]\nmethod = "dbscan"\neps_nm = 45.0\nmin_locs = 4\n')
    return path


@pytest.fixture(scope="module")
def picked(campaign, settings, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("picked") / "out"
    call("plan", campaign, output, "--config", settings)
    call("pick", output, *PICK)
    call("order", output)
    call("report", output)
    return output


def test_particles_of_a_campaign(picked) -> None:
    """Each pore is found once, its centre within 12 nm although some are cut; spots aren't taken."""
    table = pq.ParquetFile(picked / "tables" / "particles.parquet").read()
    assert set(table["condition"].to_pylist()) == {"a", "b"}
    assert set(table["centre_by"].to_pylist()) == {"circle"}
    for number, field in enumerate(load_plan(picked).fields):
        own = table.filter([key == field.key for key in table["key"].to_pylist()])
        found_nm = np.stack([own["x_nm"].to_numpy(), own["y_nm"].to_numpy()], axis=1)
        away_nm = np.linalg.norm(found_nm[:, None] - centres_nm(number)[None], axis=2)
        assert sorted(away_nm.argmin(axis=1)) == list(range(PER_FIELD))
        assert away_nm.min(axis=1).max() < 12
        assert own["particle"].to_pylist() == list(range(PER_FIELD))
        assert np.median(own["radius_nm"].to_numpy()) == pytest.approx(55, abs=4)


def test_points_go_back_to_the_rows_of_the_file(picked, campaign) -> None:
    with UnitReader(unit_of(picked, "pick", number=1)) as pick, UnitReader(unit_of(picked, "ingest", number=1)) as ingest:
        field = load_plan(picked).fields[1]
        written_nm = np.loadtxt(campaign / field.path, delimiter=",", skiprows=1)[ingest.read("row")[pick.read("loc")]]
        assert pick.attrs["dropped"]["too few locs"] + pick.attrs["dropped"]["too small"] > 0
        points_nm = [
            batch.points_nm[batch.present] + np.repeat(batch.centre_nm, batch.present.sum(axis=1), axis=0)
            for batch in particle_batches(pick, field=field.key, most_places=200)
        ]
        assert len(points_nm) > 1
        assert np.concatenate(points_nm) + ingest.attrs["origin_nm"] == pytest.approx(written_nm, abs=0.01)


def test_parts_give_the_same(picked, campaign, settings, tmp_path) -> None:
    output = tmp_path / "out"
    stated = tmp_path / "settings.toml"
    stated.write_text(f"{settings.read_text()}[pick]\nmin_locs = 25\nmin_gyration_nm = 30.0\n")
    call("plan", campaign, output, "--config", stated, "--pick", "cluster")
    for part in ("2/3", "3/3", "1/3"):
        call("pick", output, "--part", part)
    call("order", output)
    call("report", output)
    assert digest(output) == digest(picked)


def test_other_settings_make_only_particles_again(campaign, settings, tmp_path) -> None:
    output = tmp_path / "out"
    call("plan", campaign, output, "--config", settings, "--pick", "none")
    call("pick", output)
    assert all("pick" in stages for stages in fresh(output).values())
    with UnitReader(unit_of(output, "pick")) as unit:
        assert (unit.attrs["source"], unit.length("channel")) == ("none", 0)
        assert "pick.source" in unit.attrs["why_none"]
    _, told = call("pick", output, *PICK)
    assert units_made(told) == 4
    _, told = call("pick", output)
    assert units_made(told) == 0
    assert load_plan(output).config.pick.min_gyration_nm == 30.0
    _, told = call("pick", output, "--from", "none")
    assert units_made(told) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((*PICK, "--part", "1/2"), "say new settings by `smlmbatch pick OUTPUT …` alone"),
        (("--from", "cluster", "--shape", "ring"), 'clusters of cluster.method = "dbscan" have no shapes'),
        (("--from", "cluster", "--most-locs", "5"), "pick.max_locs = 5: wanted pick.min_locs or more"),
        ((*PICK, "--centre", "area", "--field", "nobody"), "nobody"),
        (("--margin-nm", "-1"), "pick.margin_nm = -1.0: wanted a length in nm, or 0"),
    ],
)
def test_refusals_change_nothing(picked, arguments, reason) -> None:
    before = (picked / "config.toml").read_text()
    _, told = call("pick", picked, *arguments, expect=2)
    assert reason in told
    assert (picked / "config.toml").read_text() == before


def test_particles_need_clusters(campaign, tmp_path) -> None:
    _, told = call("plan", campaign, tmp_path / "out", "--cluster-method", "none", "--pick", "cluster", expect=2)
    assert 'cluster.method = "miro" or "dbscan" beside it' in told
