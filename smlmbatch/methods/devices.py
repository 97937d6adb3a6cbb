"""Where torch computes: the device of a rank, what is done for it, and what the doctor says of it.

`Compute` is all that training knows of a device. On a GPU, batches are made ahead by a thread, pinned there, and copied without the
host waiting, and forward passes are in bfloat16; on a CPU none of that. Each of these is a plain value, so that a test on a CPU can
ask for it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.place import Place
from smlmbatch.methods.method import Ranks

T = TypeVar("T")
_AHEAD: Final = 2  # batches: one that is being copied, one that is being made
# Buffers are sums over all ranks already. One bucket, for each is a message that all ranks wait for; 25 MB hold any of our networks.
_DDP: Final[Mapping[str, Any]] = {"forward_sync_buffers": False, "gradient_as_bucket_view": True, "bucket_cap_mb": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """A device, as training uses it.

    Attributes
    ----------
    device : where tensors live
    ahead : batches that a thread makes beforehand; 0 = no thread
    pin : what a tensor goes through before it is copied, so that nobody waits for the copy; None = nothing
    half : whether forward passes of training are in bfloat16
    """

    device: torch.device
    ahead: int = 0
    pin: Callable[[Tensor], Tensor] | None = None
    half: bool = False

    def deliver(self, batches: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """The batches, on the device."""
        if self.pin:
            batches = _each_tensor(batches, self.pin)  # in the thread
        if self.ahead:
            batches = made_ahead(batches, self.ahead)
        return _each_tensor(batches, lambda values: values.to(self.device, non_blocking=True))

    def learner(self, network: nn.Module, ranks: Ranks) -> nn.Module:
        """The network as these ranks train it; the others get the weights of rank 0."""
        learner = network
        if ranks.world > 1 and getattr(ranks, "near", None):
            for values in network.state_dict().values():
                dist.broadcast(values, 0)
        elif ranks.world > 1:
            learner = DistributedDataParallel(network, device_ids=None if self.device.index is None else [self.device.index], **_DDP)
        return HalfPrecision(learner) if self.half else learner


def average_gradients(network: nn.Module, ranks: Ranks) -> None:
    """What DistributedDataParallel does by itself, for two ranks that share memory: through it, a step of 18 ms took one more."""
    if near := getattr(ranks, "near", None):
        learned = [values for values in network.parameters() if values.grad is not None]
        for values in learned:
            values.grad = values.grad.contiguous()  # type: ignore[union-attr]
        near.average_([values.grad for values in learned])


def compute_on(device: torch.device) -> Compute:
    """What is done for a device."""
    if device.type == "cuda":
        return Compute(device=device, ahead=_AHEAD, pin=Tensor.pin_memory, half=True)
    return Compute(device=device)


def _each_tensor(batches: Iterator[dict[str, Tensor]], change: Callable[[Tensor], Tensor]) -> Iterator[dict[str, Tensor]]:
    for batch in batches:
        yield {name: change(values) for name, values in batch.items()}


def made_ahead(items: Iterator[T], n: int) -> Iterator[T]:
    """The same items in the same order, up to `n` of them made beforehand by a thread; what it raises is raised here, in its turn."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque(thread.submit(next, items, end) for _ in range(n))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            thread.shutdown(cancel_futures=True)


class HalfPrecision(nn.Module):
    """A network's forward pass in bfloat16 where that is safe; what it gives is as wide as what it got, so losses are not in bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor, *others: Any) -> Any:
        with torch.autocast(values.device.type, dtype=torch.bfloat16):
            found = self.network(values, *others)
        return _widened(found, values.dtype)


def _widened(found: Any, dtype: torch.dtype) -> Any:
    """A network's result, or several by name or place, in a wider type."""
    if isinstance(found, Tensor):
        return found.to(dtype) if found.is_floating_point() else found
    if isinstance(found, Mapping):
        return {name: _widened(one, dtype) for name, one in found.items()}
    return tuple(_widened(one, dtype) for one in found)


@contextmanager
def steady() -> Iterator[None]:
    """For inference: one thread, so that sums are made in the same order everywhere, and no TF32: it keeps 10 bits of a product's
    factors, and results would leave the CPU's by more than rounding."""
    before, threads = torch.backends.cuda.matmul.allow_tf32, torch.get_num_threads()
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
        torch.set_num_threads(threads)


def choose_device(device: str, place: Place) -> torch.device:
    """The device of this rank: on a node with several GPUs, the one of its local number.

    Raises
    ------
    ConfigError
        cuda is asked for and not there
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("--device cuda: no GPU is visible here; `smlmbatch doctor` says what is. In a container: apptainer run --nv")
    number = place.local_rank % torch.cuda.device_count()  # srun --gpus-per-task shows each rank one only
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def describe_devices() -> str:
    """What `--device auto` would take here, and the GPUs that torch sees.

    A build for CUDA that sees no GPU says so: that is a driver, or a container started without its option, and no lack of cards.
    """
    cuda = torch.version.cuda
    if not torch.cuda.is_available():
        why = f"built for CUDA {cuda}, no GPU visible (in a container: apptainer run --nv)" if cuda else "built without CUDA"
        return f"cpu; torch {torch.__version__}, {why}"
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    shown = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    return f"cuda; torch {torch.__version__}, CUDA {cuda}, driver sees {len(cards)}: {shown}"
