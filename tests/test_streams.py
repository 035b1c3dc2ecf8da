"""Standard streams as shells and batch systems leave them: closed, full, without Unicode; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from written_runs import written_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_run(tmp_path_factory.mktemp("runs") / "mine")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("show RUN <&- >&-", 0),
        ("show RUN <&- >&- 2>&-", 0),
        ("show nothing <&- >&- 2>&-", 2),
        ("show RUN > /dev/full", 2),
        ("show RUN --json > /dev/full", 2),
        ("show nothing 2> /dev/full", 2),
    ],
)
def test_streams_that_cannot_be_written(run: Path, words: str, code: int) -> None:
    command = f"{sys.executable} -m ffnet_search {words.replace('RUN', str(run))}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr, len(done.stderr) > 400) == (code, False, False), done.stderr


def test_what_a_stream_cannot_encode_is_written_as_its_code(run: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ffnet_search", "show", str(run)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "63.02 \\xb1 3.48" in done.stdout, done.stderr


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(run: Path, port: str) -> None:
    command = [sys.executable, "-m", "ffnet_search", "dashboard", str(run), f"--port={port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Invalid value for '--port'" in done.stderr and len(done.stderr.splitlines()) == 1
