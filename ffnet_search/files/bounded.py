"""Bounded reading of files that may be untrusted: regular files alone, of a limited size; JSON of limited depth and
numbers."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from ffnet_search.errors import shown

KIB = 1 << 10
JSON_BYTES = 32 * KIB * KIB
DEPTH = 40  # levels of lists and mappings
MAX_INT = 2**63 - 1  # of a whole number: beyond it databases and tensors overflow
DIGITS = 20  # of a whole number
MAX_MINUTES = 1e7  # of a limit of time: 19 years; timers of the system end at some centuries
MAX_FLOAT = 1e39  # of any other number: more than float32 holds, and products of it are still finite
NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # neither exists on every system


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read, but no device, pipe or socket, some of which never end. Raises OSError."""
    file = open(os.open(path, os.O_RDONLY | NO_WAIT), "rb")  # noqa: SIM115 (the caller closes it)
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode):
        return file
    file.close()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder")
    raise OSError("it must be a regular file, but is a device, a pipe or a socket")


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file. Raises OSError, or ValueError where it has more than `max_bytes`."""
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it must have at most {max_bytes // KIB:,} KiB, but has more")
    return content


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, of finite numbers as `write_json` writes them. Raises OSError, or ValueError
    where it is invalid or beyond a bound."""
    return parse_json(read_bounded(path, JSON_BYTES), _not_finite)


def parse_json(text: str | bytes, constant: Callable[[str], float] = float) -> Any:
    """Return the content of JSON. Raises ValueError if it is invalid or beyond a bound.

    `constant`: what NaN and infinity are read as; studies and journals have them."""
    try:
        content = json.loads(text, parse_int=_json_int, parse_float=bounded_float, parse_constant=constant)
    except RecursionError:
        content = None
    else:
        if not _is_deeper(content, DEPTH):
            return content
    raise ValueError(f"it must have at most {DEPTH} levels of lists and mappings, but has more")


def _is_deeper(content: Any, levels: int) -> bool:
    if levels < 0:
        return True
    if isinstance(content, dict):
        content = list(content.values())
    return isinstance(content, list) and any(_is_deeper(inner, levels - 1) for inner in content)


def must_be_date(text: str) -> str:
    """Return a date and time of ISO 8601, as this program writes them. Raises ValueError for any other text."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date and time of ISO 8601, but is {shown(text)}") from None
    return text


def is_bounded(number: float) -> bool:
    """True if a number is finite and within the bound that every reader has."""
    return abs(number) <= MAX_FLOAT


def bounded_float(text: str) -> float:
    """The number that a text is. Raises ValueError if it is beyond the bound."""
    number = float(text)
    if not is_bounded(number):
        raise ValueError(f"a number must be within +-{MAX_FLOAT:g}, but is {shown(text)}")
    return number


def _not_finite(name: str) -> float:
    raise ValueError(f"a number must be finite, but is {name}")


def _json_int(digits: str) -> int:
    if len(digits) > DIGITS or abs(int(digits)) > MAX_INT:
        raise ValueError(f"a whole number must be within +-{MAX_INT}, but is {shown(digits)}")
    return int(digits)
