"""What each rank of a launch sees, and how fast they talk: what `doctor --distributed` asks before hours of GPUs are spent.

Bandwidth is the algorithm's: bytes of the tensor by seconds. A ring moves 2(n-1)/n of it over each link (nccl-tests' "busbw").
"""

import statistics
import time
from typing import Any, Final

import torch
import torch.distributed as dist

from smlmbatch.hpc.doctor import examine_rank
from smlmbatch.hpc.place import Place
from smlmbatch.methods.devices import choose_device
from smlmbatch.methods.method import Ranks
from smlmbatch.methods.ranks import Group, joined

_SIZES_MIB: Final = (1, 64)  # a small network's gradients; a large one's bucket
_REPEATS: Final = 5
_ROUNDS: Final = 20  # of a tensor of one number


def probe(place: Place, *, device: str) -> dict[str, Any]:
    """Join, and gather what every rank sees; JSON-ready, the same on all.

    Returns
    -------
    dict
        ranks: a row for each (see `examine_rank`); all_reduce: {"round_trip_ms", "mib_per_s": {MiB: MiB/s}}, {} with one rank

    Raises
    ------
    ResourceError
        the ranks don't meet, or don't reach one another
    ConfigError
        no such device
    """
    chosen = choose_device(device, place)
    with joined(place, chosen) as ranks:
        mine = examine_rank(place) | {"device": _name_of(chosen), **_memory_of(chosen), "torch": torch.__version__}
        if not isinstance(ranks, Group):
            return {"ranks": [mine | {"backend": "none", "network": "none"}], "all_reduce": {}}
        mine |= {"backend": dist.get_backend(), "network": str(ranks.network)}
        rows: list[Any] = [None] * ranks.world
        dist.all_gather_object(rows, mine)
        return {"ranks": rows, "all_reduce": _speeds(ranks, chosen)}


def _name_of(device: torch.device) -> str:
    return str(torch.cuda.get_device_properties(device).name) if device.type == "cuda" else "cpu"


def _memory_of(device: torch.device) -> dict[str, Any]:
    """Of a GPU: its memory, and which card it is wherever its number differs from process to process."""
    if device.type != "cuda":
        return {"device_gib": None, "card": ""}
    properties = torch.cuda.get_device_properties(device)
    return {"device_gib": round(properties.total_memory / 2**30, 1), "card": str(getattr(properties, "uuid", ""))}


def _speeds(ranks: Ranks, device: torch.device) -> dict[str, Any]:
    """Medians, the slowest rank's."""
    found = [statistics.median(_seconds(1, device) for _ in range(_ROUNDS))]
    found += [statistics.median(_seconds(size << 18, device) for _ in range(_REPEATS)) for size in _SIZES_MIB]
    slowest = torch.tensor(found, dtype=torch.float32, device=device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    round_trip_s, *seconds = slowest.tolist()
    return {
        "round_trip_ms": round(1e3 * round_trip_s, 3),
        "mib_per_s": {str(size): round(size / s, 1) for size, s in zip(_SIZES_MIB, seconds, strict=True)},
    }


def _seconds(n: int, device: torch.device) -> float:
    """One all-reduce of n float32, begun by all at once."""
    values = torch.zeros(n, device=device)
    dist.barrier()
    begun = time.perf_counter()
    dist.all_reduce(values)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun
