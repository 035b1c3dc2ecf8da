"""Ctrl-C is one thing to the caller, wherever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ffnet_search.cli.interrupt import EXIT_STOPPED, stoppable


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_is_raised_and_the_handler_of_before_is_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stoppable(lambda: pytest.fail("nothing ends here")):
        interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_library_makes_of_it_is_still_a_stop() -> None:
    def callback() -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise RuntimeError("a callback failed") from None

    with pytest.raises(KeyboardInterrupt) as raised, stoppable(lambda: None):
        callback()
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), stoppable(lambda: None):
        raise ZeroDivisionError


@pytest.mark.parametrize("swallow", ["raise", "pass"])
def test_in_an_import_the_process_says_so_and_ends(tmp_path: Path, swallow: str) -> None:
    (tmp_path / "heavy.py").write_text(
        "import signal\n"
        "try:\n    signal.raise_signal(signal.SIGINT)\n"
        f"except BaseException:\n    {swallow}  # as extension modules do\n"
    )
    code = (
        "import atexit, sys\n"
        "from ffnet_search.cli.interrupt import stoppable\n"
        "atexit.register(lambda: print('tidied'))\n"
        "with stoppable(lambda: print('to go on', file=sys.stderr)):\n"
        "    import heavy\n"
        "print('went on')\n"
    )
    path = f"{tmp_path}:{Path(__file__).parents[1]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert (done.returncode, done.stderr) == (EXIT_STOPPED, "to go on\n")
    assert "tidied" in done.stdout and "went on" not in done.stdout
