"""Image files that cannot be read. Pillow's plugins may raise any exception for a broken file; it is caught here
alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from ffnet_search.errors import SweepError

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
        more = f" and {len(broken) - MAX_NAMED_FILES} more" if len(broken) > MAX_NAMED_FILES else ""
        raise SweepError(
            f"data.path: {len(broken)} files cannot be read as images; remove or replace them, or leave them out with "
            f"data.unreadable: skip: {', '.join(map(str, broken[:MAX_NAMED_FILES]))}{more}"
        )
