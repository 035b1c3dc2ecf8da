"""SIGTERM in processes of Ray: ours ends in words, a worker's death is nobody's result.

Ray 2.60 sets handlers of its own. Those in Python call `sys.exit`, which an evaluation would take for an error of user
code; the one below Python prints a stack, calls the former handler, and aborts the process by an alarm 3 s later.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ffnet_search.errors import Terminated


@contextmanager
def own_handler() -> Iterator[None]:
    """Keep this process's handler of SIGTERM when Ray is started in the block. Raises Terminated where the signal comes
    in the block."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # of Ray's handlers
        raise Terminated(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.alarm(0)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """Raise Terminated: the handler of a worker, whose trial another one begins again."""
    raise Terminated(128 + number)
