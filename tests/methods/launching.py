"""Ranks as torchrun starts them, without its half minute: processes of this machine that meet at a store kept by the test itself.

The test has the port from the moment it is known, so nobody else can take it in between.
"""

import datetime
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch.distributed as dist

ROOT = Path(__file__).parents[2]


class Launch:
    """So many ranks of one command; a context manager that leaves no process behind."""

    def __init__(self, world, folder, **environ):
        self.world, self.folder, self.ranks, self.environ = world, folder, [], environ
        self.store = dist.TCPStore("127.0.0.1", 0, world, True, datetime.timedelta(seconds=60), wait_for_workers=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for rank in self.ranks:
            rank.kill()
            rank.wait()

    def start(self, *arguments, only=None):
        """Start all ranks, or `only` these, with Python's arguments."""
        for rank in only or range(self.world):
            with (self.folder / f"rank{rank}.log").open("w") as log:
                self.ranks.append(
                    subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, env=self._environ(rank), stdout=log, stderr=log)
                )

    def _environ(self, rank):
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self.store.port, "TORCHELASTIC_USE_AGENT_STORE": "True"}
        numbers = {"WORLD_SIZE": self.world, "LOCAL_WORLD_SIZE": self.world, "RANK": rank, "LOCAL_RANK": rank}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        return inherited | {name: str(value) for name, value in (where | numbers).items()} | {"OMP_NUM_THREADS": "1"} | self.environ

    def codes(self, *, timeout_s=300):
        """Wait for all; their exit codes, -9 for one that was killed."""
        return [rank.wait(timeout=timeout_s) for rank in self.ranks]

    def kill(self, rank):
        self.ranks[rank].send_signal(signal.SIGKILL)

    def text(self, rank):
        return (self.folder / f"rank{rank}.log").read_text()

    def said(self, rank=None):
        """What one rank said, or all of them."""
        logs = [self.folder / f"rank{rank}.log"] if rank is not None else sorted(self.folder.glob("rank*.log"))
        return "\n".join(f"{log.name}: {log.read_text()}" for log in logs)
