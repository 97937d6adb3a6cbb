"""One SLURM cluster for all tests of a session, and what is sent to it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import digest, smlmbatch
from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running cluster of three nodes with two cores and two fake GPUs each."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def healed_slurm(slurm):
    """The same cluster, for a test that breaks nodes or leaves jobs behind: jobs cancelled and nodes brought back afterwards."""
    yield slurm
    slurm.heal()


# ---- campaigns to send to it


@dataclass(frozen=True)
class Inputs:
    """Simulated inputs. Fields of `small` and `forty` take 0.1 s a stage; those of `heavy` and `long` 2 to 3 s to measure with `config`."""

    small: Path
    forty: Path
    heavy: Path
    long: Path
    config: Path


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    heavy = ("--cell-um", "7", "--conditions", "csr")
    smlmbatch("simulate", folder / "small", "--replicates", "4", "--cell-um", "7", "--density", "40")
    smlmbatch("simulate", folder / "forty", "--replicates", "5", "--fields", "4", "--cell-um", "7", "--density", "700")
    smlmbatch("simulate", folder / "heavy", "--replicates", "3", "--density", "1800", *heavy)
    smlmbatch("simulate", folder / "long", "--replicates", "10", "--density", "2200", *heavy)
    # Ripley's K of all pairs of a region: seconds of honest work on little data.
    config = folder / "config.toml"
    config.write_text("[tile]\nmin_coverage = 0.4\n[measure]\nripley_max_locs = 1000000\nripley_max_nm = 2900.0\n")
    return Inputs(*(folder / name / "input" for name in ("small", "forty", "heavy", "long")), config)


@pytest.fixture(scope="session")
def tiled(inputs, tmp_path_factory):
    """INPUT → a copy of its OUTPUT in which only measuring is left to do."""
    made = {}

    def copy(source, output):
        if source not in made:
            made[source] = tmp_path_factory.mktemp("tiled") / "out"
            smlmbatch("plan", source, made[source], "--config", inputs.config)
            smlmbatch("tile", made[source])
        shutil.copytree(made[source], output)
        return output

    return copy


@pytest.fixture(scope="session")
def reference(inputs, tmp_path_factory):
    """INPUT → the digest of a local, undisturbed run."""
    known = {}

    def look_up(source):
        if source not in known:
            output = tmp_path_factory.mktemp("reference") / "out"
            config = ("--config", inputs.config) if source in (inputs.heavy, inputs.long) else ()
            smlmbatch("run", source, output, *config)
            known[source] = digest(output)
        return known[source]

    return look_up
