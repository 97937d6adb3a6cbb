"""Units on Dask clusters, ours and somebody else's: what comes back when processes, workers and schedulers go."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from functools import partial

import pytest
from distributed import Client

from smlmbatch.errors import ConfigError, Interrupted, ResourceError
from smlmbatch.hpc import dask_pool
from smlmbatch.hpc.child import WorkerDied
from smlmbatch.hpc.dask_meeting import serve
from smlmbatch.hpc.dask_units import Stranger, Terms, own_terms
from smlmbatch.hpc.pinned import PinnedChild
from smlmbatch.hpc.pool import map_units
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # of distributed's own closing
LIMIT_S = 120


@contextmanager
def workers(scheduler, n, *options):
    """`smlmbatch worker` n times; a dictionary of its exit codes is filled at the end."""
    command = [sys.executable, "-m", "smlmbatch", "worker", os.fspath(scheduler), *options]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(n)]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
            process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A scheduler of this process with two workers."""
    file = tmp_path_factory.mktemp("ours") / "meeting.json"
    with serve(file), workers(file, 2):
        yield str(file)


@pytest.fixture(scope="module")
def theirs():
    """A cluster that knows nothing of us, without workers to begin with."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=None) as cluster:
        yield cluster


def deal(function, items, scheduler, tmp_path, **options):
    return dict(map_units(function, items, workers=1, scheduler=scheduler, scratch=tmp_path, **options))


def square(x):
    return x * x


def wait_until(condition):
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def numerics(_):
    import numpy  # noqa: F401
    import threadpoolctl

    return os.getpid(), {one["num_threads"] for one in threadpoolctl.threadpool_info()}, os.environ["OPENBLAS_CORETYPE"]


def once(folder, what, x):
    """Item 3 meets with something the first time."""
    if x == 3 and not (folder / "met").exists():
        (folder / "met").touch()
        what()
        time.sleep(LIMIT_S)
    return x


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_worker():
    os.kill(os.getppid(), signal.SIGKILL)


def stop_self():
    os.kill(os.getpid(), signal.SIGTERM)


def wait_and_tell(folder, x):
    """Waits to be stopped, and says that it was."""
    (folder / f"began-{x}").touch()
    try:
        time.sleep(LIMIT_S)
    except Interrupted:
        (folder / f"dropped-{x}").touch()
        raise


def hold(folder, x):
    """Runs until `go` appears; notes the process."""
    (folder / f"{os.getppid()}-{os.getpid()}-{x}").touch()
    wait_until((folder / "go").exists)
    return x


def pause(_):
    time.sleep(0.5)
    return os.getppid(), os.getpid()


# ---- ours


def test_results(ours, tmp_path):
    assert deal(square, range(40), ours, tmp_path) == {x: x * x for x in range(40)}


def test_nothing_to_do_asks_nobody(tmp_path):
    assert deal(square, [], "tcp://127.0.0.1:1", tmp_path) == {}


def test_units_are_pinned_and_keep_their_process(ours, tmp_path):
    found = deal(numerics, range(12), ours, tmp_path)
    assert {core for _, _, core in found.values()} == {"Haswell"}
    assert [threads for _, threads, _ in found.values()] == [{1}] * 12
    assert len({pid for pid, _, _ in found.values()}) <= 2


def test_a_killed_process_costs_its_item_only(ours, tmp_path):
    found = deal(partial(once, tmp_path, kill_self), range(6), ours, tmp_path)
    error = found.pop(3)
    assert isinstance(error, WorkerDied)
    assert "was killed by SIGKILL" in str(error)
    assert found == {x: x for x in range(6) if x != 3}


@pytest.mark.parametrize("what", [kill_worker, stop_self])
def test_an_item_whose_worker_is_lost_or_leaves_is_given_to_another(ours, tmp_path, what):
    assert deal(partial(once, tmp_path, what), range(6), ours, tmp_path) == {x: x for x in range(6)}
    assert (tmp_path / "met").exists()


def test_closing_early_drops_in_order(ours, tmp_path):
    with closing(map_units(partial(wait_or_square, tmp_path), [0, 1], workers=1, scheduler=ours, scratch=tmp_path)) as results:
        assert next(results) == (1, 1)
        wait_until((tmp_path / "began-0").exists)
    assert (tmp_path / "dropped-0").exists()


def wait_or_square(folder, x):
    return square(x) if x else wait_and_tell(folder, x)


def test_a_child_that_is_told_to_stop_before_it_listens_blames_nobody():
    """While Python starts, TERM kills it: its worker is leaving, and the item did nothing wrong."""
    child = PinnedChild()
    child.stop()
    with pytest.raises(Interrupted):
        child.call(square, 1)


# ---- workers that come and go


@pytest.mark.slow
def test_a_worker_that_hangs_holds_nobody_up(tmp_path, monkeypatch):
    """Dask waits without end for an answer of all: of versions, of the work being taken up, and of its being laid down."""
    monkeypatch.setattr(dask_pool, "ANSWER_S", 3)
    monkeypatch.setattr(dask_pool, "GRACE_S", 1)
    monkeypatch.setattr(dask_pool, "LOOK_S", 1)
    told, file = [], tmp_path / "meeting.json"
    with serve(file), workers(file, 2):
        by = Counter(worker for worker, _ in deal(pause, range(12), str(file), tmp_path).values())
        assert len(by) == 2
        hung = min(by)
        os.kill(hung, signal.SIGSTOP)
        try:
            with closing(map_units(pause, range(12), workers=1, scheduler=str(file), scratch=tmp_path, talk=told.append)) as results:
                _, (worker, _) = next(results)
            assert worker != hung
        finally:
            os.kill(hung, signal.SIGCONT)
    assert told == ["not every Dask worker answers within 3 s; the others go on"] * 2


def test_a_question_is_put_again_when_a_worker_is_lost_in_the_middle_of_it(ours, tmp_path, monkeypatch):
    """The others may not have got it, and would be sent away for not having taken up the work."""
    register, lost = Client._register_worker_plugin, []

    async def lose_one(self, *arguments, **named):
        if not lost:
            lost.append(1)
            raise OSError("a worker was killed")
        return await register(self, *arguments, **named)

    monkeypatch.setattr(Client, "_register_worker_plugin", lose_one)
    assert deal(square, range(4), ours, tmp_path) == {x: x * x for x in range(4)}
    assert lost


@pytest.mark.slow
def test_a_worker_that_is_told_to_leaves_and_another_takes_its_item(tmp_path):
    """SLURM's warning, which reaches every process, is for whoever deals out: none of a worker's may die of it, or react."""
    file = tmp_path / "meeting.json"
    with (
        serve(file),
        workers(file, 1) as (first,),
        closing(map_units(partial(hold, tmp_path), [7], workers=1, scheduler=str(file), scratch=tmp_path)) as results,
    ):
        from threading import Thread

        found = []
        thread = Thread(target=lambda: found.extend(results))
        thread.start()
        wait_until(lambda: list(tmp_path.glob("*-7")))
        (held,) = tmp_path.glob("*-7")
        for pid in (first.pid, *map(int, held.name.split("-")[:2])):  # nanny, Dask's worker, the unit's process
            os.kill(pid, signal.SIGUSR1)
        time.sleep(1)
        assert first.poll() is None
        assert len(list(tmp_path.glob("*-7"))) == 1
        first.terminate()
        assert first.wait(LIMIT_S) == 75
        with workers(file, 1):
            wait_until(lambda: len(list(tmp_path.glob("*-7"))) == 2)
            (tmp_path / "go").touch()
            thread.join(LIMIT_S)
    assert found == [(7, 7)]


@pytest.mark.slow
def test_a_worker_whose_life_is_over_leaves_in_order(tmp_path, monkeypatch):
    """And when it was the last of ours, the run ends, to be begun again."""
    monkeypatch.setattr(dask_pool, "RETURN_S", 0.5)
    monkeypatch.setattr(dask_pool, "LOOK_S", 0.2)
    file = tmp_path / "meeting.json"
    with serve(file), workers(file, 1, "--lifetime-s", "8") as (worker,):
        with pytest.raises(Interrupted, match="all workers have left"):
            deal(partial(wait_and_tell, tmp_path), [0], str(file), tmp_path)
        assert worker.wait(LIMIT_S) == 0
    assert (tmp_path / "dropped-0").exists() == (tmp_path / "began-0").exists()
    assert not (tmp_path / "meeting.json.files").exists()


def test_ours_without_any_worker_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "ARRIVE_S", 0.5)
    monkeypatch.setattr(dask_pool, "LOOK_S", 0.2)
    with serve(tmp_path / "meeting.json"), pytest.raises(ResourceError, match="no worker has come"):
        deal(square, [1], str(tmp_path / "meeting.json"), tmp_path)


def test_theirs_without_workers_waits_and_says_so(theirs, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "SAY_S", 0.3)
    monkeypatch.setattr(dask_pool, "LOOK_S", 0.1)
    told = []

    def talk(text):
        told.append(text)
        theirs.scale(1)

    assert deal(square, range(5), theirs.scheduler_address, tmp_path, talk=talk) == {x: x * x for x in range(5)}
    assert f"no Dask workers at {theirs.scheduler_address} for" in told[0]


# ---- strangers


def test_terms():
    here = own_terms((ROOT,))
    assert here.breach() == ""
    other = Terms(version="0.0.1", instructions=here.instructions)
    assert other.breach().startswith("has smlmbatch ")
    assert "other instructions" in Terms(version=here.version, instructions="riscv64, not pinned").breach()
    assert "sees no folder /no/such" in own_terms((ROOT, ROOT.__class__("/no/such"))).breach()


def test_their_worker_that_can_not_see_the_data_is_named(theirs, tmp_path):
    theirs.scale(1)
    with pytest.raises(Stranger, match=f"on {os.uname().nodename} sees no folder .*/nowhere: mount"):
        deal(square, [1], theirs.scheduler_address, tmp_path, needs=[tmp_path, tmp_path / "nowhere"])


def test_their_worker_of_another_version_is_refused_before_anything_is_sent(theirs, tmp_path, monkeypatch):
    theirs.scale(1)
    theirs.wait_for_workers(1)
    monkeypatch.setattr(dask_pool, "own_terms", lambda paths=(): Terms(version="0.0.1", instructions="", paths=paths))
    with pytest.raises(Stranger, match=r"has smlmbatch .*, and this is 0\.0\.1: start both from one"):
        deal(square, [1], theirs.scheduler_address, tmp_path)


@pytest.mark.slow
def test_our_worker_that_can_not_see_the_data_is_sent_away(tmp_path, monkeypatch):
    """A node whose file system isn't mounted; the others go on."""
    monkeypatch.setattr(dask_pool, "RETURN_S", 0.5)
    monkeypatch.setattr(dask_pool, "LOOK_S", 0.2)
    told, file = [], tmp_path / "meeting.json"
    with serve(file), workers(file, 1) as (worker,):
        with pytest.raises(Interrupted, match="all workers have left"):
            deal(square, [1], str(file), tmp_path, needs=[tmp_path / "nowhere"], talk=told.append)
        assert worker.wait(LIMIT_S) == 0
    assert "nowhere" in told[0]
    assert "it is sent away" in told[0]


def test_no_scheduler(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "CONNECT_S", 1)
    for scheduler in (str(tmp_path / "none.json"), "tcp://127.0.0.1:1"):
        with pytest.raises(ConfigError, match="can't reach"):
            deal(square, [1], scheduler, tmp_path)
