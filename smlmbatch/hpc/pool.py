"""One way to work through units: in child processes of this one, or on any Dask cluster.

The function and the items are the same in both, so the local run is the distributed one. Results come back as they
finish; an item whose process died comes back as an exception, and the others go on. (Local workers are no Dask
cluster: its processes know nothing of a batch system's signals and would die in the middle of a unit.)
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from smlmbatch.errors import ConfigError, ResourceError
from smlmbatch.hpc.child import WorkerDied, map_in_children
from smlmbatch.hpc.pinned import call_pinned

Item = TypeVar("Item")
Result = TypeVar("Result")
CONNECT_S = 30


def map_units(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, scheduler: str, scratch: Path
) -> Generator[tuple[Item, Result | BaseException], None, None]:
    """Apply `function` to every item; yields (item, result or exception) in the order of completion.

    Closing it early drops in order what children are at; what Dask's workers are at goes on, and nobody hears of it.

    Parameters
    ----------
    workers : how many child processes
    scheduler : a Dask scheduler file or address (tcp://…); "" for none
    scratch : where the Dask client may put its files

    Raises
    ------
    ConfigError
        the scheduler can't be reached
    """
    if scheduler:
        yield from _map_on_dask(function, items, scheduler=scheduler, scratch=scratch)
    else:
        yield from map_in_children(function, items, workers=workers)


def _map_on_dask(
    function: Callable[[Item], Result], items: Sequence[Item], *, scheduler: str, scratch: Path
) -> Iterator[tuple[Item, Result | BaseException]]:
    import dask
    from distributed import CancelledError, as_completed

    with dask.config.set({"temporary-directory": str(scratch)}), _connect(scheduler) as client:
        # biggest first would need sizes; the order of the plan is kept, completion order is the cluster's
        waiting = iter(items)
        futures: dict[Any, Item] = {}
        running = as_completed([])
        while True:
            # one per thread: what is queued on a worker would die with it
            for item in islice(waiting, max(0, max(1, _threads(client)) - len(futures))):
                future = client.submit(call_pinned, function, item, pure=False)
                futures[future] = item
                running.add(future)
            if not futures:
                return
            future = next(running)
            item = futures.pop(future)
            try:
                error = future.exception()
            except CancelledError as lost:
                raise ResourceError("lost the Dask scheduler; what is published is whole, run again to go on") from lost
            yield item, _readable(error) if error is not None else future.result()
            future.release()


def _threads(client: Any) -> int:
    """Threads of all workers that are there now; a cluster may grow and shrink."""
    return sum(client.nthreads().values())


def _readable(error: BaseException) -> BaseException:
    if type(error).__name__ == "KilledWorker":
        return WorkerDied("was killed, probably for memory")
    return error


def _connect(scheduler: str) -> Any:
    from distributed import Client

    if "://" not in scheduler:
        _wait_for(Path(scheduler))
    try:
        if "://" in scheduler:
            return Client(scheduler, timeout=CONNECT_S)
        return Client(scheduler_file=scheduler, timeout=CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(f"--scheduler {scheduler}: can't reach a Dask scheduler there ({error})") from error


def _wait_for(file: Path) -> None:
    """Scheduler and client often start together; Dask itself would wait for the file for ever."""
    deadline = time.monotonic() + CONNECT_S
    while not file.is_file():
        if time.monotonic() > deadline:
            raise ConfigError(f"--scheduler {file}: can't reach a Dask scheduler there (no such file after {CONNECT_S} s)")
        time.sleep(0.2)
