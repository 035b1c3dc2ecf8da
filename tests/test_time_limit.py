"""No evaluation lasts for ever: a slow one, one that catches everything, and one that hangs in native code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from patience import PATIENCE_S
from searches import DIGITS

from ffnet_search.evaluation import time_limit
from ffnet_search.evaluation.outcome import Evaluate, Failed, NopPruner, Report, run_safely
from ffnet_search.evaluation.time_limit import TimeLimit
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration

CONFIGURATION = Configuration(DIGITS.smallest)
SOON = 0.02 / 60  # minutes


def sleeping(configuration: Configuration, report: Report) -> Candidate:
    time.sleep(600)
    raise AssertionError


def stubborn(configuration: Configuration, report: Report) -> Candidate:
    """As user code that retries whatever fails."""
    while True:
        try:
            time.sleep(0.001)
        except Exception:
            continue


def reporting(configuration: Configuration, report: Report) -> Candidate:
    epoch = 0
    while True:
        epoch += 1
        report(epoch, {"accuracy": 0.5})


@pytest.mark.parametrize("evaluate", [sleeping, stubborn, reporting])
def test_it_is_ended_and_failed(evaluate: Evaluate) -> None:
    outcome = run_safely(evaluate, CONFIGURATION, NopPruner(), SOON)
    assert isinstance(outcome, Failed)
    assert "it took longer than search.trial_minutes (0.000333333)" in outcome.reason


def test_an_alarm_in_a_destructor_is_not_printed_and_comes_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Slow:
        def __del__(self) -> None:
            time.sleep(600)

    def evaluate(configuration: Configuration, report: Report) -> Candidate:
        Slow()
        time.sleep(600)
        raise AssertionError

    monkeypatch.setattr(time_limit, "AGAIN_S", 0.1)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)  # pytest's keeps them
    assert isinstance(run_safely(evaluate, CONFIGURATION, NopPruner(), SOON), Failed)
    assert capfd.readouterr().err == ""


def test_what_is_quick_has_no_limit_afterwards() -> None:
    candidate = Candidate(DIGITS.smallest, {"accuracy": 0.5})
    assert run_safely(lambda configuration, report: candidate, CONFIGURATION, NopPruner(), SOON) is candidate
    time.sleep(0.05)


def test_an_alarm_after_the_end_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes between the end of the evaluation and that of the timer."""
    set_timer, before = signal.setitimer, signal.getsignal(signal.SIGALRM)

    def late(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        if not seconds:
            signal.raise_signal(signal.SIGALRM)
        return set_timer(which, seconds, interval)

    monkeypatch.setattr(signal, "setitimer", late)
    assert TimeLimit[int](1.0).call(lambda: 3) == 3
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_hang_in_native_code_ends_the_process() -> None:
    """A lock that libc waits for, with the interpreter's own lock held: neither an alarm nor a thread gets a turn."""
    code = (
        "import ctypes; from ffnet_search.evaluation import time_limit as t; t.GRACE_S = 0.1\n"
        "libc, memory = ctypes.PyDLL(None), ctypes.create_string_buffer(256)\n"
        "t.TimeLimit(0.001).call(lambda: [libc.pthread_mutex_lock(memory) for _ in range(2)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1 and "Timeout" in done.stderr


def exits() -> None:
    sys.exit("user code wants to end")


def ends_by_an_error() -> None:
    raise RuntimeError("no")


@pytest.mark.parametrize(("act", "reason"), [(exits, "SystemExit: user code"), (ends_by_an_error, "RuntimeError: no")])
def test_an_exit_in_user_code_is_a_failure_like_any_other(act: Callable[[], None], reason: str) -> None:
    outcome = run_safely(lambda configuration, report: act(), CONFIGURATION, NopPruner())  # type: ignore[func-returns-value,arg-type,return-value]
    assert isinstance(outcome, Failed) and reason in outcome.reason
