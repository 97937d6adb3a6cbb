"""Nodes that go while campaigns run: one loses its power, another only its contact and writes on beside its own successor.

All "nodes" are this machine. On `one_machine` whoever finds an attempt can look whether its process lives; on `several` each
task has process ids of its own (a PID namespace), as on real nodes: then an attempt is known to be dead only by its job.
"""

import os
import signal
import sys

import pytest

from tests.conftest import digest, smlmbatch
from tests.slurm.campaigns import Campaign, endings, freeze, processes_of, send
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def several(tmp_path):
    """An environment whose `smlmbatch` sees no process but its own."""
    program = tmp_path / "several" / "bin" / "smlmbatch"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec unshare --pid --fork --kill-child --mount-proc {sys.executable} -m smlmbatch "$@"\n')
    program.chmod(0o755)
    return program.parents[1]


@pytest.mark.parametrize("machines", ["one", "several"])
def test_campaign_survives_a_power_cut_and_a_zombie(healed_slurm, inputs, tiled, reference, tmp_path, several, machines):
    slurm = healed_slurm
    environment = {"environment": several} if machines == "several" else {}
    output = tiled(inputs.heavy, tmp_path / "out")
    # three tasks of two fields on two or three of the nodes
    campaign = Campaign(slurm, inputs.heavy, output, task_minutes=0.034, max_array_size=4, **environment)
    campaign.submit("--config", inputs.config)

    def all_at_work():
        return len(campaign.at_work("measure")) == 3

    wait_until(all_at_work, timeout_s=60, what=slurm.describe)
    running = campaign.tasks()["measure"]
    node_of = {job.task: job.node for job in running}
    lost = node_of[3]
    cut = next(node for node in node_of.values() if node != lost)
    zombies = processes_of(running[2])
    freeze(zombies)
    half_done = {owner.errand.place.task: owner for owner in campaign.at_work("measure")}[3]
    slurm.power_cut(cut)
    slurm.kill_slurmd_only(lost)
    slurm.declare_down(cut, lost)

    def successor():
        return [owner for owner in campaign.at_work("measure") if (owner.errand.place.task, owner.errand.place.restart) == (3, 1)]

    wait_until(successor, timeout_s=90, what=slurm.describe)
    # one machine: the zombie's unit is half done and it lives; several: its successor has declared it dead and taken it away
    assert half_done.folder.exists() == (machines == "one")
    send(zombies, signal.SIGCONT)
    tasks = campaign.wait_end(timeout_s=120)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}/exe") for pid in zombies), timeout_s=60, what=slurm.describe)

    assert endings(tasks["measure"] + tasks["report"]) == {("COMPLETED", 0): 4}
    assert {job.task: job.restarts for job in tasks["measure"]} == {task: int(node in (cut, lost)) for task, node in node_of.items()}
    assert digest(output) == reference(inputs.heavy)
    names = [path.parent.name for path in campaign.published("measure")]
    assert len(names) == len(set(names)) == 6
    assert "not reproducible" not in campaign.log("measure")
    assert campaign.failed() == []
    check_zombie(campaign, half_done, machines)
    smlmbatch("clean", output)
    assert campaign.remains() == []
    assert digest(output) == reference(inputs.heavy)


def check_zombie(campaign, half_done, machines):
    """What the zombie did with the unit it held when its node was lost."""
    unit = half_done.errand.key
    if machines == "one":
        made = [record for record in campaign.records("0001") if (record.field, record.stage) == (unit.field, unit.stage)]
        assert sorted(record.published for record in made) == [False, True], "both made it, and who came second dropped his own"
        assert half_done.folder.name in {record.attempt for record in made}
    else:
        assert f"left unfinished by an earlier process: measure of {unit.field}" in campaign.log("measure")
        noticed = {failure["attempt"]: failure for failure in campaign.logged_failures()}
        assert noticed[half_done.folder.name]["field"] == unit.field, "it noticed that its attempt was gone, and published nothing"
