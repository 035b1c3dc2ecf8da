"""User errors as one sentence: where, what must hold, what it is instead, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

START = "`ffnet-search init --data FOLDER` creates one for an image folder"  # the advice where no sweep exists


class SweepError(Exception):
    """A user error. The command line prints it and exits with 2; a bug shows its traceback."""


class Terminated(SystemExit):
    """The end of this process by a signal, which is not the outcome of whatever runs in it."""


@contextmanager
def error_context(where: object) -> Iterator[None]:
    """Prefix the user errors raised inside with a file, for code that knows a field but not its file."""
    try:
        yield
    except SweepError as error:
        raise SweepError(f"{where}: {error}") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: `; did you mean 'width'?`, or the known names if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
