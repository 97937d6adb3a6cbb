"""Attempts: heartbeats, who is dead, what becomes of the unit a dead process was making."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace

import pytest

from smlmbatch.hpc.place import Place
from smlmbatch.store import attempts
from smlmbatch.store.attempts import Errand, UnitKey, is_dead, read_owner, scratch_prefix, sweep_scratch
from smlmbatch.store.units import Failure, Store, failure_of_death

KEY = UnitKey("field-1", "measure", "ab" * 32)
# pytest itself may have a gigabyte in use: no limit that it could reach
ERRAND = Errand(key=KEY, path="a\udcff.csv", memory_mib=512, limit_mib=100_000, submission="out/jobs/0001")


def sign(folder, **changes):
    """An attempt's folder as somebody else would have left it."""
    store = Store(folder.parents[1])
    with store.attempt(ERRAND) as attempt:
        owner = json.loads((attempt.folder / "owner.json").read_text())
    folder.mkdir(parents=True)
    (folder / "owner.json").write_text(json.dumps(owner | {"space": "another boot"} | changes))
    return folder


def test_sweeping_knows_the_dead_from_the_living(tmp_path):
    store = Store(tmp_path)
    with store.attempt() as living:
        dead = store.attempts / "dead"
        dead.mkdir()
        owner = json.loads((living.folder / "owner.json").read_text())
        (dead / "owner.json").write_text(json.dumps(owner | {"born": "1"}))  # the pid was given to another process since
        far = store.attempts / "other-node"
        far.mkdir()
        (far / "owner.json").write_text(json.dumps(owner | {"space": "another boot", "pid": 1}))
        old = store.attempts / "old"
        old.mkdir()
        (old / "owner.json").write_text(json.dumps(owner | {"space": "another boot"}))
        os.utime(old / "owner.json", (time.time() - 3e5,) * 2)
        unborn = store.attempts / "unborn"  # killed before it could say who it is
        unborn.mkdir()
        assert [p.name for p in store.abandoned_attempts()] == ["dead", "old"]
        store.sweep()
        assert sorted(p.name for p in store.attempts.iterdir()) == sorted([living.name, "other-node", "unborn"])


def test_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "HEARTBEAT_S", 0.01)
    with Store(tmp_path).attempt() as attempt:
        owner = attempt.folder / "owner.json"
        os.utime(owner, (0, 0))
        deadline = time.time() + 5
        while owner.stat().st_mtime == 0 and time.time() < deadline:
            time.sleep(0.01)
        assert owner.stat().st_mtime > time.time() - 60


def test_owner_is_read_back(tmp_path):
    with Store(tmp_path).attempt(replace(ERRAND, place=Place(job="7", array_job="5", task=3, restart=2))) as attempt:
        deadline = time.time() + 5
        while not read_owner(attempt.folder).resident_mib and time.time() < deadline:  # the file may be there and still empty
            time.sleep(0.01)
        owner = read_owner(attempt.folder)
    assert owner.errand == replace(ERRAND, place=Place(job="7", array_job="5", task=3, restart=2))
    assert owner.pid == os.getpid()
    assert 10 < owner.resident_mib < 10_000


JOB = {"job": "7", "array_job": "5", "task": 3, "restart": 1}


@pytest.mark.parametrize(
    ("here", "dead"),
    [
        (Place(), False),  # outside the job one can't know
        (Place(job="7", restart=2), True),  # requeued: the earlier start has ended
        (Place(job="7", restart=1), False),
        (Place(job="8", restart=2), False),
        (Place(job="9", ended_jobs=("5",)), True),  # the array it belongs to
        (Place(job="9", ended_jobs=("7",)), True),
        (Place(job="9", ended_jobs=("6",)), False),
    ],
)
def test_jobs_that_are_known_to_have_ended(tmp_path, here, dead):
    assert is_dead(sign(tmp_path / "attempts" / "there", **JOB), here) is dead


def test_no_job_is_not_the_same_job(tmp_path):
    assert not is_dead(sign(tmp_path / "attempts" / "there"), Place(restart=5, ended_jobs=("",)))


def _work_until_killed(root, pipe):
    with Store(root).attempt(ERRAND):
        pipe.send("at work")
        time.sleep(60)


