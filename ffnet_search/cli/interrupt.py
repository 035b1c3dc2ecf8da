"""Ctrl-C, wherever it comes: in the midst of an import too, and where a library makes another error of it.

Python raises KeyboardInterrupt between any two instructions. Inside the import of an extension module nobody expects
it: NumPy's recurses until the stack is full, ONNX Runtime's makes an ImportError of it, and C++ may abort the process
(SIGABRT, seen once). An import has nothing to save, so there the process ends at once; on disk is what a kill would
leave, which is whole.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from types import FrameType

EXIT_STOPPED = 130  # as shells have it: 128 + SIGINT


@contextmanager
def stoppable(tell: Callable[[], None]) -> Iterator[None]:
    """Within, Ctrl-C raises KeyboardInterrupt and nothing else, or calls `tell` and ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if _importing(frame):
            with redirect_stderr(sys.__stderr__):
                tell()
            end_at_once()
        asked = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except Exception as error:
        if asked:  # what somebody made of it
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded, at any depth."""
    while frame is not None:
        if frame.f_code.co_name == "_load_unlocked" and "importlib" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def end_at_once() -> None:
    """Ends a process that was stopped, when all is saved: what is registered for the end is done, but PyTorch and the
    like are not taken apart, which took a second and on a busy machine five."""
    with suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(EXIT_STOPPED)
