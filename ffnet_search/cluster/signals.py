"""SIGTERM in processes that use Ray: this process ends with a message, and a killed worker's trial has no outcome.

Ray 2.60 sets handlers of its own, which no public setting leaves out. Those in Python call `sys.exit`, which an
evaluation would take for an error of user code; the one below Python prints a stack, calls the former handler, and
aborts the process by an alarm 3 s later.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ffnet_search.errors import Terminated


@contextmanager
def own_handler() -> Iterator[None]:
    """Keep this process's handler of SIGTERM when Ray is started in the block, and call it afterwards where the signal
    came meanwhile: an exception that a handler raises while Ray forks its processes is lost."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        signal.alarm(0)  # of the handler below Python
        received.append(number)

    def set_other(number: int, handler: Any) -> Any:
        return note if number == signal.SIGTERM else set_any(number, handler)

    set_any = signal.signal
    before = set_any(signal.SIGTERM, note)
    signal.signal = set_other  # type: ignore[assignment]  # Ray sets its handlers by this function
    try:
        yield
    finally:
        signal.signal = set_any
        set_any(signal.SIGTERM, before)
        if received:
            signal.raise_signal(signal.SIGTERM)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """Raise Terminated: the handler of a worker, whose trial another one begins again."""
    raise Terminated(128 + number)
