"""Ctrl-C, SIGTERM and SIGHUP as one event each: KeyboardInterrupt and Terminated, exit codes 130, 143 and 129, a quick
end; never within an import.

Python raises what a handler raises between any two instructions. Extension modules do not expect it while they are
imported: NumPy's recurses until the stack is full, ONNX Runtime's turns it into an ImportError, and C++ may abort the
process (SIGABRT, seen once). So the interrupt waits for the end of the import. What is raised in a destructor or a
callback of `weakref` is lost; then the signal is sent again.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType

from ffnet_search.errors import Terminated
from ffnet_search.evaluation.signals import ENDING, lost_exceptions, send_again

EXIT_STOPPED = 130  # as shells have it: 128 + SIGINT
EXIT_TERMINATED = 143  # 128 + SIGTERM
EXIT_HUNG_UP = 129  # 128 + SIGHUP: the terminal was closed, or its connection lost
QUICK = (EXIT_STOPPED, EXIT_TERMINATED, EXIT_HUNG_UP)
PATIENCE_S = 8.0  # with an end in good order after SIGTERM: containers and batch systems kill 10 s or more after it


@contextmanager
def interruptible(last_words: Callable[[int], object] = lambda code: None) -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, Terminated on SIGTERM and SIGHUP in the main thread, also where a library
    makes another error of it. SIGHUP stays ignored where it is, as `nohup` has it.

    What does not end the block within PATIENCE_S ends the process after `last_words`, which get the exit code: where a
    whole group was signalled, Ray has ended too, and is waited for in native code."""
    received: list[tuple[int, BaseException]] = []
    done = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        code = 128 + number
        if number != signal.SIGINT:
            signal.alarm(0)  # Ray's handler below Python, where it came first, would abort the process by one
            if all(earlier == signal.SIGINT for earlier, _ in received):
                threading.Thread(target=_give_up, args=[code, done, last_words], name="last words", daemon=True).start()
        received.append((number, KeyboardInterrupt() if number == signal.SIGINT else Terminated(code)))
        raise received[-1][1]

    def take(lost: BaseException) -> bool:
        numbers = [number for number, raised in received if raised is lost]
        if numbers:
            send_again(numbers[0], done.is_set)
        return bool(numbers)

    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    heard = [number for number in ENDING if number != signal.SIGHUP or not ignored]
    previous = {number: signal.signal(number, interrupt) for number in heard}
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
            signal.signal(number, handler)


def _give_up(code: int, done: threading.Event, last_words: Callable[[int], object]) -> None:
    """End the process with the exit code unless `done` is set within PATIENCE_S."""
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
