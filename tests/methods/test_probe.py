"""`doctor --distributed` with ranks of this machine, and with ranks that never come."""

import json

import pytest

from smlmbatch.hpc.place import Place
from smlmbatch.methods.probe import probe
from tests.methods.launching import Launch


def test_one_rank_speaks_for_itself():
    found = probe(Place(host="n1"), device="cpu")
    assert json.loads(json.dumps(found)) == found
    (row,) = found["ranks"]
    assert (row["rank"], row["host"], row["device"], row["backend"]) == (0, "n1", "cpu", "none")
    assert found["all_reduce"] == {}


@pytest.mark.slow
def test_three_ranks(tmp_path):
    with Launch(3, tmp_path) as launch:
        launch.start("-W", "error", "-m", "smlmbatch", "doctor", "--distributed", "--device", "cpu", "--json")
        assert launch.codes() == [0] * 3, launch.said()
        assert [launch.text(rank) for rank in (1, 2)] == ["", ""], "rank 0 speaks for all"
        found = json.loads(launch.text(0))
    assert [row["rank"] for row in found["ranks"]] == [0, 1, 2]
    assert {row["network"] for row in found["ranks"]} == {"lo 127.0.0.1 (all ranks are on one machine)"}
    assert {row["backend"] for row in found["ranks"]} == {"gloo"}
    assert found["warnings"] == []
    speeds = found["all_reduce"]
    assert 0 < speeds["round_trip_ms"] < 60_000
    assert set(speeds["mib_per_s"]) == {"1", "64"}
    assert all(rate > 0 for rate in speeds["mib_per_s"].values())
