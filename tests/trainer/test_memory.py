"""Memory that a training frees, in a process of its own."""

import platform
import subprocess
import sys

import pytest

FREED = """
import resource
import torch
from expkit.trainer.memory import keep_freed

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
keep_freed()
faults()  # until there is a place that fits: what is small may lie in the way of the first ones
print(given_back, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again_without_going_back_to_the_system():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back >= 20 * 32  # of 64 MB each, where a page has 2
    assert kept < given_back / 100
