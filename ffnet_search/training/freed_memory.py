"""Freed memory, kept for the next step: glibc returns blocks of more than some hundred kB to the kernel at once.

Every activation of a training step is such a block. Its pages are then mapped and zeroed again in each step, a tenth of
its CPU time (docs/log/supernet.md).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)
MOST = 2**30  # bytes; larger blocks are returned


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let this process keep the memory that it frees until the end of the body, and return it then.

    It needs no more at its peak. Without effect where the C library is not glibc."""
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(MMAP_THRESHOLD, MOST)
    libc.mallopt(TRIM_THRESHOLD, MOST)
    try:
        yield
    finally:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None  # musl has neither
