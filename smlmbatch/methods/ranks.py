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
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from smlmbatch.errors import Interrupted, ResourceError
from smlmbatch.hpc.network import Network, settle_network
from smlmbatch.hpc.place import Place
from smlmbatch.methods.meeting import MEETING_S, Roll, meet, name_of, never
from smlmbatch.methods.method import Alone, Ranks

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
    """All ranks' rows one below the other (torch's own is deprecated).

    All ranks make the same of them, so what the others' results say about this rank's rows is what its own says: no message goes back.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, rank: int, world: int) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(world)]
        dist.all_gather(parts, values.contiguous())
        ctx.mine, ctx.world = slice(rank * len(values), (rank + 1) * len(values)), world
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.mine] * ctx.world, None, None


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
        yield Group()
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
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo/", "NCCL")))


def _first_line(error: Exception) -> str:
    """Below it may stand a trace through C++; the file of torch's own source that it begins with helps nobody."""
    line = (str(error) or type(error).__name__).partition("\n")[0]
    return re.sub(r"^\[\S*/(\w+\.cc:\d+)\] ", r"\1: ", line).partition(" This is typically")[0]


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
