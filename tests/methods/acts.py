"""One rank that meets the others and then does as it is told, started by the tests: `python -m tests.methods.acts ACT FOLDER`."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch

from smlmbatch.errors import ConfigError, SmlmbatchError
from smlmbatch.hpc.child import stop_once
from smlmbatch.hpc.place import read_place
from smlmbatch.methods.letters import Box, all_ranks
from smlmbatch.methods.ranks import joined


def work(act: str, folder: Path) -> None:
    """Sum a number a step; the rank that the act names does something else at the tenth."""
    place = read_place()
    with joined(place, torch.device("cpu"), answer_s=20.0 if act.startswith("hang") else 600.0) as ranks:
        for step in range(20):
            if step == 10 and ranks.rank == int(act[-1]):
                ACTS[act[:-2]](folder)
            if step == 10 and ranks.rank == 2 and act.startswith("fail alone"):
                time.sleep(600)
            total = ranks.sum(torch.full((4,), float(ranks.rank + step)))
            assert torch.equal(total, torch.full((4,), sum(rank + step for rank in range(ranks.world)), dtype=total.dtype)), total
        if ranks.rank == 0:
            time.sleep(0.5)  # the others leave long before


def share() -> None:
    """Rank 1 gives up while the other is busy; both are stopped then, as by srun: one at its work, one on its way out."""
    place = read_place()
    signal.signal(signal.SIGTERM, stop_once)
    with all_ranks(place) as seat:
        if place.rank == 1:
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
            raise ConfigError("no such thing")
        while not Box(seat).stopped():
            time.sleep(0.1)
        time.sleep(3.0)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)


def _fail(folder: Path) -> None:
    raise OSError(28, "No space left on device", str(folder))


ACTS = {
    "kill": lambda folder: os.kill(os.getpid(), signal.SIGKILL),
    "fail": _fail,
    "fail alone": _fail,
    "hang": lambda folder: time.sleep(600),
    "nothing": lambda folder: None,
}


if __name__ == "__main__":
    try:
        share() if sys.argv[1] == "share" else work(sys.argv[1], Path(sys.argv[2]))
    except SmlmbatchError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(error.exit_code)
    except OSError:
        sys.exit(2)
