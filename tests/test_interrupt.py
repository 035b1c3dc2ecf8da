"""Ctrl-C and SIGTERM: one exception to the caller, whole imports, exit codes 130 and 143, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ffnet_search.errors import Terminated
from ffnet_search.evaluation.signals import EndedItself, own_signals
from ffnet_search.run.interrupt import EXIT_STOPPED, EXIT_TERMINATED, deferred_interrupts, import_whole, interruptible

ROOT = Path(__file__).parents[1]


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def run_python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": ":".join(map(str, (*paths, ROOT)))}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_it_is_raised_and_the_previous_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_press_does_not_disturb_the_end_and_a_later_one_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def end_in_good_order() -> None:
        try:
            interrupt()
        finally:
            interrupt()
            ended.append(True)

    with pytest.raises(KeyboardInterrupt), interruptible():
        end_in_good_order()
    assert ended == [True]
    monkeypatch.setattr(sys.modules[interruptible.__module__], "PRESSED_TWICE_S", 0.0)
    with pytest.raises(KeyboardInterrupt), interruptible():
        end_in_good_order()
    assert ended == [True]


def test_an_error_that_a_library_makes_of_it_is_still_an_interrupt() -> None:
    def callback() -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise RuntimeError("a callback failed") from None

    with pytest.raises(KeyboardInterrupt) as raised, interruptible():
        callback()
    assert isinstance(raised.value.__cause__, RuntimeError)


@pytest.mark.parametrize("of_library", [RuntimeError("the cluster has ended"), SystemExit(1)], ids=str)
def test_sigterm_is_terminated_whatever_a_library_makes_of_it(of_library: BaseException) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def library() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Terminated:
            raise of_library from None

    with pytest.raises(Terminated) as raised, interruptible():
        library()
    assert raised.value.code == EXIT_TERMINATED and raised.value.__cause__ is of_library
    assert signal.getsignal(signal.SIGTERM) is before


LOST = """
import os, signal, sys, time, weakref
from ffnet_search.evaluation.signals import EndedItself, own_signals
from ffnet_search.run.interrupt import interruptible
class Ended:
    def __del__(self): os.kill(os.getpid(), signal.{name}); time.sleep(0.01)
class Other: pass
def called(ref): os.kill(os.getpid(), signal.{name}); time.sleep(0.01)
try:
    with interruptible():
        {act}
        print("goes on", flush=True)
        time.sleep({seconds})
except BaseException as error:
    print(repr(error))
"""


@pytest.mark.parametrize("act", ["Ended()", "one = Other(); ref = weakref.ref(one, called); del one"])
@pytest.mark.parametrize(("name", "raised"), [("SIGTERM", "Terminated(143)"), ("SIGINT", "KeyboardInterrupt()")])
def test_what_a_destructor_or_a_callback_loses_is_raised_after_it(act: str, name: str, raised: str) -> None:
    done = run_python(LOST.format(act=act, name=name, seconds=6))
    assert (done.stdout, done.stderr) == (f"goes on\n{raised}\n", "")


def test_a_signal_from_elsewhere_that_is_sent_again_is_not_the_evaluations_own() -> None:
    code = LOST.format(act="Ended()", name="SIGTERM", seconds=6)
    code = code.replace("os.kill(os.getpid(), signal.SIGTERM)", "signal.raise_signal(signal.SIGTERM)")  # not audited
    code = code.replace("with interruptible():", "with interruptible(), own_signals():")
    done = run_python("from ffnet_search.evaluation.signals import own_signals\n" + code)
    assert (done.stdout, done.stderr) == ("goes on\nTerminated(143)\n", "")


def test_a_block_that_ends_first_is_left_alone_and_other_lost_exceptions_are_printed() -> None:
    done = run_python(LOST.format(act="Ended()", name="SIGTERM", seconds=0) + "time.sleep(0.3); print('end')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\nend\n", "")
    act = "Other.__del__ = lambda self: 1 / 0; Other()"
    assert "ZeroDivisionError" in run_python(LOST.format(act=act, name="SIGTERM", seconds=0)).stderr


def test_sigterm_ends_what_does_not_return_from_native_code() -> None:
    done = run_python(
        "import signal, time\n"
        "from ffnet_search.run import interrupt\n"
        "interrupt.PATIENCE_S = 0.1\n"
        "def hang(number):\n"
        "    try: signal.raise_signal(number)\n"
        "    finally: time.sleep(600)\n"
        "from ffnet_search.errors import Terminated\n"
        "Terminated.last_acts += [lambda: 1 / 0, lambda: print('last acts')]\n"
        "with interrupt.interruptible(lambda code: print('last words', code, flush=True)):\n"
        "    hang(signal.SIGTERM)\n"
    )
    assert (done.returncode, done.stdout) == (EXIT_TERMINATED, "last acts\nlast words 143\n")


@pytest.mark.parametrize("is_ignored", [False, True], ids=["terminal", "nohup"])
def test_a_closed_terminal_ends_it_in_words_unless_nohup_says_otherwise(is_ignored: bool) -> None:
    done = run_python(
        "import signal\n"
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if is_ignored else 'SIG_DFL'})\n"
        "from ffnet_search.run.interrupt import interruptible\n"
        "with interruptible():\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    print('goes on')\n"
    )
    assert (done.returncode, done.stdout) == ((0, "goes on\n") if is_ignored else (129, ""))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError


def test_other_threads_are_left_alone() -> None:
    entered = []

    def work() -> None:
        with deferred_interrupts():
            entered.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [before]


def test_an_import_is_completed_before_the_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n")
    (tmp_path / "never_begun.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        import_whole("interrupted", "never_begun")
    assert sys.modules["interrupted"].whole and "never_begun" not in sys.modules
    assert signal.getsignal(signal.SIGINT) is before


def test_a_failed_import_keeps_its_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_whole("no_such_module")


@pytest.mark.parametrize(("code", "quick"), [(EXIT_STOPPED, True), (129, True), (0, False), (2, False)])
def test_a_stopped_process_calls_exit_functions_and_is_not_unloaded(code: int, quick: bool) -> None:
    done = run_python(
        "import atexit, tempfile\n"
        "from ffnet_search.run.interrupt import quick_end\n"
        "class Module:\n"
        "    def __del__(self): print('unloaded', flush=True)\n"
        "with quick_end():\n"
        "    kept = Module()\n"
        "    folder = tempfile.TemporaryDirectory()\n"
        "    print(folder.name)\n"
        "    atexit.register(print, 'exit function')\n"
        f"    raise SystemExit({code})\n"
    )
    folder, *rest = done.stdout.splitlines()
    assert done.returncode == code, done.stderr
    assert rest == (["exit function"] if quick else ["exit function", "unloaded"])
    assert not Path(folder).exists()


def test_an_evaluation_that_interrupts_itself_again_at_once_is_heard() -> None:
    def evaluate() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 1)

    with interruptible():
        for _ in range(2):
            with pytest.raises(EndedItself), own_signals():
                evaluate()
