"""A package as if it had never been imported, for a test that watches its import."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def forgotten(package: str) -> Iterator[None]:
    """Hide what is imported of `package`; after the block, forget what was imported of it there, and restore the rest
    and the places of imports."""
    path, before = list(sys.path), _taken(package)
    try:
        yield
    finally:
        sys.path[:] = path
        _taken(package)
        sys.modules.update(before)


def _taken(package: str) -> dict[str, ModuleType]:
    """The modules of a package, taken from those that are imported."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == package}
