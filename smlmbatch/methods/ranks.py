"""The processes that train together: gloo on CPUs, NCCL on GPUs, nothing at all with one rank.

Ranks meet at the first host of the job's list (or where torchrun says), at a port made of the job's id; time-outs are short and the
message names host, rank and port: a rank that nobody answers must not hold a cluster's nodes for half an hour.
"""

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from smlmbatch.errors import ResourceError
from smlmbatch.hpc.place import Place
from smlmbatch.methods.method import Alone, Ranks

MEETING_S = 120.0  # to meet; nodes of one job start within seconds of each other
ANSWER_S = 600.0  # for a rank in the middle of training to answer: covers a checkpoint written to a slow disk


class Group:
    """Ranks of torch's default process group."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def gather(self, values: Tensor) -> Tensor:
        gathered: Tensor = _Gather.apply(values, self.rank, self.world)  # type: ignore[no-untyped-call]
        return gathered

    def sum(self, values: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
        return total


class _Gather(torch.autograd.Function):
    """All ranks' rows one below the other; what each rank's result says about this rank's rows comes back (torch's own is deprecated)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rank: int, world: int) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(world)]
        dist.all_gather(parts, values.contiguous())
        ctx.mine = slice(rank * len(values), (rank + 1) * len(values))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _summed(gradients[0])[ctx.mine], None, None


class _Sum(torch.autograd.Function):
    """The sum over ranks, on each of them; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


@contextmanager
def joined(place: Place, device: torch.device) -> Iterator[Ranks]:
    """The ranks of this launch; leaves the group in order.

    Raises
    ------
    ResourceError
        the ranks didn't meet in time
    """
    if place.world == 1:
        yield Alone()
        return
    meet = meeting_point(place)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        # In two steps, for they wait for different lengths of time.
        url = "env://" if place.master else f"tcp://{meet}"
        store, rank, world = next(iter(rendezvous(url, place.rank, place.world, timeout=datetime.timedelta(seconds=MEETING_S))))
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=datetime.timedelta(seconds=ANSWER_S))
    except (RuntimeError, dist.DistError) as error:
        reason = str(error).partition("\n")[0]  # below it stands a trace through C++
        raise ResourceError(
            f"rank {place.rank} of {place.world} on {place.host or os.uname().nodename}: nobody met at {meet} ({reason})"
        ) from error
    try:
        yield Group()
    finally:
        dist.destroy_process_group()


def meeting_point(place: Place) -> str:
    """host:port for the ranks to meet: torchrun's, else the first host and a port of the job's own, so that two jobs don't collide."""
    if place.master:
        return place.master
    digits = "".join(c for c in place.job if c.isdigit())
    return f"{place.head() or '127.0.0.1'}:{10_000 + int(digits or 0) % 50_000}"


def any_raised(ranks: Ranks, *flags: bool, device: torch.device) -> tuple[bool, ...]:
    """For each flag whether it is raised on any rank: the same answer on all, so that all act on it at the same step."""
    if ranks.world == 1:
        return flags
    raised = torch.tensor(flags, dtype=torch.float32, device=device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return tuple(value > 0 for value in raised.tolist())


def wait_for_all(ranks: Ranks) -> None:
    if ranks.world > 1:
        dist.barrier()
