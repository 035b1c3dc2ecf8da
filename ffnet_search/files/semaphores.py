"""Locks between processes, which some containers and jails do not have: there is no usable /dev/shm."""

from __future__ import annotations

import multiprocessing
from functools import cache

from ffnet_search.progress import say


@cache
def has_semaphores() -> bool:
    """True if processes can share a lock; where they cannot, that is said once, with what is left out."""
    try:
        multiprocessing.Lock()
    except (OSError, ImportError) as error:
        say(
            f"no lock can be shared by processes ({error}): images are decoded in one process, and TensorBoard gets no "
            "curves; mount a tmpfs at /dev/shm"
        )
        return False
    return True
