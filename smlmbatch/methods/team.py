"""Ranks that share the blocks of big units: rank 0 makes the unit, the others take blocks of it off a common list.

Each block has one taker, whoever comes first; results go to rank 0, who puts them in order by block number. So a unit's bits don't depend
on who took part, and a slow rank does less. What goes wrong with a helper's block goes wrong with the unit, as if rank 0 had met it.
Rank 0 needs nobody: a helper that comes late, or misses an order, leaves more blocks to it.
"""

import io
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError, InputError, Interrupted, RankLost, ResourceError, SmlmbatchError
from smlmbatch.hpc.child import WorkerDied
from smlmbatch.methods.letters import END, Box, Seat
from smlmbatch.work import Blocks

Arrays = Mapping[str, NDArray[Any]]
_RUNS_PER_RANK: Final = 8  # blocks are taken in runs, as neighbours read the same locs: so many a rank, that all end at about the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A unit whose blocks are to be computed.

    Attributes
    ----------
    field, stage : which unit
    upstream : file names of the units it rests on, by stage, relative to the store
    settings : fingerprint of the settings it is made with
    memory_bytes : what a process should stay within
    number : counts the orders of a round, from 1
    count, run : how many blocks there are, how many are taken at once
    """

    field: str
    stage: str
    upstream: Mapping[str, str]
    settings: str
    memory_bytes: int
    number: int = 0
    count: int = 0
    run: int = 1


# ---- rank 0


class Leader:
    """The team of a unit that is made on rank 0, with the help of all that `serve` orders there."""

    def __init__(self, seat: Seat, order: Order) -> None:
        self._seat, self._order = seat, order

    def gather(self, blocks: Blocks) -> list[Arrays]:
        """The results of all blocks, in order.

        Raises
        ------
        Exception
            what went wrong with any block
        Interrupted, RankLost
            see `Box.wait`
        """
        box = Box(self._seat)
        run = max(1, blocks.count // (_RUNS_PER_RANK * self._seat.world))
        order = replace(self._order, number=box.count("orders"), count=blocks.count, run=run)
        box.put(_order(order.number), json.dumps(asdict(order)).encode())
        failed = _error(order)
        try:
            found: dict[int, Arrays] = {}
            for number in _taken(box, order):
                found[number] = blocks.compute(number)
                if box.has(failed):
                    break
            for number in (number for number in range(order.count) if number not in found):
                if box.wait(failed, _block(order, number)) == failed:
                    raise read_error(box.read(failed))
                found[number] = _arrays(box.take(_block(order, number)))
        finally:
            box.put(_closed(order))
        return [found[number] for number in range(order.count)]


# ---- the others


def orders(box: Box) -> Iterator[Order]:
    """Orders as they come, until rank 0 gives no more."""
    number = 1
    while box.wait(_order(number), END) != END:
        yield Order(**json.loads(box.read(_order(number))))
        number += 1


def help_with(seat: Seat, order: Order, open_blocks: Callable[[], AbstractContextManager[Blocks]]) -> int:
    """Compute blocks of an order until none is left; how many. What goes wrong is told to rank 0."""
    box, made = Box(seat), 0
    if box.has(_closed(order)):
        return 0
    try:
        with open_blocks() as blocks:
            if blocks.count != order.count:
                raise ResourceError(f"{seat.who}: sees {blocks.count} blocks of {order.stage} of {order.field}, rank 0 sees {order.count}")
            for number in _taken(box, order):
                box.put(_block(order, number), _bytes(blocks.compute(number)))
                made += 1
    except (Interrupted, RankLost):
        raise
    except Exception as error:  # noqa: BLE001 - of the unit, which rank 0 answers for
        fail(box, order, error)
    return made


def fail(box: Box, order: Order, error: BaseException) -> None:
    """Tell rank 0 that an order can't be carried out."""
    box.put(_error(order), write_error(error, who=box.seat.who))


def _taken(box: Box, order: Order) -> Iterator[int]:
    """Numbers of blocks that nobody else takes, until none is left."""
    while (start := (box.count(f"{order.number}/runs") - 1) * order.run) < order.count:
        for number in range(start, min(start + order.run, order.count)):
            box.raise_if_stopped()
            if box.has(_closed(order)):
                return
            yield number


# ---- names and contents of letters


def _order(number: int) -> str:
    return f"order/{number}"


def _block(order: Order, number: int) -> str:
    return f"{order.number}/block/{number}"


def _error(order: Order) -> str:
    return f"{order.number}/error"


def _closed(order: Order) -> str:
    return f"{order.number}/closed"


def _bytes(arrays: Arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def _arrays(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


# Errors that keep their kind: what they are made of again. Any other is our own mistake.
_KINDS: Final[Mapping[type[BaseException], Callable[[Any, str], list[object]]]] = {
    InputError: lambda error, who: [str(argument) for argument in error.args],
    WorkerDied: lambda error, who: [f"of {who} {error.manner}", error.for_memory],
    ConfigError: lambda error, who: [str(error)],
    ResourceError: lambda error, who: [str(error)],
    OSError: lambda error, who: [error.errno, f"{error.strerror or error} ({who})", error.filename and str(error.filename)],
    MemoryError: lambda error, who: [f"{error} ({who})"],
}


def write_error(error: BaseException, *, who: str) -> bytes:
    """An error as a letter."""
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), SmlmbatchError)
    arguments = _KINDS[kind](error, who) if kind in _KINDS else [f"{type(error).__name__}: {error} ({who})"]
    trace = "".join(traceback.format_exception(error))
    return json.dumps({"kind": kind.__name__, "arguments": arguments, "trace": trace}).encode()


def read_error(content: bytes) -> BaseException:
    """The error of a letter; it carries the trace of where it was met."""
    word = json.loads(content)
    kind = next((kind for kind in _KINDS if kind.__name__ == word["kind"]), SmlmbatchError)
    error = kind(*word["arguments"])
    error.add_note(word["trace"])
    return error
