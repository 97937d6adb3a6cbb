"""The child process: results, errors, deaths, signals; the parent always goes on or ends in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from smlmbatch.errors import ConfigError, Interrupted, SmlmbatchError
from smlmbatch.hpc import child
from smlmbatch.hpc.child import WorkerDied, map_in_children


def act(item):
    if item == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(7)
    if item == "raise":
        raise ConfigError("no")
    return item, os.getpid()


def test_one_process_and_not_this_one():
    found = list(map_in_children(act, [1, 2, 3]))
    assert [(item, result[0]) for item, result in found] == [(1, 1), (2, 2), (3, 3)]
    (pid,) = {result[1] for _, result in found}
    assert pid != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("how", "word"), [("kill", "killed by SIGKILL"), ("crash", "crashed (SIGSEGV)"), ("exit", "exit code 7")])
def test_a_death_costs_its_own_item_only(how, word):
    found = dict(map_in_children(act, [1, how, 2]))
    assert word in str(found[how])
    assert isinstance(found[how], WorkerDied)
    assert found[1][0] == 1
    assert found[2][0] == 2


def test_the_kernel_says_that_it_was_for_memory(monkeypatch):
    counts = iter([0, 3, 3])
    monkeypatch.setattr(child, "oom_kills", lambda: next(counts))
    found = dict(map_in_children(act, ["kill", 1]))
    assert found["kill"].for_memory


def wait_a_little(x):
    time.sleep(0.02 * (x % 3))
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x, os.getpid()


@pytest.mark.parametrize("workers", [2, 5, 40])
def test_several_at_once(workers):
    found = dict(map_in_children(wait_a_little, range(20), workers=workers))
    assert isinstance(found.pop(3), WorkerDied)
    assert {x: result[0] for x, result in found.items()} == {x: x * x for x in range(20) if x != 3}
    assert 2 <= len({result[1] for result in found.values()}) <= workers + 1  # one more for the dead one's place


class Awkward(Exception):
    """Can't be pickled, also where Dask has taught pickle to take exceptions whose arguments differ from their class's."""

    def __init__(self, one):
        super().__init__(one)
        self.held = threading.Lock()


def awkward(_):
    raise Awkward(1)


def test_an_error_that_does_not_pickle_comes_as_its_text():
    with pytest.raises(SmlmbatchError, match="Awkward: 1"):
        list(map_in_children(awkward, [1]))


def test_errors_come_through():
    with pytest.raises(ConfigError, match="no"):
        list(map_in_children(act, [1, "raise"]))


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from smlmbatch.errors import Interrupted
from smlmbatch.hpc.child import map_in_children

def stop(number, frame):
    raise Interrupted("parent")

def work(folder):
    Path(folder, "at work").write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        time.sleep(0.2)
        Path(folder, "tidied up").touch()

signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, stop)
try:
    list(map_in_children(work, [sys.argv[1]]))
except Interrupted:
    sys.exit(75)
"""


def started(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, tmp_path], start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 20
    while not (tmp_path / "at work").exists() or not (tmp_path / "at work").read_text():
        assert time.time() < deadline
        time.sleep(0.01)
    return process, int((tmp_path / "at work").read_text())


@pytest.mark.parametrize("whom", ["parent", "child", "both", "both, twice"])
def test_signals_let_the_child_tidy_up(tmp_path, whom):
    process, pid = started(tmp_path)
    if whom == "parent":
        process.send_signal(signal.SIGTERM)
    elif whom == "child":
        os.kill(pid, signal.SIGUSR1)
    else:
        os.killpg(process.pid, signal.SIGUSR1)
    if whom == "both, twice":
        with suppress(ProcessLookupError):  # it may have gone already
            os.kill(pid, signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (75, "")
    assert (tmp_path / "tidied up").exists()


def test_a_killed_parent_leaves_no_child(tmp_path):
    process, pid = started(tmp_path)
    process.kill()
    process.communicate()
    deadline = time.time() + 10
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.time() < deadline, "the child outlived its parent"
        time.sleep(0.01)
    assert not (tmp_path / "tidied up").exists()


def test_interrupted_in_the_child_ends_the_parent():
    def interrupted(_):
        raise Interrupted("stop")

    with pytest.raises(Interrupted):
        list(map_in_children(interrupted, [1]))
