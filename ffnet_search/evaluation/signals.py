"""Signals during an evaluation: those that it sends to its own process, told from those of a batch system or a user,
and those whose exception is lost.

Nothing in Python says who sent a signal; but its audit events (PEP 578) say that this process is about to send one. One
from `signal.raise_signal`, native code or another process it does not see: `PREEMPTIONS` is for those. One that is
only passed on (`send_again`) is not its own. Python cannot raise what a signal handler raises in a destructor or a
callback of `weakref`: it prints the traceback ("Exception ignored in") and continues, so that the signal is lost.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ffnet_search.errors import Terminated

WATCHED = ("os.kill", "os.killpg", "signal.pthread_kill")
AGAIN_S = 0.05  # until a signal is sent again
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class EndedItself(Terminated):
    """Raised where an evaluation ends by a signal of its own process."""


class _Watch:
    """The state of this process."""

    is_listening = False  # a hook is never removed
    sent = 0  # the last signal to end this process that it sent to itself; 0: none
    passing_on = 0  # the thread that sends a received signal again; 0: none


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event in WATCHED and threading.get_ident() != _Watch.passing_on:
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


def is_own(number: int) -> bool:
    """True if the signal is the last one that this process has sent to itself in the block of `own_signals`."""
    return _Watch.sent == number


def send_again(number: int, is_over: Callable[[], bool]) -> None:
    """Send the main thread a signal once more in a moment, unless `is_over` by then."""

    def send() -> None:
        time.sleep(AGAIN_S)
        if is_over():
            return
        _Watch.passing_on = threading.get_ident()
        signal.pthread_kill(threading.main_thread().ident or 0, number)
        _Watch.passing_on = 0  # a later thread may have the same identity

    threading.Thread(target=send, name="signal again", daemon=True).start()


@contextmanager
def lost_exceptions(take: Callable[[BaseException], bool]) -> Iterator[None]:
    """Offer the exceptions that are lost in the block to `take`: where it returns True they are not printed.

    It is called where they were lost, so that it cannot raise them either."""
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_value is None or not take(lost.exc_value):
            before(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
