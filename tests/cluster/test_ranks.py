"""Clusters of a field shared by ranks: the digest of one process."""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.cluster.fields import draw_blobs, still_model
from tests.cluster.test_campaign import WHOLE, digests, write_csv
from tests.conftest import smlmbatch
from tests.methods.launching import Launch

pytestmark = pytest.mark.slow

FIELDS = {"big.csv": 8, "odd.csv": 7, "small.csv": 2}  # blobs per side: some 20 blocks, 15, and one


@pytest.fixture(scope="module")
def tiled(tmp_path_factory) -> Path:
    """OUTPUT in which only clusters are left to find."""
    folder = tmp_path_factory.mktemp("tiled")
    (folder / "in").mkdir()
    for name, per_side in FIELDS.items():
        write_csv(folder / "in" / name, draw_blobs(per_side=per_side, strays=2 * per_side))
    model = still_model(folder / "still")
    smlmbatch("plan", folder / "in", folder / "out", *WHOLE, "--cluster-model", model, "--model", "none")
    smlmbatch("embed", folder / "out")
    return folder / "out"


def ranks(world: int, *arguments: object) -> list[str]:
    """The command on so many ranks, as torchrun starts them; what each said."""
    with TemporaryDirectory() as logs, Launch(world, Path(logs), PYTHONWARNINGS="error", MARKS=logs) as launch:
        launch.start("-m", "tests.cluster.rank", *arguments)
        assert launch.codes(timeout_s=400) == [0] * world, launch.said()
        return [launch.text(rank) for rank in range(world)]


def test_two_ranks_give_what_one_gives(tiled, tmp_path) -> None:
    one, two = (Path(shutil.copytree(tiled, tmp_path / name)) for name in ("one", "two"))
    ranks(1, "cluster", one)
    said = ranks(2, "cluster", two)
    assert "fields to share among 2 ranks: 2" in said[0]
    helped = re.findall(r"helped +cluster .* (\d+) of (\d+) blocks", said[1])
    assert len(helped) == 2, said
    assert all(0 < int(made) < int(count) for made, count in helped)
    assert digests(two) == digests(one)
