"""The command line as users call it: each call is a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


def call(
    *words: object, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`ffnet-search WORDS`, as a user calls it, in this environment or that of the test."""
    environment = {**(os.environ if environment is None else environment), "COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-m", "ffnet_search", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=PATIENCE_S)


def user_error(*words: object, cwd: Path = ROOT) -> str:
    """The one line of a user error."""
    done = call(*words, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ffnet-search: ")
    return done.stderr
