"""One way to work through units: in child processes of this one, or on any Dask cluster.

The function and the items are the same in both, so the local run is the distributed one. Results come back as they
finish; an item whose process died comes back as an exception, and the others go on. (Local workers are no Dask
cluster: its processes know nothing of a batch system's signals and would die in the middle of a unit.)
"""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from smlmbatch.hpc.child import map_in_children

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_units(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    scheduler: str,
    scratch: Path,
    needs: Sequence[Path] = (),
    talk: Callable[[str], None] = lambda _: None,
) -> Generator[tuple[Item, Result | BaseException], None, None]:
    """Apply `function` to every item; yields (item, result or exception) in the order of completion.

    Closing it early drops in order what workers are at.

    Parameters
    ----------
    workers : how many child processes
    scheduler : a Dask scheduler file or address (tcp://…); "" for none
    scratch : where the Dask client may put its files
    needs : folders that Dask's workers must see
    talk : gets what the user should know of Dask's workers

    Raises
    ------
    ConfigError
        the scheduler can't be reached, or a worker of somebody else's cluster can't take part
    Interrupted, ResourceError
        the scheduler, or all workers, went away
    """
    if not items:
        return
    if scheduler:
        from smlmbatch.hpc.dask_pool import map_on_dask

        yield from map_on_dask(function, items, scheduler=scheduler, scratch=scratch, needs=needs, talk=talk)
    else:
        yield from map_in_children(function, items, workers=workers)
