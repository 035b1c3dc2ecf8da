"""A package whose import a test watches for, forgotten afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def forgotten(package: str) -> Iterator[None]:
    """Restore the places of imports after the block, and forget what was imported of `package`."""
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
