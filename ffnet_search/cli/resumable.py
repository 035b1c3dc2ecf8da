"""The end of a command by a signal: how to resume is printed, and its exit code says which signal it was."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

from ffnet_search.cli.options import Output
from ffnet_search.errors import Terminated
from ffnet_search.progress import say
from ffnet_search.run.interrupt import EXIT_STOPPED, interruptible

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

ON_HEAD = "FFNET_SEARCH_ON_HEAD"  # in the environment of a submitted run, whose command exists on the cluster only


@contextmanager
def resumable(sweep: Sweep, output: Output) -> Iterator[None]:
    """Print how to resume after a signal that ended the block, whose progress is discarded if `output` is quiet."""
    words = ["ffnet-search", *(word for word in sys.argv[1:] if word != "--fresh")]
    again = "submit it again" if ON_HEAD in os.environ else shlex.join(words)
    kept = f"results so far are kept in {sweep.files.folder}; to resume: {again}"

    def last_words(code: int) -> None:
        output.answer_error(f"ended by {signal.Signals(code - 128).name}; {kept}", code)

    try:
        with interruptible(last_words, is_last=True), output.silenced():
            yield
    except KeyboardInterrupt:
        say("")  # ends the line of the terminal's ^C
        output.answer_error(f"stopped; {kept}", EXIT_STOPPED)
        raise typer.Exit(EXIT_STOPPED) from None
    except Terminated as ended:
        code = int(str(ended.code))
        with suppress(OSError):  # the terminal is gone
            last_words(code)
        raise typer.Exit(code) from None
