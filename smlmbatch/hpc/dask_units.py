"""What smlmbatch puts onto the workers of a Dask cluster: child processes that make units, for as long as one run lasts.

A plugin, sent by the client, so that any cluster serves, and workers that come later have it too. When a worker is closed
(lifetime, scale-down, end of the run) Dask takes the plugin away: its children then drop what they are at in order, and
the scheduler gives those units to others. A worker that would give other results, or can't see the data, is a stranger.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

import smlmbatch
from smlmbatch.errors import ConfigError
from smlmbatch.hpc.pinned import PinnedChild, pinned_instructions


class Stranger(ConfigError):
    """A worker that can't take part.

    Parameters
    ----------
    address : as Dask calls it, to send it away by
    host, finding : which machine, and one clause
    """

    def __init__(self, address: str, host: str, finding: str) -> None:
        super().__init__(address, host, finding)
        self.address, self.host, self.finding = address, host, finding

    def __str__(self) -> str:
        return f"the Dask worker {self.address} on {self.host} {self.finding}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a worker must have in common with the client.

    Attributes
    ----------
    version : of smlmbatch
    instructions : what its numbers rest on, see `pinned_instructions`
    paths : folders it must see under these names
    """

    version: str
    instructions: str
    paths: tuple[Path, ...] = ()

    def breach(self) -> str:
        """Why this process does not keep them; "" where it does."""
        own = smlmbatch.__version__
        if own != self.version:
            return f"has smlmbatch {own}, and this is {self.version}: start both from one environment or image"
        if (found := pinned_instructions()) != self.instructions:
            return f"computes with other instructions ({found}, not {self.instructions}): its numbers would differ in the last digits"
        missing = next((path for path in self.paths if not os.access(path, os.X_OK)), None)
        if missing is not None:
            return f"sees no folder {missing}: mount (or bind) it there under the same name, or keep workers off that machine"
        return ""


def own_terms(paths: tuple[Path, ...] = ()) -> Terms:
    """The terms that this process keeps."""
    return Terms(version=smlmbatch.__version__, instructions=pinned_instructions(), paths=paths)


class Units(WorkerPlugin):
    """Children of one worker, one for each of its threads at most. Pickled to the worker before `setup`, so it begins empty."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def setup(self, worker: Any) -> None:
        self._address = worker.address
        self._lock = threading.Lock()
        self._idle: list[PinnedChild] = []
        self._busy: list[PinnedChild] = []

    async def teardown(self, worker: Any) -> None:
        """Not in the worker's event loop: dropping a unit takes seconds, and heartbeats must go on."""
        with self._lock:
            children = [*self._idle, *self._busy]
            self._idle.clear()
        await asyncio.gather(*(asyncio.to_thread(child.stop) for child in children))

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        """`function(item)` in a child; what that raises, see `PinnedChild.call`.

        Raises
        ------
        Stranger
            this worker does not keep the terms; looked at each time, as mounts come and go
        """
        if breach := self._terms.breach():
            raise Stranger(self._address, socket.gethostname(), breach)
        with self._lock:
            child = self._idle.pop() if self._idle else PinnedChild()
            self._busy.append(child)
        alive = False
        try:
            result = child.call(function, item)
            alive = True
            return result
        finally:
            with self._lock:
                self._busy.remove(child)
                self._idle += [child] * alive


def call_unit(plugin: str, function: Callable[[Any], Any], item: Any) -> Any:
    """What the client submits: the call in a child that the named plugin keeps."""
    worker = get_worker()
    units = worker.plugins.get(plugin)
    if not isinstance(units, Units):
        finding = "did not take up the work: it may hold another version of smlmbatch"
        raise Stranger(worker.address, socket.gethostname(), finding)
    return units.call(function, item)
