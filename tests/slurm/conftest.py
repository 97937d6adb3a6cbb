"""One SLURM cluster for all tests of a session."""

import pytest

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
