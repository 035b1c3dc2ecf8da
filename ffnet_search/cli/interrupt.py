"""Ctrl-C as one event: a KeyboardInterrupt whatever libraries make of it, exit code 130, and a quick end.

Interrupts during imports are the business of `run.imports`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

EXIT_STOPPED = 130  # as shells have it: 128 + SIGINT


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt from the block on Ctrl-C, also where a library turns it into another error."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
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
    """End the process quickly after the block exits with EXIT_STOPPED, when everything is saved.

    All functions that are registered with atexit run (Ray's, logging's, a user's). Modules are not unloaded: for
    PyTorch that took a second, and on a busy machine five.
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
