"""Image files that cannot be read. Pillow's plugins may raise any exception for a broken file; it is caught here
alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few, plural
from ffnet_search.progress import say

MAX_NAMED_FILES = 20  # files that an error names
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Unreadable:
    """A file, and why it cannot be read; as text both."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} ({self.reason})"

    @property
    def sentence(self) -> str:
        """The words of an error."""
        return f"{self.file} cannot be read as an image ({self.reason})"


def attempt(file: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Unreadable:
    """Return what `read(...)` returns, or why the image in `file` cannot be read. A SweepError passes."""
    try:
        return read(*args, **kwargs)
    except SweepError:
        raise
    except Exception as error:
        return Unreadable(file, str(error) or type(error).__name__)


def refuse_unreadable(broken: Sequence[Unreadable]) -> None:
    """Raise SweepError if there are unreadable files; it names many, and counts all."""
    if broken:
        them = "it" if len(broken) == 1 else "them"
        more = f" and {len(broken) - MAX_NAMED_FILES} more" if len(broken) > MAX_NAMED_FILES else ""
        raise SweepError(
            f"data.path: {_unreadable(len(broken))}; remove or replace {them}, or leave {them} out with "
            f"data.unreadable: skip: {', '.join(map(str, broken[:MAX_NAMED_FILES]))}{more}"
        )


def say_left_out(broken: Sequence[object]) -> None:
    """Name the unreadable files that are left out, if there are any."""
    if broken:
        are = "is" if len(broken) == 1 else "are"
        say(f"data: {_unreadable(len(broken))} and {are} left out: {first_few(list(map(str, broken)))}")


def _unreadable(count: int) -> str:
    return f"{plural(count, 'file')} cannot be read as {'an image' if count == 1 else 'images'}"


def must_be_left(images: int, split: str) -> None:
    """Raise SweepError if a split has no images."""
    if not images:
        raise SweepError(
            f"data.path: must hold an image for the split {split}, but none that can be read is left; add images"
        )
