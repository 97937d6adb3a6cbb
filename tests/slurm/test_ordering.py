"""Particles in order on a real SLURM: one task learns, an array registers the bins, and a killed step costs nothing but its time."""

import signal

import pytest

from tests.conftest import digest, smlmbatch
from tests.order.drawn import write_campaign
from tests.slurm.campaigns import Campaign, endings, processes_of, send
from tests.slurm.cluster import wait_until

pytestmark = pytest.mark.slow

CHAIN = ("ingest", "tile", "quality", "measure", "embed", "cluster", "pick", "order", "register", "report")
BINS = 4


def test_arrays_give_the_digest_of_a_local_run(slurm, tmp_path):
    source = write_campaign(tmp_path, fields=3, count=20)
    settings = ("--config", tmp_path / "settings.toml")
    smlmbatch("run", source, tmp_path / "local", *settings)
    campaign = Campaign(slurm, source, tmp_path / "out", task_minutes=0.05)
    campaign.submit(*settings)
    assert tuple(campaign.arrays) == CHAIN

    def strike():
        """SIGKILL to whatever the task that learns consists of, as soon as it is at it."""
        if not campaign.at_work("order"):
            return not any(job.live for job in campaign.tasks()["order"])
        for job in campaign.tasks()["order"]:
            send(processes_of(job)[-1:], signal.SIGKILL)
        return True

    wait_until(strike, timeout_s=300, what=slurm.describe)
    tasks = campaign.wait_end()
    assert [endings(tasks[stage]) for stage in CHAIN] == [{("COMPLETED", 0): len(tasks[stage])} for stage in CHAIN]
    assert len(tasks["order"]) == 1
    assert len(tasks["register"]) > 1
    assert "SIGKILL" in campaign.log("order"), "the first process that learned was hit"
    made = {key: n for key, n in campaign.made().items() if key[0] == "campaign"}
    assert made == {("campaign", "order"): 1, ("campaign", "register"): BINS}
    assert digest(campaign.output) == digest(tmp_path / "local")
    assert campaign.remains() == []
    campaign.submit()
    assert list(campaign.arrays) == ["report"]
    campaign.wait_end()
