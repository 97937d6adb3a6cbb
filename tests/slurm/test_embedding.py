"""A large field embedded by four ranks on two nodes of a real SLURM, through submit: the digest of one process."""

import re
import shutil

import numpy as np
import pytest
import torch

from smlmbatch.methods.contrastive.recipe import Contrastive, ContrastiveConfig
from smlmbatch.methods.model import save_model
from tests.conftest import digest, smlmbatch
from tests.slurm.campaigns import Campaign

pytestmark = pytest.mark.slow

NETWORK = ContrastiveConfig(features=16, side_nm=1000.0)
SETTINGS = '[tile]\noutline = "field"\nroi_nm = 1000.0\n[embed]\nmin_locs = 60\n'
SIDES_UM = {"big.csv": 30, "small.csv": 4}  # 900 regions in 15 blocks, 16 in one
RANKS = {"ranks": 4, "memory": "1500MiB", "options": ["--ntasks-per-node=2"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "ctrl"
    folder.mkdir()
    rng = np.random.default_rng(6)
    for name, side_um in SIDES_UM.items():
        xy_nm = rng.uniform(0, 1000 * side_um, (90 * side_um**2, 2))
        np.savetxt(folder / name, xy_nm, fmt="%.2f", delimiter=",", header="x_nm,y_nm", comments="")
    return folder.parent


@pytest.fixture(scope="module")
def measured(source, tmp_path_factory):
    """OUTPUT in which only embedding is left to do."""
    folder = tmp_path_factory.mktemp("measured")
    torch.manual_seed(0)
    save_model(folder / "mine", Contrastive(), NETWORK, Contrastive().build(NETWORK))
    (folder / "config.toml").write_text(SETTINGS)
    smlmbatch("plan", source, folder / "out", "--config", folder / "config.toml", "--model", folder / "mine")
    smlmbatch("measure", folder / "out")
    return folder / "out"


def test_four_ranks_on_two_nodes(slurm, source, measured, tmp_path):
    shutil.copytree(measured, tmp_path / "out")
    campaign = Campaign(slurm, source, tmp_path / "out", stage={"embed": RANKS}, max_requeues=0)
    campaign.submit()
    assert set(campaign.arrays) == {"embed", "report"}
    tasks, log = campaign.wait_end(timeout_s=240), campaign.log("embed")
    (job,) = tasks["embed"]
    assert (job.state, job.exit_code) == ("COMPLETED", 0), log
    assert len(re.findall(r"node\d", job.node)) == 2 or "[" in job.node, job.node
    assert "fields to share among 4 ranks: 1" in log
    helped = re.findall(r"rank (\d): helped +embed +big-\w+ +(\d+) of 15 blocks", log)
    assert {int(rank) for rank, _ in helped} == {1, 2, 3}, log
    assert sum(int(blocks) for _, blocks in helped) > 0
    assert campaign.remains() == []

    alone = tmp_path / "alone"
    shutil.copytree(measured, alone)
    smlmbatch("embed", alone)
    smlmbatch("report", alone)
    assert digest(campaign.output) == digest(alone)
