"""User errors as one sentence: where, what must hold, what it is instead, what to do. One line, of bounded length."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from datetime import date
from itertools import islice
from pathlib import Path
from typing import ClassVar

START = "`ffnet-search init --data FOLDER` creates one for an image folder"  # the advice where no sweep exists
DISK = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS)))  # of a full disk, or one that is read only
AGAIN = "see to it, and give the same command again"  # where a file, a disk or a network failed
LINE = 286  # characters of an error on the command line, whatever the input held: 300 with the name of the program
VALUE = 80  # characters of a value in it
BESIDE = 1000  # names in a folder among which one that was meant is sought
NAME = 100  # a longer name resembles none
WORD = 60  # characters of each word, such as a path, in an error that is too long
FULL = (  # of C++ libraries, which do not say whether the disk or a quota is full
    "No space left on device",
    "PytorchStreamWriter failed writing",
    "iostream error",
    "unexpected pos",
    "database or disk is full",
)
_LONG_WORD = re.compile(rf"\S{{{WORD + 4},}}")
_PASSWORD = re.compile(r"(?<=://)[^\s/@'\"]*:[^\s/'\"]*@")
# Of the terminal, of lines, and of the direction of text, which can show a name as another one.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class SweepError(Exception):
    """A user error. The command line prints it and exits with 2; a bug shows its traceback.

    Line ends and other control characters of the input are escaped, and passwords of URLs are cut."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(without_passwords(str(message))))


class Terminated(SystemExit):
    """Raised when a signal ends this process; not an outcome of the evaluation that runs in it.

    `last_acts` are called if native code does not return in time, so that the process ends without this exception."""

    last_acts: ClassVar[list[Callable[[], object]]] = []


@contextmanager
def error_context(where: object) -> Iterator[None]:
    """Prefix the user errors raised inside with a file, for code that knows a field but not its file."""
    try:
        yield
    except SweepError as error:
        raise SweepError(f"{where}: {error}") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: `; did you mean 'width'?`, or the known names if none is near."""
    known = sorted(map(str, known))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if len(name) <= NAME else []
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def nearest_file(path: Path) -> str:
    """The end of a sentence about a missing YAML file: one beside it with a similar name; empty if there is none."""
    folder = path.parent if path.parent.is_dir() else Path()
    near = difflib.get_close_matches(path.name, [item.name for item in folder.glob("*.y*ml")], n=1, cutoff=0.6)
    return f"; did you mean {folder / near[0]}?" if near else ""


def nearest_folder(path: Path) -> str:
    """The same for a missing folder."""
    names: list[str] = []
    with suppress(OSError, ValueError), os.scandir(path.parent) as beside:
        names = [entry.name for entry in islice(beside, BESIDE) if entry.is_dir()]
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def printable(text: str) -> str:
    """The text with control characters escaped: neither a second line nor a command to the terminal."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def without_passwords(text: str) -> str:
    """The text with `user:password@` of each URL in it replaced by `***@`."""
    return _PASSWORD.sub("***@", text)


def one_line(text: object) -> str:
    """The text, of an error for example, with single blanks in place of its line ends and other white space."""
    return " ".join(str(text).split())


def shortened(text: str, limit: int = LINE) -> str:
    """The text, if it is longer than `limit` without the middle of long words, which are paths and values, and then
    without its own: the problem comes first, the remedy last."""
    if len(text) > limit:
        text = _LONG_WORD.sub(lambda found: f"{found.group()[: WORD // 2]}...{found.group()[-WORD // 2 :]}", text)
    if len(text) <= limit:
        return text
    tail = limit // 3
    begin, end = text[: limit - tail - 5], text[-tail:]
    whole = begin.rpartition(" ")[0], end.partition(" ")[2]  # no word is cut, where there are several
    return " ... ".join(short or long for short, long in zip(whole, (begin, end), strict=True))


def shown(value: object, limit: int = VALUE) -> str:
    """The `repr` of plain data, `nothing` for an empty value of YAML, cut after `limit` characters. No more of it is
    built, since aliases in YAML may hold the same list a billion times."""
    text = ""
    for piece in _pieces(value, limit):
        text += piece
        if len(text) > limit:
            return f"{text[: limit - 3]}..."
    return text


def _pieces(value: object, limit: int) -> Iterator[str]:
    if isinstance(value, str | bytes):
        yield repr(value[: limit + 1])
    elif isinstance(value, Mapping):
        yield "{"
        for index, (key, inner) in enumerate(value.items()):
            yield ", " if index else ""
            yield from _pieces(key, limit)
            yield ": "
            yield from _pieces(inner, limit)
        yield "}"
    elif type(value) in (list, tuple) or isinstance(value, Set):
        items = list(value)  # type: ignore[call-overload]  # a list, a tuple or a set
        brackets: dict[object, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ",)" if len(items) == 1 else ")")}
        opening, closing = brackets.get(type(value), ("{", "}"))
        yield opening
        for index, inner in enumerate(items):
            yield ", " if index else ""
            yield from _pieces(inner, limit)
        yield closing
    elif isinstance(value, int) and value.bit_length() > 4 * limit:
        yield hex(value)  # decimal digits of so large a number take long, or are refused
    elif value is None:
        yield "nothing"
    elif isinstance(value, date):
        yield value.isoformat()
    else:
        yield repr(value)


def io_reason(error: BaseException | None) -> str:
    """The operating system's message, if an error or its cause concerns a file, a disk or a network; else empty."""
    for one in _causes(error):
        if isinstance(one, OSError) and one.errno is not None:
            return one.strerror or os.strerror(one.errno)
        if any(words in str(one) for words in FULL):
            return os.strerror(errno.ENOSPC)
    return ""


def io_sentence(error: BaseException) -> str:
    """The message for a file error that was not handled elsewhere; empty for any other error, which is a bug."""
    reason = io_reason(error)
    name = next((one.filename for one in _causes(error) if isinstance(one, OSError) and one.filename), None)
    return f"{name or 'a file'}: {reason}; {AGAIN}" if reason else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
