"""Campaigns by Dask over nodes of a real SLURM: through `submit --dask`, a worker killed, warned of the time limit; by dask-jobqueue."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smlmbatch.hpc.hosts import expand_hosts
from tests.conftest import ROOT, digest, smlmbatch
from tests.slurm import guard
from tests.slurm.campaigns import Campaign, endings
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.slow

WORKERS = 4


class DaskCampaign(Campaign):
    """A campaign whose profile has a section [dask] with these keys."""

    def __init__(self, slurm, source, output, *, dask, **profile):
        super().__init__(slurm, source, output, **profile)
        keys = "".join(f"{key} = {value!r}\n" for key, value in dask.items()).replace("'", '"')
        self.profile.write_text(self.profile.read_text() + f"[dask]\n{keys}")


@pytest.fixture(scope="module")
def by_four(slurm, inputs, tiled, tmp_path_factory):
    """Four workers and the seat of the scheduler, on all three nodes."""
    output = tiled(inputs.heavy, tmp_path_factory.mktemp("by-four") / "out")
    campaign = DaskCampaign(slurm, inputs.heavy, output, dask={"workers": WORKERS, "nodes": 3, "memory": "1GiB"})
    campaign.submit("--dask", "--config", inputs.config)
    yield campaign
    campaign.cancel()


def lineage(pid):
    """The process of a unit, Dask's worker, its nanny."""
    return [pid, guard.parent_of(pid), guard.parent_of(guard.parent_of(pid))]


def test_four_workers_over_nodes_one_of_them_killed(slurm, inputs, reference, by_four):
    campaign, folder = by_four, by_four.output / "jobs" / "0001"
    victim = wait_until(lambda: campaign.at_work("measure"), timeout_s=180, what=lambda: campaign.log("dask") + slurm.describe())[0]
    (meeting,) = [path for path in folder.glob("dask-*") if re.fullmatch(r"dask-\d+-0\.json", path.name)]
    assert meeting.stat().st_mode & 0o777 == 0o600
    unit, worker, nanny = lineage(victim.pid)
    assert b"worker" in Path(f"/proc/{nanny}/cmdline").read_bytes().split(b"\0")
    for pid in (nanny, worker, unit):
        os.kill(pid, signal.SIGKILL)
    tasks = campaign.wait_end(timeout_s=400)
    said = campaign.log("dask")
    assert endings(tasks["dask"] + tasks["report"]) == {("COMPLETED", 0): 2}, said
    (job,) = tasks["dask"]
    assert job.restarts == 0, "a lost worker costs no restart"
    assert len(expand_hosts(job.node)) == 3
    assert said.count(" for tls://") == WORKERS
    assert said.count("has left") == WORKERS - 1
    assert digest(campaign.output) == reference(inputs.heavy)
    assert {record.field for record in campaign.records("0001") if record.stage == "measure"} >= {victim.errand.key.field}
    assert campaign.failed() == []
    assert not list(folder.glob("dask-*"))
    smlmbatch("clean", campaign.output)
    assert campaign.remains() == []


JOBQUEUE = """
import subprocess, sys
from dask_jobqueue import SLURMCluster

if __name__ == "__main__":
    source, output, folder = sys.argv[1:]
    with SLURMCluster(
        cores=1, processes=1, memory="1GiB", walltime="00:10:00", interface="lo", local_directory=folder, log_directory=folder,
        worker_extra_args=["--lifetime", "9m", "--lifetime-stagger", "30s"], scheduler_options={"dashboard_address": ":0"},
    ) as cluster:
        cluster.scale(jobs=2)
        command = [sys.executable, "-m", "smlmbatch", "run", source, output, "--scheduler", cluster.scheduler_address]
        sys.exit(subprocess.run(command).returncode)
"""


def test_a_cluster_of_dask_jobqueue(slurm, inputs, reference, tmp_path):
    """The recipe of docs/cluster.md."""
    pytest.importorskip("dask_jobqueue", reason="the optional extra `jobqueue` is not installed")
    script = tmp_path / "by_jobqueue.py"
    script.write_text(JOBQUEUE)
    command = [sys.executable, script, inputs.small, tmp_path / "out", tmp_path]
    environ = slurm.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digest(tmp_path / "out") == reference(inputs.small)
    jobs = [job for job in slurm.jobs() if job.name.startswith("dask-worker")]
    assert len(jobs) == 2


def test_job_that_is_warned_leaves_in_order_and_goes_on(slurm, inputs, tiled, reference, tmp_path):
    """The signal by which SLURM warns of the time limit, in the middle of a unit."""
    output = tiled(inputs.heavy, tmp_path / "out")
    campaign = DaskCampaign(slurm, inputs.heavy, output, dask={"workers": 2, "memory": "1GiB"})
    campaign.submit("--dask", "--config", inputs.config)

    def in_the_middle():
        return campaign.published("measure") and campaign.at_work("measure")

    wait_until(in_the_middle, timeout_s=240, what=lambda: campaign.log("dask") + slurm.describe())
    slurm.run("scancel", "--signal=USR1", str(campaign.arrays["dask"]))
    tasks = campaign.wait_end(timeout_s=400)
    said = campaign.log("dask")
    assert endings(tasks["dask"] + tasks["report"]) == {("COMPLETED", 0): 2}, said
    assert [job.restarts for job in tasks["dask"]] == [1]
    assert said.count("smlmbatch: stopped by SIGUSR1") == said.count("the step ended with 75; requeueing") == 1, said
    assert said.count("has left") == 2 * 2
    measured = [record.field for record in campaign.records("0001") if record.stage == "measure"]
    assert len(measured) == len(set(measured)), "nothing is made twice"
    assert "left unfinished" not in said, "units were dropped in order"
    assert "FAILED" not in said, "no unit is blamed"
    assert campaign.remains() == []
    assert digest(output) == reference(inputs.heavy)
