"""Ctrl-C as one event: KeyboardInterrupt, exit code 130 and a quick end; and never within an import.

Python raises KeyboardInterrupt between any two instructions. Extension modules do not expect it while they are
imported: NumPy's recurses until the stack is full, ONNX Runtime's turns it into an ImportError, and C++ may abort the
process (SIGABRT, seen once). So the interrupt waits for the end of the import.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType

EXIT_STOPPED = 130  # as shells have it: 128 + SIGINT


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C in the main thread, also where a library turns it into another error."""
    received = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if received:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def quick_end() -> Iterator[None]:
    """End the process quickly after the block exits with EXIT_STOPPED.

    Functions registered with atexit run (Ray's, logging's, ...); unloading PyTorch, which takes seconds, is left out.
    """
    stopped = False

    def end() -> None:
        if not stopped:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(EXIT_STOPPED)

    atexit.register(end)  # the first to be registered is the last to be called
    try:
        yield
    except SystemExit as error:
        stopped = error.code == EXIT_STOPPED
        raise


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
