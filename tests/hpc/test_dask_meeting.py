"""How a scheduler is found, and by whom only."""

import json
import os
import stat

import pytest

from smlmbatch.errors import ConfigError
from smlmbatch.hpc import dask_meeting
from smlmbatch.hpc.dask_meeting import own_address, serve, wait_for_meeting

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
ONE = {"SLURM_JOB_NODELIST": "node1", "SLURMD_NODENAME": "node1"}


def test_who_can_read_the_file_may_join_and_nobody_else(tmp_path):
    from distributed import Client
    from distributed.security import Security

    file = tmp_path / "meeting.json"
    with serve(file) as meeting:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert wait_for_meeting(str(file), wait_s=0) == meeting
        assert meeting.address.startswith("tls://")
        with Client(meeting.address, security=meeting.security(), timeout=30) as client:
            assert client.nthreads() == {}
        for stranger in (Security.temporary(), None):  # a certificate of somebody's own, and none
            with pytest.raises((OSError, TypeError)):
                Client(meeting.address, security=stranger, timeout=1)
    assert list(tmp_path.iterdir()) == []


def test_without_tls(tmp_path):
    with serve(tmp_path / "m.json", tls=False) as meeting:
        found = json.loads((tmp_path / "m.json").read_text())
        assert found == {"address": meeting.address, "certificate": "", "key": "", "ours": True}
        assert meeting.address.startswith("tcp://")
        assert meeting.security() is None


def test_two_at_one_file(tmp_path):
    (tmp_path / "m.json").touch()
    with pytest.raises(ConfigError, match="there already"), serve(tmp_path / "m.json"):
        pass
    assert (tmp_path / "m.json").exists()


def test_a_meeting_in_an_output_that_is_not_there_yet(tmp_path):
    """A run takes no folder for its new OUTPUT that holds something already."""
    with pytest.raises(ConfigError, match="no such folder: name a file in one"), serve(tmp_path / "out" / "m.json"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="no such file after 0 s"):
        wait_for_meeting(str(tmp_path / "none"), wait_s=0)
    for text in ("", "{}", "[1]", '{"certificate": ""}'):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(ConfigError, match="can't be read as a Dask scheduler file"):
            wait_for_meeting(str(tmp_path / "m.json"), wait_s=0)


def test_dasks_own_scheduler_file(tmp_path):
    """`dask scheduler --scheduler-file` writes more than we need, and no certificate."""
    (tmp_path / "s.json").write_text(json.dumps({"type": "Scheduler", "id": "x", "address": "tcp://10.0.0.1:8786", "workers": {}}))
    meeting = wait_for_meeting(str(tmp_path / "s.json"), wait_s=0)
    assert (meeting.address, meeting.ours, meeting.security()) == ("tcp://10.0.0.1:8786", False, None)


def test_a_job_of_one_node_listens_to_itself_only():
    assert own_address(environ=ONE) == "127.0.0.1"


def test_a_job_of_several_nodes_listens_where_the_others_come_in(monkeypatch):
    asked = []
    monkeypatch.setattr(dask_meeting, "route_to", lambda host: asked.append(host) or "10.1.2.3")
    environ = ONE | {"SLURM_JOB_NODELIST": "node[1-3]", "SLURM_STEP_NODELIST": "node1"}
    assert own_address(environ=environ) == "10.1.2.3"
    assert asked == ["node2"]
    monkeypatch.setattr(dask_meeting, "route_to", lambda host: "")
    with pytest.raises(ConfigError, match=r"no interface leads from node1 to node2: .*dask\.interface"):
        own_address(environ=environ)


def test_an_interface_that_is_named():
    assert own_address("lo", environ=ONE | {"SLURM_JOB_NODELIST": "node[1-3]"}) == "127.0.0.1"
    with pytest.raises(ConfigError, match=r"interface ib9: not here.*lo 127\.0\.0\.1"):
        own_address("ib9", environ=ONE)


def test_outside_slurm_others_can_come():
    assert own_address(environ={"HOME": os.sep}) not in ("", "0.0.0.0")
