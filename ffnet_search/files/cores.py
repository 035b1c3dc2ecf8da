"""The CPU cores of this process, which a container or a batch system may limit."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The number of CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
