"""Deals items out to the workers of a Dask cluster, one for each of their threads, and takes back what comes.

Decisions. An item is not queued on a worker: what is queued would die with it. An item whose worker is lost is given to
another by Dask (`distributed.scheduler.allowed-failures` times). A worker that can't take part ends the run where the
cluster is somebody else's, and is sent away where it is ours. Without any worker we wait, and say so every minute: for
ever on a cluster of somebody else's, whose workers may be in a queue; on ours, which has what its job was given, a while.
"""

import asyncio
import contextlib
import queue
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dask
from distributed import CancelledError, Client, Future, KilledWorker

from smlmbatch.errors import ConfigError, Interrupted, ResourceError
from smlmbatch.hpc.child import GRACE_S, WorkerDied
from smlmbatch.hpc.dask_meeting import Meeting, wait_for_meeting
from smlmbatch.hpc.dask_units import Stranger, Units, call_unit, own_terms

Item = TypeVar("Item")
Result = TypeVar("Result")
Talk = Callable[[str], None]

CONNECT_S = 30.0
LOOK_S = 5.0  # between two looks at whether there are workers
SAY_S = 60.0
ARRIVE_S = 600.0  # for the first of our own workers: cold file systems, images to mount
ANSWER_S = 60.0  # for all workers to answer a question
RETURN_S = 60.0  # for the first to come back when all are lost: a nanny starts a killed worker again in seconds
_QUESTIONS = 3  # as often a question is put to workers of whom some are lost meanwhile
MOST_DROPS = 5  # how often an item may come back because its process was told to stop
_LOST = "lost the Dask scheduler; what is published is whole, run again to go on"
_GONE = (OSError, TimeoutError, ValueError, RuntimeError)  # what a client of a lost or closed scheduler raises


def map_on_dask(
    function: Callable[[Item], Result], items: Sequence[Item], *, scheduler: str, scratch: Path, needs: Sequence[Path], talk: Talk
) -> Generator[tuple[Item, Result | BaseException], None, None]:
    """See `pool.map_units`."""
    meeting = wait_for_meeting(scheduler, wait_s=CONNECT_S)
    with (
        dask.config.set({"temporary-directory": str(scratch)}),
        _connected(meeting, scheduler) as client,
        _hired(client, tuple(needs), talk) as plugin,
    ):
        yield from _deal(_Cluster(client, ours=meeting.ours, talk=talk), plugin, function, items)


@contextmanager
def _connected(meeting: Meeting, name: str) -> Iterator[Client]:
    try:
        client = Client(meeting.address, timeout=CONNECT_S, security=meeting.security(), set_as_default=False)
    except _GONE as error:
        raise ConfigError(f"--scheduler {name}: can't reach a Dask scheduler there ({error})") from error
    with client:
        yield client


@contextmanager
def _hired(client: Client, needs: tuple[Path, ...], talk: Talk) -> Iterator[str]:
    """The name of the plugin that all workers have meanwhile; at the end their children have dropped what they were at."""
    _refuse_other_versions(client, talk)
    plugin = f"smlmbatch-{secrets.token_hex(4)}"
    _ask_all(client, client.register_plugin, Units(own_terms(needs)), name=plugin, talk=talk)
    try:
        yield plugin
    finally:
        try:
            client.sync(client.unregister_worker_plugin, plugin, callback_timeout=GRACE_S + LOOK_S)
        except (Interrupted, KeyboardInterrupt):
            raise
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever a scheduler or worker says that is leaving itself
            pass


def _ask_all(client: Client, question: Callable[..., Any], *arguments: Any, talk: Talk, **named: Any) -> Any:
    """What all workers answer, or None where one hangs: Dask would wait for it as long as its process lives.

    Once one is lost in the middle of a question the others may not have got it, so they are asked again.

    Raises
    ------
    ResourceError
        no answer at all: the scheduler is gone
    """
    for _ in range(_QUESTIONS):
        try:
            return client.sync(question, *arguments, callback_timeout=ANSWER_S, **named)
        except TimeoutError:
            talk(f"not every Dask worker answers within {ANSWER_S:.0f} s; the others go on")
            return None
        except _GONE:
            continue
    raise ResourceError(_LOST)


