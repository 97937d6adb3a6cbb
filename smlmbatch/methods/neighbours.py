"""Two ranks of one node add up through shared memory: over TCP a message of a few numbers takes 0.3 ms, here 0.01.

A step of a small network sends half a dozen messages that all wait for, so over TCP two cores are hardly faster than one. Each rank writes
into a slot of its own, counts, and waits (awake: to be woken takes longer than the other one's delay) until the other has counted as
far; two slots in turn, so that nobody writes what the other still reads. Only for two: a sum of two numbers is the same in either order,
so the result is that of gloo to the bit, on one node or on two. Only on x86, where stores are seen in the order they were made.
A rank that dies gives up its lock on the file, and the other notices.
"""

import fcntl
import mmap
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor

from smlmbatch.hpc.place import Place

FOLDER: Final = Path("/dev/shm")
SLOT_BYTES: Final = 2 << 20  # the gradients of the contrastive networks in one go; what is larger goes in pieces
_COUNTERS_BYTES: Final = 4096
_LINE: Final = 16  # 8-byte numbers between counters: no two in one cache line, nor in the one that is fetched beside it
_FILE_BYTES: Final = _COUNTERS_BYTES + 4 * SLOT_BYTES
_AWAKE_S: Final = 0.02  # then it looks a thousand times a second, and whether the other still lives
_ASLEEP_S: Final = 1e-3


class NoAnswer(dist.DistError):
    """The other rank is gone, or silent for too long."""


def are_neighbours(place: Place, device: torch.device) -> bool:
    """Whether these are two ranks of one node that compute on its x86 cores; the same answer on both."""
    return place.world == place.local_world == 2 and device.type == "cpu" and platform.machine() == "x86_64"


def new_file() -> str:
    """Path of a file for two ranks to open; "" where the node has no such memory left. Delete it as soon as both have."""
    try:
        number, path = tempfile.mkstemp(prefix="smlmbatch-", dir=FOLDER)
    except OSError:
        return ""
    try:
        os.posix_fallocate(number, 0, _FILE_BYTES)  # a page that can't be had when it is first written to would be a SIGBUS
    except OSError:
        os.unlink(path)
        return ""
    finally:
        os.close(number)
    return path


class Neighbours:
    """One rank's end of the memory; both must ask for the same in the same order."""

    def __init__(self, path: Path, rank: int, *, answer_s: float) -> None:
        self.rank, self.answer_s, self._said = rank, answer_s, 0
        self._file = path.open("r+b")
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, rank)  # held as long as this process lives
        self._memory = mmap.mmap(self._file.fileno(), _FILE_BYTES)
        self._counters = memoryview(self._memory)[:_COUNTERS_BYTES].cast("q")
        slots = torch.frombuffer(self._memory, dtype=torch.uint8, offset=_COUNTERS_BYTES).view(2, 2, SLOT_BYTES)
        self._slots = [[slots[turn, one] for one in (0, 1)] for turn in (0, 1)]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of both ranks' tensors, which have the same shape and type."""
        flat = values.contiguous().view(-1)
        found = torch.empty_like(flat)
        for piece in self._pieces(flat):
            torch.add(*self._exchange([flat[piece]])[0], out=found[piece])
        return found.view(values.shape)

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean of both ranks' contiguous tensors in the place of each; one message for as many as a slot holds."""
        flat = [tensor.view(-1)[piece] for tensor in tensors for piece in self._pieces(tensor.view(-1))]
        while flat:
            n = _how_many_fit(flat)
            for mean, halves in zip(flat[:n], self._exchange(flat[:n], share=0.5), strict=True):
                torch.add(*halves, out=mean)
            flat = flat[n:]

    def gather(self, values: Tensor) -> Tensor:
        """Both ranks' rows, those of rank 0 first."""
        flat = values.contiguous().view(-1)
        found = flat.new_empty(2, len(flat))
        for piece in self._pieces(flat):
            for row, said in zip(found, self._exchange([flat[piece]])[0], strict=True):
                row[piece] = said
        return found.view(2 * len(values), *values.shape[1:])

    def close(self) -> None:
        """Let go; the other one, should it still wait, notices."""
        self._file.close()

    def _pieces(self, flat: Tensor) -> Iterator[slice]:
        n = SLOT_BYTES // flat.element_size()
        return (slice(start, start + n) for start in range(0, len(flat), n))

    def _exchange(self, mine: Sequence[Tensor], *, share: float = 1.0) -> list[list[Tensor]]:
        """`share` times what both said of each of these flat tensors, rank 0 first; to be read before the next exchange but one."""
        self._said += 1
        said, at = [], 0
        for part in mine:
            said.append([slot[at : at + part.nbytes].view(part.dtype) for slot in self._slots[self._said % 2]])
            said[-1][self.rank].copy_(part) if share == 1.0 else torch.mul(part, share, out=said[-1][self.rank])
            at += _padded(part)
        self._counters[_LINE * self.rank] = self._said
        self._wait()
        return said

    def _wait(self) -> None:
        begun_s, theirs = time.monotonic(), _LINE * (1 - self.rank)
        while self._counters[theirs] < self._said:
            waited_s = time.monotonic() - begun_s
            if waited_s < _AWAKE_S:
                os.sched_yield()
                continue
            gone = self._is_gone()
            if (gone or waited_s > self.answer_s) and self._counters[theirs] < self._said:  # it may have answered and left
                raise NoAnswer(f"shared memory: the other rank {'is gone' if gone else f'said nothing for {waited_s:.0f} s'}")
            time.sleep(_ASLEEP_S)

    def _is_gone(self) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 - self.rank)
        except BlockingIOError:
            return False
        return True


def _padded(part: Tensor) -> int:
    """Bytes it takes in a slot, where every part begins as any type wants it."""
    return -(-part.nbytes // 8) * 8


def _how_many_fit(parts: Sequence[Tensor]) -> int:
    """How many of them, from the first on, a slot holds; 1 or more."""
    ends = accumulate(_padded(part) for part in parts)
    return sum(1 for _ in takewhile(lambda end: end <= SLOT_BYTES, ends))
