"""Freed memory stays where glibc is told to keep it."""

import subprocess
import sys

import pytest

from smlmbatch.hpc.heap import keep_freed_memory

COUNT = """
import resource, sys
from smlmbatch.hpc.heap import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    for _ in range(20):
        blocks = [bytearray(1 << 20) for _ in range(16)]
        del blocks
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    return int(subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout)


def test_kept_memory_is_not_fetched_again():
    """16 MiB taken and given back 20 times: 81,920 pages to fetch, or none."""
    if not keep_freed_memory():
        pytest.skip("no glibc")
    assert faults("kept") < 100
    assert faults("as it is") > 1000
