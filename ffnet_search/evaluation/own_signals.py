"""Signals that an evaluation sends to its own process, told from those of a batch system or a user.

Nothing in Python says who sent a signal; but its audit events (PEP 578) say that this process is about to send one. One
from `signal.raise_signal`, native code or another process it does not see: `PREEMPTIONS` is for those.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ffnet_search.errors import Terminated

WATCHED = ("os.kill", "os.killpg", "signal.pthread_kill")
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndedItself(Terminated):
    """Raised where an evaluation ends by a signal of its own process."""


class _Watch:
    """The state of this process."""

    is_listening = False  # a hook is never removed
    sent = 0  # the last signal to end this process that it sent to itself; 0: none


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event in WATCHED:
        target, number = arguments
        own = {"os.kill": (os.getpid(), 0, -os.getpgrp()), "os.killpg": (os.getpgrp(), 0)}
        if isinstance(number, int) and number in ENDING and target in own.get(event, (target,)):
            _Watch.sent = int(number)


@contextmanager
def own_signals() -> Iterator[None]:
    """Raise EndedItself where the block ends by a signal that this process has sent to itself in the block."""
    if not _Watch.is_listening:
        sys.addaudithook(_listen)
        _Watch.is_listening = True
    _Watch.sent = 0
    try:
        yield
    except (KeyboardInterrupt, Terminated) as ended:
        if not _Watch.sent:
            raise
        raise EndedItself(128 + _Watch.sent) from ended