def _refuse_other_versions(client: Client, talk: Talk) -> None:
    """Before anything of ours is sent, which another version may not even be able to unpack. Later ones see to it themselves."""
    own = own_terms().version
    versions: Any = _ask_all(client, client.get_versions, packages=["smlmbatch"], talk=talk) or {"workers": {}}
    for address, found in versions["workers"].items():
        theirs = found["packages"].get("smlmbatch")
        if theirs != own:
            host = client.scheduler_info(n_workers=-1)["workers"].get(address, {}).get("host", address)
            has = f"has smlmbatch {theirs}, and this is {own}" if theirs else "can't import smlmbatch"
            raise Stranger(address, host, f"{has}: start both from one environment or image")


class _Cluster:
    """The client, and how long it has been without workers."""

    def __init__(self, client: Client, *, ours: bool, talk: Talk) -> None:
        self.client, self.ours, self.talk = client, ours, talk
        self._seen = False
        self._alone_since = self._said = time.monotonic()

    def threads(self) -> int:
        """Of all workers that are there now; a cluster may grow and shrink."""
        try:
            n: int = sum(self.client.nthreads().values())
        except _GONE as error:
            raise ResourceError(_LOST) from error
        if n:
            self._seen, self._alone_since = True, time.monotonic()
        return n

    def wait(self, done: "queue.SimpleQueue[Future[Any]]") -> "Future[Any]":
        """The next future that is done.

        Raises
        ------
        Interrupted, ResourceError
            there are no workers any more, or none have ever come
        """
        while True:
            with contextlib.suppress(queue.Empty):
                return done.get(timeout=LOOK_S)
            if not self.threads():
                self._say_alone()

    def _say_alone(self) -> None:
        now = time.monotonic()
        alone_s = now - self._alone_since
        if self.ours and self._seen and alone_s > RETURN_S:
            raise Interrupted(f"all workers have left, {alone_s:.0f} s ago; what is published is whole, run again to go on")
        if self.ours and not self._seen and alone_s > ARRIVE_S:
            raise ResourceError(f"no worker has come within {alone_s:.0f} s: their log says why; do they reach {_address(self.client)}?")
        if now - self._said >= SAY_S:
            self._said = now
            self.talk(f"no Dask workers at {_address(self.client)} for {alone_s:.0f} s; waiting for some")

    def send_away(self, stranger: Stranger) -> None:
        """Do without a worker of ours; what it was given is given to others.

        Raises
        ------
        Stranger
            the cluster isn't ours: its owner should know
        """
        if not self.ours:
            raise stranger
        self.talk(f"warning: {stranger}; it is sent away")
        with contextlib.suppress(*_GONE):
            self.client.sync(self.client.retire_workers, [stranger.address], close_workers=True, callback_timeout=ANSWER_S)


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler is not None else "the scheduler"


def _deal(
    cluster: _Cluster, plugin: str, function: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[tuple[Item, Result | BaseException], None, None]:
    # biggest first would need sizes; the order of the plan is kept, completion order is the cluster's
    waiting = deque(items)
    drops: Counter[int] = Counter()
    futures: dict[Future[Any], Item] = {}
    done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    try:
        while waiting or futures:
            room = max(1, cluster.threads()) - len(futures)
            for item in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
                future = cluster.client.submit(call_unit, plugin, function, item, pure=False)
                futures[future] = item
                future.add_done_callback(done.put)
            future = cluster.wait(done)
            item = futures.pop(future)
            error = _error_of(future)
            if isinstance(error, Stranger):
                cluster.send_away(error)
                waiting.appendleft(item)
            elif isinstance(error, Interrupted) and drops[id(item)] < MOST_DROPS:
                drops[id(item)] += 1
                waiting.append(item)
            elif isinstance(error, Interrupted):
                raise error
            else:
                yield item, future.result() if error is None else _readable(error)
            future.release()
    finally:
        with contextlib.suppress(*_GONE):
            cluster.client.cancel(list(futures))


def _error_of(future: "Future[Any]") -> BaseException | None:
    try:
        return future.exception()  # type: ignore[no-any-return]
    except CancelledError as lost:
        raise ResourceError(_LOST) from lost


def _readable(error: BaseException) -> BaseException:
    if isinstance(error, KilledWorker):
        return WorkerDied(f"was lost with its worker {error.allowed_failures + 1} times, the last on {error.last_worker.address}")
    return error
