"""`train pcvae OUTPUT`: from a campaign's picked particles to a model, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from smlmbatch.campaign import load_plan
from smlmbatch.methods.model import load_model
from smlmbatch.methods.pcvae.infer import encode
from smlmbatch.methods.pcvae.stored import campaign_particles
from smlmbatch.run import collect
from smlmbatch.upkeep import standing
from tests.in_process import call
from tests.pick.structures import pore

SETTINGS = '[tile]\noutline = "field"\nroi_nm = 1000.0\n[cluster]\nmethod = "dbscan"\neps_nm = 45.0\nmin_locs = 4\n'
SMALL = ("epochs=1", "points=24", "batch=4", "widths=[8, 8, 8]", "hidden=16", "decoded=8", "views=2")
PER_FIELD = 9


@pytest.fixture(scope="module")
def picked(tmp_path_factory) -> Path:
    """Two fields of nine pores each, with photons."""
    folder = tmp_path_factory.mktemp("pores")
    grid = np.stack(np.meshgrid(*[np.arange(3) * 600.0 + 400.0] * 2), axis=-1).reshape(-1, 2)
    (folder / "input").mkdir()
    for field in range(2):
        rng = np.random.default_rng(field)
        xy_nm = np.concatenate([pore(rng, labelling=0.8) + at for at in grid])
        rows = [f"{x:.3f},{y:.3f},{n:.1f}" for (x, y), n in zip(xy_nm, rng.uniform(500, 5000, len(xy_nm)), strict=True)]
        (folder / "input" / f"field{field}.csv").write_text("\n".join(["x_nm,y_nm,photons", *rows]) + "\n")
    (folder / "settings.toml").write_text(SETTINGS)
    call("plan", folder / "input", folder / "out", "--config", folder / "settings.toml")
    call("pick", folder / "out", "--from", "cluster", "--fewest-locs", "25", "--least-gyration-nm", "30")
    return folder / "out"


def particles_of(output: Path):
    plan = load_plan(output)
    return campaign_particles(collect(plan, standing(plan, trust_cache=True)))


def test_model_of_a_campaigns_particles(picked, tmp_path):
    particles = particles_of(picked)
    assert len(particles) == 2 * PER_FIELD
    assert list(particles.extras) == ["photons"]
    assert particles.extras["photons"].min() >= 500
    distance = np.linalg.norm(particles.points_nm, axis=1)
    assert 40 < np.median(distance) < 70, "about their own centres"
    changes = [word for change in SMALL for word in ("--set", change)]
    model = tmp_path / "m"
    call("train", "pcvae", picked, "--out", model, "--extra", "photons", "--judge-seeds", "1", "--device", "cpu", *changes)
    found = load_model(model)
    assert found.config.particles == particles.sha256
    assert found.config.photons[0] == pytest.approx(np.log(particles.extras["photons"]).mean(), rel=1e-5)
    assert encode(found.network, particles).shape == (2 * PER_FIELD, 8)
    assert "| latents |" in (model / "card.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("pcvae",), "pcvae learns from particles"),
        (("contrastive", "OUTPUT"), "are for pcvae"),
        (("miro", "--extra", "photons"), "are for pcvae"),
        (("pcvae", "OUTPUT", "--channel", "3"), "has no particles of channel 3"),
        (("pcvae", "OUTPUT", "--extra", "background"), "don't tell background"),
        (("pcvae", "OUTPUT", "--blinking", "yes"), "are for miro"),
    ],
)
def test_what_makes_no_sense_is_refused(picked, tmp_path, arguments, finding):
    words = [picked if word == "OUTPUT" else word for word in arguments]
    assert finding in call("train", *words, "--out", tmp_path / "m", expect=2)[1]
    assert not (tmp_path / "m").exists()
