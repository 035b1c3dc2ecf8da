"""Ctrl-C, SIGTERM and SIGHUP as one event each: KeyboardInterrupt and Terminated, exit codes 130, 143 and 129, a quick
end; never within an import.

Python raises what a handler raises between any two instructions. Extension modules do not expect it while they are
imported: NumPy's recurses until the stack is full, ONNX Runtime's turns it into an ImportError, and C++ may abort the
process (SIGABRT, seen once). So the interrupt waits for the end of the import. What is raised in a destructor or a
callback of `weakref` is lost; then the signal is sent again.
"""

from __future__ import annotations

import atexit
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType

from ffnet_search.errors import Terminated
from ffnet_search.evaluation.signals import ENDING, is_own, lost_exceptions, send_again

EXIT_STOPPED = 130  # as shells have it: 128 + SIGINT
EXIT_TERMINATED = 143  # 128 + SIGTERM
EXIT_HUNG_UP = 129  # 128 + SIGHUP: the terminal was closed, or its connection lost
QUICK = (EXIT_STOPPED, EXIT_TERMINATED, EXIT_HUNG_UP)
PRESSED_TWICE_S = 1.0  # Ctrl-C within so long after another one is the same request: it must not disturb the end
PATIENCE_S = 8.0  # with an end in good order after SIGTERM: containers and batch systems kill 10 s or more after it


@contextmanager
def interruptible(last_words: Callable[[int], object] = lambda code: None, *, is_last: bool = False) -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, Terminated on SIGTERM and SIGHUP in the main thread, also where a library
    makes another error of it. SIGHUP stays ignored where it is, as `nohup` has it.

    What does not end the block within PATIENCE_S ends the process after `last_words`, which get the exit code: where a
    whole group was signalled, Ray has ended too, and is waited for in native code. `is_last`: the process ends after
    the block, so a second Ctrl-C stays without effect there, and a later one ends it at once."""
    received: list[tuple[int, BaseException]] = []
    done, raised_at = threading.Event(), -math.inf  # of the last Ctrl-C

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal raised_at
        if number == signal.SIGINT:
            if time.monotonic() - raised_at < PRESSED_TWICE_S and not is_own(number):
                return
            raised_at = time.monotonic()
        else:
            signal.alarm(0)  # Ray's handler below Python, where it came first, would abort the process by one
            if all(earlier == signal.SIGINT for earlier, _ in received):
                _begin_to_give_up(128 + number, done, last_words)
        received.append((number, KeyboardInterrupt() if number == signal.SIGINT else Terminated(128 + number)))
        raise received[-1][1]

    def take(lost: BaseException) -> bool:
        nonlocal raised_at
        numbers = [number for number, raised in received if raised is lost]
        if numbers:
            raised_at = -math.inf
            send_again(numbers[0], done.is_set)
        return bool(numbers)

    previous = {number: signal.signal(number, interrupt) for number in _heard()}
    try:
        with lost_exceptions(take):
            yield
    except (Exception, SystemExit) as error:
        if received and error is not received[0][1]:
            raise received[0][1] from error
        raise
    finally:
        done.set()
        for number, handler in previous.items():
            is_over = received and is_last and number == signal.SIGINT
            signal.signal(number, _impatient(raised_at) if is_over else handler)


def _heard() -> list[int]:
    """The signals that end the process: SIGHUP unless it is ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in ENDING if number != signal.SIGHUP or not ignored]


def _impatient(raised_at: float) -> Callable[[int, FrameType | None], None]:
    """A handler of Ctrl-C in a process that ends since one at the time `raised_at`."""

    def end(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - raised_at >= PRESSED_TWICE_S:
            os._exit(EXIT_STOPPED)

    return end


def _begin_to_give_up(code: int, done: threading.Event, last_words: Callable[[int], object]) -> None:
    """End the process with the exit code unless `done` is set within PATIENCE_S."""
    threading.Thread(target=_give_up, args=[code, done, last_words], name="last words", daemon=True).start()


def _give_up(code: int, done: threading.Event, last_words: Callable[[int], object]) -> None:
    if not done.wait(PATIENCE_S):
        for act in Terminated.last_acts:
            with suppress(Exception):
                act()
        with suppress(Exception):
            last_words(code)
        os._exit(code)


@contextmanager
def quick_end() -> Iterator[None]:
    """End the process quickly after the block exits with the code of a signal.

    Functions registered with atexit run (Ray's, logging's, ...); unloading PyTorch, which takes seconds, is left out.
    """
    code: int | None = None

    def end() -> None:
        if code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)

    atexit.register(end)  # the first to be registered is the last to be called
    try:
        yield
    except SystemExit as error:
        code = error.code if error.code in QUICK else None
        raise


def import_whole(*names: str) -> None:
    """Import modules one by one. Signals take effect between two of them, so name large packages singly."""
    for name in names:
        with deferred_interrupts():
            import_module(name)


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Delay the signals that end the process until the block ends, then call the handler that was set before."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    received: list[int] = []

    def defer(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, defer) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
