"""Freed memory, kept for the next step: glibc returns blocks of more than some hundred kB to the kernel at once.

Every activation of a training step is such a block. Its pages are then mapped and zeroed again in each step, a tenth of
its CPU time (docs/log/supernet.md).
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)
MOST = 2**30  # bytes; larger blocks are returned


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees. Returns False where the C library is not glibc.

    It needs no more memory at its peak, but keeps the peak until it ends."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(MMAP_THRESHOLD, MOST)) and bool(mallopt(TRIM_THRESHOLD, MOST))
