"""CPU threads by the size of a network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Multiply-accumulates of one forward pass per thread. Below it a second thread gained 1.2x on a quiet machine of two
# cores, and cost up to 26x on a busy one, where threads wait for each other at every operator.
MACS_PER_THREAD = 1e9


@contextmanager
def threads_for(macs: float) -> Iterator[None]:
    """Run the body on as many threads as `macs` (of a batch) pay for. A rule, not a measurement: results repeat."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, os.cpu_count() or 1, int(macs / MACS_PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(before)
