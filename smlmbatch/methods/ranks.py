"""The processes that train together: gloo on CPUs, NCCL on GPUs, nothing at all with one rank.

How they find each other and take leave stands in `meeting`. A rank that dies closes its connections, and the others notice in the same
instant: they end with RankLost, whose exit code sends a job back into the queue. What fails by itself on one rank (no space on its disk)
ends the others as an ordinary error. Over NCCL the connections of a dead rank need not break; there torch's watchdog ends a rank after
`answer_s` (TORCH_NCCL_ASYNC_ERROR_HANDLING, on by default), and srun's --kill-on-bad-exit long before.
"""

import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from smlmbatch.errors import Interrupted, ResourceError
from smlmbatch.hpc.network import Network, settle_network
from smlmbatch.hpc.place import Place
from smlmbatch.methods.meeting import MEETING_S, Roll, meet, name_of, never
from smlmbatch.methods.method import Alone, Ranks
from smlmbatch.methods.neighbours import Neighbours, are_neighbours, new_file
from smlmbatch.methods.watch import watched

T = TypeVar("T")
ANSWER_S = 600.0  # for a rank in the middle of training to answer: covers a checkpoint written to a slow disk


class Group:
    """Ranks of torch's default process group, the network between them, and the memory they share if they are two of one node."""

    def __init__(self, network: Network, near: Neighbours | None = None) -> None:
        self.rank, self.world, self.network, self.near = dist.get_rank(), dist.get_world_size(), network, near

    def gather(self, values: Tensor) -> Tensor:
        gathered: Tensor = _Gather.apply(values, self)  # type: ignore[no-untyped-call]
        return gathered

    def sum(self, values: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(values, self)  # type: ignore[no-untyped-call]
        return total

    def all_rows(self, values: Tensor) -> Tensor:
        """`gather` without a gradient."""
        if self.near:
            return self.near.gather(values)
        parts = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def total(self, values: Tensor) -> Tensor:
        """`sum` without a gradient."""
        if self.near:
            return self.near.sum(values)
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    """All ranks' rows one below the other (torch's own is deprecated).

    All ranks make the same of them, so what the others' results say about this rank's rows is what its own says: no message goes back.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group) -> Tensor:
        ctx.mine, ctx.world = slice(group.rank * len(values), (group.rank + 1) * len(values)), group.world
        return group.all_rows(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][ctx.mine] * ctx.world, None


class _Sum(torch.autograd.Function):
    """The sum over ranks, on each of them; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.total(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.group.total(gradients[0]), None


@contextmanager
def joined(
    place: Place,
    device: torch.device,
    *,
    meeting_s: float = MEETING_S,
    answer_s: float = ANSWER_S,
    should_stop: Callable[[], bool] = never,
) -> Iterator[Ranks]:
    """The ranks of this launch; leaves the group in order.

    Parameters
    ----------
    meeting_s : seconds until all ranks must have met, and again until they have reached one another
    answer_s : seconds after which a rank that doesn't answer is lost
    should_stop : asked while this rank waits for others to come

    Raises
    ------
    ResourceError
        the ranks didn't meet in time; another rank gave up, for the reason that is told
    RankLost
        another rank died or doesn't answer
    Interrupted
        asked to stop while waiting
    """
    if place.world == 1:
        yield Alone()
        return
    network = settle_network(place)
    roll = meet(place, network, wait_s=meeting_s, should_stop=should_stop)
    _connect(roll, network, device, meeting_s=meeting_s, answer_s=answer_s)
    try:
        with watched(roll), _memory_of_two(place, device, answer_s=answer_s) as near:
            yield Group(network, near)
    except Interrupted:
        roll.leave()
        raise
    except Exception as error:
        if not _is_broken(error):
            roll.last_word(_first_line(error))
            raise
        raise roll.lost(_first_line(error)) from error
    else:
        roll.leave()
    finally:
        dist.destroy_process_group()


@contextmanager
def _memory_of_two(place: Place, device: torch.device, *, answer_s: float) -> Iterator[Neighbours | None]:
    """What two ranks of one node share; None where they aren't, or one of them can't have it (containers with a /dev/shm each)."""
    if not are_neighbours(place, device):
        yield None
        return
    told: list[Any] = [new_file() if place.rank == 0 else None]
    dist.broadcast_object_list(told)
    near = Neighbours(Path(told[0]), place.rank, answer_s=answer_s) if told[0] and Path(told[0]).exists() else None
    have = torch.tensor(int(near is not None))
    dist.all_reduce(have, op=dist.ReduceOp.MIN)
    if told[0] and place.rank == 0:
        Path(told[0]).unlink()
    try:
        yield near if have else None
    finally:
        if near:
            near.close()


def _connect(roll: Roll, network: Network, device: torch.device, *, meeting_s: float, answer_s: float) -> None:
    """Connect each rank with each, in the time given to meet: packets that a firewall drops are noticed by nothing else."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    place = roll.place
    try:
        dist.init_process_group(
            backend, store=roll.store, rank=place.rank, world_size=place.world, timeout=datetime.timedelta(seconds=meeting_s)
        )
        dist.all_reduce(torch.zeros(1, device=device))  # NCCL connects when it first has something to say
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        # Private, and all there is: an answer may take longer than a connection. Held by a test.
        dist.distributed_c10d._set_pg_timeout(datetime.timedelta(seconds=answer_s))
    except (RuntimeError, dist.DistError) as error:
        raise ResourceError(
            f"{name_of(place)}: met at {roll.meet_at} and can't reach the other ranks by {backend} over {network} "
            f"({_first_line(error)}). If that is the wrong interface, export GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME in software.setup "
            "of the site profile; else look for a firewall between nodes (docs/cluster.md, GPUs and several nodes)"
        ) from error


def _is_broken(error: Exception) -> bool:
    """Whether an error says that another rank is gone or silent; gloo's are plain RuntimeErrors that name its source files."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo/", "NCCL", "shared memory:"))
    )


def _first_line(error: Exception) -> str:
    """Below it may stand a trace through C++; the file of torch's own source that it begins with helps nobody."""
    line = (str(error) or type(error).__name__).partition("\n")[0]
    return re.sub(r"^\[\S*/(\w+\.cc:\d+)\] ", r"\1: ", line).partition(" This is typically")[0]


def any_raised(ranks: Ranks, *flags: bool, device: torch.device) -> tuple[bool, ...]:
    """For each flag whether it is raised on any rank: the same answer on all, so that all act on it at the same step."""
    if ranks.world == 1:
        return flags
    raised = ranks.sum(torch.tensor(flags, dtype=torch.float32, device=device))
    return tuple(value > 0 for value in raised.tolist())


def told_by_first(ranks: Ranks, find: Callable[[], T]) -> T:
    """What rank 0 finds, on all ranks: a node may see a shared folder as it was some seconds ago."""
    if ranks.world == 1:
        return find()
    told = [find() if ranks.rank == 0 else None]
    dist.broadcast_object_list(told)
    return cast(T, told[0])


def wait_for_all(ranks: Ranks) -> None:
    if ranks.world > 1:
        dist.barrier()
