"""One of two ranks that share memory, started by the test: `python -m tests.methods.neighbour FILE RANK WHAT`; prints what it got."""

import os
import sys
from pathlib import Path

import torch

from smlmbatch.methods import neighbours
from smlmbatch.methods.neighbours import Neighbours


def agree(near: Neighbours) -> None:
    """Sums and rows of several shapes, types and sizes, many times over: nothing of one message may be seen in another."""
    sign = 1 - 2 * near.rank
    for turn in range(300):
        assert near.sum(torch.full((3, 2), 10.0 * turn + near.rank)).tolist() == [[20.0 * turn + 1] * 2] * 3
        assert near.gather(torch.full((2, 1), turn * sign)).tolist() == [[turn], [turn], [-turn], [-turn]]
    assert near.sum(torch.tensor(0.1 + near.rank, dtype=torch.float64)).item() == 0.1 + 1.1
    assert near.sum(torch.empty(0, 4)).shape == (0, 4)
    turned = torch.arange(6).view(2, 3).T  # not contiguous
    assert near.sum(turned).tolist() == (2 * turned).tolist()
    means = [torch.full((n,), float(near.rank + n)) for n in (1, 3, neighbours.SLOT_BYTES // 4, 5, neighbours.SLOT_BYTES)]
    near.average_(means)
    assert all(torch.equal(mean, torch.full_like(mean, len(mean) + 0.5)) for mean in means)
    large = torch.arange(neighbours.SLOT_BYTES, dtype=torch.int32) + near.rank  # four slots
    assert torch.equal(near.sum(large), 2 * torch.arange(neighbours.SLOT_BYTES, dtype=torch.int32) + 1)
    assert torch.equal(near.gather(large), torch.cat([large - near.rank, large - near.rank + 1]))


def leave(near: Neighbours) -> None:
    """Rank 1 answers once and dies; rank 0 goes on."""
    near.sum(torch.ones(1))
    if near.rank == 1:
        os.kill(os.getpid(), 9)
    near.sum(torch.ones(1))


def sulk(near: Neighbours) -> None:
    """Rank 1 lives and says nothing until rank 0 has given up (it is killed then)."""
    if near.rank == 1:
        while True:
            os.sched_yield()
    near.answer_s = 1.0
    near.sum(torch.ones(1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    path, rank, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    end = Neighbours(path, rank, answer_s=120.0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # the other one has its lock
    try:
        {"agree": agree, "leave": leave, "sulk": sulk}[what](end)
    except neighbours.NoAnswer as error:
        sys.stdout.write(f"{error}\n")
    else:
        sys.stdout.write("done\n")
    end.close()
