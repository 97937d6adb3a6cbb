"""The command line on one of several ranks, with blocks so small that a small field has many: python -m tests.cluster.rank ARGUMENTS...

Rank 0 waits with its first block of a shared unit until another has begun one: so others get some of every such unit.
"""

import os
import time
from pathlib import Path

from smlmbatch.__main__ import main
from smlmbatch.methods.miro import blocks

MOST_LOCS = 150
RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
MARKS = Path(os.environ["MARKS"])  # a file for each unit that another rank has begun, by its number of blocks
LONGEST_S = 200.0
ALL_BLOCKS = blocks.MiroBlocks


class SmallBlocks(ALL_BLOCKS):
    def __init__(self, unit, **given):
        super().__init__(unit, most_locs=MOST_LOCS, **given)

    def compute(self, number):
        mark, until = MARKS / str(self.count), time.monotonic() + LONGEST_S
        if RANK:
            mark.touch()
        while self.count >= 2 * WORLD > 2 and not mark.exists() and time.monotonic() < until:
            time.sleep(0.05)
        return super().compute(number)


blocks.MiroBlocks = SmallBlocks
main()
