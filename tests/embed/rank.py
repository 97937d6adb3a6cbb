"""The command line on one of several ranks, with something that goes wrong there: python -m tests.embed.rank FAULT ARGUMENTS...

Rank 0 takes its time over whole blocks, so that the others get some of every shared unit.
"""

import os
import signal
import sys
import time
from pathlib import Path

from smlmbatch.__main__ import main
from smlmbatch.embed import stage
from smlmbatch.errors import InputError

RANK = int(os.environ.get("RANK", "0"))
MARK = Path(os.environ.get("MARK", "/nowhere"))
embed_counts = stage.embed_counts


def slowly(network, counts, **options):
    if RANK == 0 and len(counts) == stage.BATCH:
        time.sleep(1.0)
    return embed_counts(network, counts, **options)


def hit(counts):
    """Whether this is rank 1's first whole block, over all of its processes: of a field that is shared."""
    if RANK != 1 or len(counts) < stage.BATCH:
        return False
    try:
        MARK.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def refuse(network, counts, **options):
    if hit(counts):
        raise InputError("models/mine", "is bad", "a good one", "mend it")
    return slowly(network, counts, **options)


def die(network, counts, **options):
    if hit(counts):
        os.kill(os.getpid(), signal.SIGKILL)
    return slowly(network, counts, **options)


def stop(network, counts, **options):
    """A warning reaches this rank alone; it is its parent that hears it."""
    if hit(counts):
        os.kill(os.getppid(), signal.SIGUSR1)
    return slowly(network, counts, **options)


stage.embed_counts = {"none": slowly, "refuse": refuse, "die": die, "stop": stop}[sys.argv.pop(1)]
main()
