"""Memory of a training step is used again by the next one, and returned after the last."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import os
import resource
import torch
from ffnet_search.training.freed_memory import freed_memory_kept

def step():
    parts = [torch.ones(4_000_000) for _ in range(4)]  # 16 MB each
    return sum(float(part[0]) for part in parts)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

step()
figures = [faults()]
with freed_memory_kept():
    step()
    figures += [faults(), megabytes()]
print(*figures, megabytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_freed_memory_is_kept_between_steps_and_returned_at_the_end() -> None:
    """A step that allocates what the last one freed has next to no page fault; 64 MB are returned after all."""
    ended = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    before, within, kept, left = map(float, ended.stdout.split())
    assert before > 20  # of huge pages there are few
    assert within < before / 10
    assert left < kept - 50
