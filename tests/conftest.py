"""What tests across rooms share: the command line as a user runs it, a small simulated campaign, the real data."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

# No test fails for being slow: machines that run them are busy. The same examples in every run, unless SMLMBATCH_EXPLORE asks for new ones.
hypothesis.settings.register_profile("untimed", deadline=None, derandomize=not os.environ.get("SMLMBATCH_EXPLORE"))
hypothesis.settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]


def smlmbatch(*arguments, expect=0, **options):
    """Run the command line in a process of its own; fails the test on another exit code than `expect` (None = any)."""
    command = [sys.executable, "-m", "smlmbatch", *map(os.fspath, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, check=False, **options)
    assert expect in (done.returncode, None), f"{arguments} ended with {done.returncode}, not {expect}:\n{done.stdout}\n{done.stderr}"
    return done


def digest(output):
    """The digest of a campaign's digest set, recomputed from what is stored."""
    return smlmbatch("verify", output).stdout.split()[0]


def units_made(done):
    """How many units a run made, by its own telling."""
    return sum(line.split()[1:2] != ["FAILED"] and " rows " in line for line in done.stderr.splitlines())


@pytest.fixture(scope="session")
def small_campaign(tmp_path_factory):
    """Input folder of a simulated campaign: 2 conditions x 2 replicates, two formats, ~1,500 locs a field."""
    folder = tmp_path_factory.mktemp("small")
    smlmbatch("simulate", folder, "--replicates", "2", "--cell-um", "7", "--density", "40")
    return folder / "input"


@pytest.fixture(scope="session")
def small_output(small_campaign, tmp_path_factory):
    """OUTPUT of an uninterrupted run of the small campaign; not to be changed."""
    output = tmp_path_factory.mktemp("small-out") / "out"
    smlmbatch("run", small_campaign, output)
    return output


@pytest.fixture(scope="session")
def pores(tmp_path_factory):
    """Input folder of simulated pores that files call groups, 30 of condition a and 30 of b; `settings.toml` lies beside it."""
    from tests.order.drawn import write_campaign

    return write_campaign(tmp_path_factory.mktemp("pores"))


@pytest.fixture(scope="session")
def ordered_output(pores, tmp_path_factory):
    """OUTPUT of an uninterrupted run of these pores; not to be changed."""
    output = tmp_path_factory.mktemp("ordered") / "out"
    smlmbatch("run", pores, output, "--config", pores.parent / "settings.toml")
    return output


@pytest.fixture
def small_copy(small_campaign, tmp_path):
    """A copy of the small campaign's input that a test may spoil; same relative paths, so the same digest."""
    return Path(shutil.copytree(small_campaign, tmp_path / "input"))


@pytest.fixture(scope="session")
def data_folder():
    """Real localisation files, where they are present (`$SMLMBATCH_DATA` or ../shared/data)."""
    folder = Path(os.environ.get("SMLMBATCH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SMLMBATCH_DATA")
    return folder
