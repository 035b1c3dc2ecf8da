"""CPU threads by the size of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from ffnet_search.files.cores import usable_cores

# Multiply-accumulates of one forward pass per thread. Below it a second thread gained 1.2x on a quiet machine of two
# cores, and cost up to 26x on a busy one, where threads wait for each other at every operator.
MACS_PER_THREAD = 1e9


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run the body on `count` threads of PyTorch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(macs: float) -> AbstractContextManager[None]:
    """Run the body on as many threads as `macs` (of a batch) pay for. A rule, not a measurement: results repeat."""
    return threads(max(1, min(torch.get_num_threads(), usable_cores(), int(macs / MACS_PER_THREAD))))
