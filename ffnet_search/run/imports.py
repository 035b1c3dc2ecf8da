"""Imports that Ctrl-C does not break.

Python raises KeyboardInterrupt between any two instructions. Extension modules do not expect it while they are
imported: NumPy's recurses until the stack is full, ONNX Runtime's turns it into an ImportError, and C++ may abort the
process (SIGABRT, seen once). So the interrupt waits for the end of the import.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType


def import_whole(*names: str) -> None:
    """Import modules one by one. Ctrl-C takes effect between two of them, so name large packages singly."""
    for name in names:
        with deferred_interrupts():
            import_module(name)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the block ends, then call the handler that was set before."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    received = False

    def defer(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True

    previous = signal.signal(signal.SIGINT, defer)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if received:
            signal.raise_signal(signal.SIGINT)
