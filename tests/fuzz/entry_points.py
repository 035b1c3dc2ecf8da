"""Entry points of the command line under limits of time and memory: a result or one sentence, within 5 s and 1 GiB."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ffnet_search.cli.app import main
from ffnet_search.errors import LINE, SweepError

PARTS, FILES = {"ci": (1, 32), "full": (20, 27)}[os.environ.get("FUZZ", "full")]  # of each kind, and files of each part
CPU_S, MEMORY_KIB = 5.0, 1 << 20
PROFILE = settings(
    max_examples=FILES,
    derandomize=os.environ.get("FUZZ") == "ci",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
RUN = "runs/tiny"
in_parts = pytest.mark.usefixtures("part")


class TooLong(BaseException):
    """The CPU time of one file is spent."""


@contextmanager
def bounded() -> Iterator[None]:
    """Fail where the block takes more CPU time or memory than any file may."""

    def stop(number: int, frame: object) -> None:
        raise TooLong

    signal.signal(signal.SIGVTALRM, stop)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    assert time.process_time() - start < CPU_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEMORY_KIB


def command(*words: str) -> None:
    """Run a command line: it ends with 0, or with 2 and one line. Anything else is an error of the test."""
    out, said = StringIO(), StringIO()
    sys.argv[1:] = words
    with bounded(), redirect_stdout(out), redirect_stderr(said), pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, 2), said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert "secret" not in said.getvalue()
    assert "\x1b" not in out.getvalue() + said.getvalue()
    if end.value.code == 2:
        (line,) = said.getvalue().splitlines()
        assert line.startswith("ffnet-search: ")
        assert len(line) <= LINE + len("ffnet-search: ")
    assert not Path("MARK").exists()


def call(function: Callable[[], Any]) -> None:
    """Call an entry point that no verb reaches in a second: it returns, or raises a sentence."""
    with bounded(), suppress(SweepError):
        function()
    assert not Path("MARK").exists()


@contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