def killed(tmp_path):
    """A process killed in the middle of a unit."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_work_until_killed, args=(tmp_path, theirs))
    process.start()
    ours.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return Store(tmp_path)


def test_a_death_becomes_a_failure_of_the_unit(tmp_path):
    store = killed(tmp_path)
    (death,) = store.sweep()
    assert store.sweep() == []
    assert store.failure(KEY) == death
    assert (death.kind, death.starved, death.memory_mib, death.tries) == ("resource", True, 512, 1)
    assert death.path == "a\udcff.csv"
    assert "ended without a word" in death.finding
    assert not death.given_up("out/jobs/0001")


def test_the_second_death_in_one_submission_is_the_last(tmp_path):
    for _ in range(2):
        store = killed(tmp_path)
        (death,) = store.sweep()
    assert death.tries == 2
    assert death.given_up("out/jobs/0001")
    assert not death.given_up("out/jobs/0002")  # the next one tries again


def test_a_swept_zombie_that_fails_is_one_death(tmp_path):
    """Declared dead by another node, it goes on, can't publish, and wants to record that: the unit died once, not twice."""
    store = Store(tmp_path)
    with store.attempt(replace(ERRAND, place=Place(job="7"))) as attempt:
        owner = attempt.folder / "owner.json"
        owner.write_text(json.dumps(json.loads(owner.read_text()) | {"space": "another node"}))
        (death,) = store.sweep(Place(job="7", restart=1))
        own = Failure(KEY.field, KEY.stage, KEY.fingerprint, "resource", "a", "swept", "w", "m", attempt.name, submission="out/jobs/0001")
        assert store.record_failure(own) == death
    assert store.failure(KEY).tries == 1


def test_a_death_after_publishing_is_none(tmp_path):
    """The unit was published by somebody else meanwhile."""
    store = killed(tmp_path)
    store.unit_path(KEY).parent.mkdir(parents=True)
    store.unit_path(KEY).touch()
    assert store.sweep() == []
    assert list(store.attempts.iterdir()) == []


def test_scratch_of_the_dead_is_removed_and_no_other(tmp_path):
    store = killed(tmp_path / "store")
    (folder,) = store.attempts.iterdir()
    scratch = tmp_path / "scratch"
    mine, other = scratch / f"{scratch_prefix()}{folder.name}-x1", scratch / "smlmbatch-0123abcd-node2-17-abcd-x1"
    for path in (mine, other):
        path.mkdir(parents=True)
    store.sweep(scratch=scratch)
    assert list(scratch.iterdir()) == [other]


def test_scratch_outlives_its_attempt_no_longer_than_its_process(tmp_path):
    """Somebody on another node swept the attempt; the spill files on this node's own disk are still there."""
    store = killed(tmp_path / "store")
    (dead,) = store.attempts.iterdir()
    scratch = tmp_path / "scratch"
    with store.attempt(ERRAND) as living:
        for attempt in (dead, living.folder):
            (scratch / f"{scratch_prefix()}{attempt.name}-x1").mkdir(parents=True)
        shutil.rmtree(dead)
        sweep_scratch(scratch)
        assert [path.name for path in scratch.iterdir()] == [f"{scratch_prefix()}{living.name}-x1"]


def test_other_peoples_processes_are_judged_by_their_heartbeat(tmp_path, monkeypatch):
    """/proc may hide them, so that no process of that number is no proof."""
    store = killed(tmp_path)
    (folder,) = store.attempts.iterdir()
    assert is_dead(folder, Place())
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert not is_dead(folder, Place())


def test_a_job_that_vanished_is_not_the_units_fault_at_once(tmp_path):
    """A node lost under a unit is no sign of a hungry unit: no smaller blocks, and more tries."""
    for restart in range(4):
        store = Store(tmp_path)
        sign(store.attempts / f"r{restart}", job="7", restart=restart)
        (death,) = store.sweep(Place(job="7", restart=restart + 1))
        assert (death.lost, death.starved, death.tries) == (True, False, restart + 1)
        assert death.given_up("out/jobs/0001") is (restart == 3)


def test_several_deaths_of_one_unit_found_together_are_one_try(tmp_path):
    """A Dask cluster tries a unit again by itself, in the same manner."""
    store = Store(tmp_path)
    for number in range(3):
        sign(store.attempts / f"w{number}", job="7", restart=0)
    (death,) = store.sweep(Place(job="7", restart=1))
    assert death.tries == 1


@pytest.mark.parametrize(
    ("resident", "limit", "for_memory", "word"),
    [
        ("900", 1000, False, "killed for memory (900 MiB in use of 1000 MiB allowed)"),
        ("100", 1000, True, "killed for memory (100 MiB in use of 1000 MiB allowed)"),
        ("100", 1000, False, "its process crashed on vm (100 MiB in use of 1000 MiB allowed when last seen)"),
        ("900", 0, False, "its process crashed on vm (900 MiB in use when last seen)"),
    ],
)
def test_what_is_said_of_a_death(tmp_path, resident, limit, for_memory, word):
    folder = sign(tmp_path / "attempts" / "there", limit_mib=limit, host="vm")
    (folder / "resident").write_text(resident)
    assert failure_of_death(read_owner(folder), Place(), manner="crashed", for_memory=for_memory).finding == word


def test_failures_of_another_kind_count_too(tmp_path):
    store = Store(tmp_path)
    failure = Failure("field-1", "measure", KEY.fingerprint, "resource", "a", "disk full", "w", "m", "x", submission="s")
    assert store.record_failure(failure).tries == 1
    assert store.record_failure(replace(failure, attempt="y")).tries == 2
    assert store.record_failure(replace(failure, attempt="z", submission="t")).tries == 1
