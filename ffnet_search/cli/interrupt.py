"""Ctrl-C as one event: KeyboardInterrupt, exit code 130 and a quick end. `run.imports` keeps it out of imports."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
