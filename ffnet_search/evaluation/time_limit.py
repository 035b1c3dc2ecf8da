"""The time limit of one evaluation (`search.trial_minutes`).

Three ways, from gentle to hard. A report after the end of the time raises. In the main thread an alarm raises in the
middle of Python code, again and again where it is caught; an evaluation in another thread is abandoned there.
And where even that does not end it, as in native code that hangs, the whole process ends after `GRACE_S`: the engine,
or the next run, counts that as a death by this trial.
"""

from __future__ import annotations

import faulthandler
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

from ffnet_search.evaluation.signals import lost_exceptions

GRACE_S = 60.0  # for an evaluation to end by an exception
AGAIN_S = 5.0  # from one alarm to the next
T = TypeVar("T")


class TimeIsUp(BaseException):
    """Raised in an evaluation that takes too long. No `Exception`, which user code may catch and continue."""


class TimeLimit(Generic[T]):
    """The limit of one evaluation, in minutes; None never ends it."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def check(self) -> None:
        """Raise TimeIsUp after the end of the time."""
        if self._end is not None and time.monotonic() > self._end:
            raise TimeIsUp

    def call(self, evaluate: Callable[[], T]) -> T:
        """Call `evaluate`. Raises TimeIsUp at the end of the time, and ends the process where that is not enough."""
        if self.minutes is None:
            return evaluate()
        if threading.current_thread() is threading.main_thread():
            with _alarm(60 * self.minutes):
                return evaluate()
        return _abandonable(evaluate, 60 * self.minutes)

    def __str__(self) -> str:
        return f"it took longer than search.trial_minutes ({self.minutes:g})"


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeIsUp in the block of the main thread."""
    is_over = False  # an alarm at the very end of the block must not keep the clean-up from ending

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not is_over:
            raise TimeIsUp

    faulthandler.dump_traceback_later(seconds + GRACE_S, exit=True)  # needs no turn of the interpreter
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
        with lost_exceptions(lambda lost: isinstance(lost, TimeIsUp)):  # the alarm comes again
            yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


def _abandonable(evaluate: Callable[[], T], seconds: float) -> T:
    """Call `evaluate` in a thread that is left alone, and ends with the process, where it takes longer."""
    ended: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            ended.put((evaluate(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=run, name="evaluation", daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeIsUp from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
