"""Memory of a training step is used again by the next one."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
import torch
from ffnet_search.training.freed_memory import keep_freed_memory

def step():
    parts = [torch.ones(4_000_000) for _ in range(4)]  # 16 MB each
    return sum(float(part[0]) for part in parts)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

step()
print(faults())
assert keep_freed_memory()
step()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_freed_memory_is_not_returned_to_the_kernel() -> None:
    """After the call, a step that allocates what the last one freed has next to no page fault."""
    ended = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    before, after = map(int, ended.stdout.split())
    assert before > 20  # of huge pages there are few
    assert after < before / 10
