"""Atomic file replacement: a reader sees the old content or the new one, after a kill or a power cut too."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ffnet_search.errors import AGAIN, SweepError, io_reason
from ffnet_search.formatting import finite

SUFFIX = ".tmp"  # of the file that is written first, beside the one to replace
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # of file systems that know no such call
ROOM = 1 << 20  # bytes: with less free space on a disk, a failure there counts as a full disk


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    The content is on the disk before it has the name, unless it may be empty after a power cut (`durable=False`).
    Creates the parent folder. Raises SweepError if the folder cannot be written or the disk is full; then nothing new
    is left."""
    scratch, reason = path.with_name(f"{path.name}{SUFFIX}"), ""
    try:
        with all_or_none([path]):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                yield scratch
                if durable:
                    _to_disk(scratch)
                os.replace(scratch, path)
            except BaseException as error:
                reason = _reason(error, path.parent)  # before there is room again
                with suppress(OSError):
                    scratch.unlink(missing_ok=True)
                raise
    except BaseException as error:
        reason = reason or _reason(error, path.parent)
        if reason:
            raise SweepError(f"{path}: cannot be written: {reason}; {AGAIN}") from error
        raise


def can_sync(folder: Path) -> bool:
    """False if the file system of a folder knows no call that writes a file out; its other errors are not told here."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno not in NO_SYNC
    return True


def _to_disk(path: Path) -> None:
    """Have the system write a file out: names are often on a disk before contents, and a network file system tells of
    a full disk no sooner."""
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise


@contextmanager
def all_or_none(paths: Iterable[Path]) -> Iterator[None]:
    """Remove those of the files that are new, and the new folders that are then empty, if the block raises."""
    new = [path for path in paths if not os.path.lexists(path)]
    folders = {one for path in new for one in path.parents if not os.path.exists(one)}
    try:
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for folder in sorted(folders, key=lambda one: -len(one.parts)):
            with suppress(OSError):  # it holds something, or was not made
                folder.rmdir()
        raise


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged`, in place of an earlier one, and return that; a missing one is left."""
    aside = path.with_name(f"{path.name}.damaged")
    with suppress(FileNotFoundError):  # another rank was quicker
        os.replace(path, aside)
    return aside


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace the content of `path` with `text` in UTF-8. Lone surrogates (undecodable bytes of file names) become
    escape sequences. Raises SweepError."""
    write_bytes(path, text.encode(errors="backslashreplace"), durable=durable)


def write_json(path: Path, content: Any, *, durable: bool = True) -> None:
    """Replace the content of `path` with plain data as JSON, NaN and infinities as null. Raises SweepError."""
    write_text(path, json.dumps(finite(content), indent=1, allow_nan=False) + "\n", durable=durable)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace the content of `path`. Raises SweepError."""
    with replacing(path, durable=durable) as scratch:
        scratch.write_bytes(content)


def _reason(error: BaseException, folder: Path) -> str:
    """The reason why a file could not be written; empty for an error that does not concern files."""
    if isinstance(error, SweepError) or not isinstance(error, Exception):
        return ""
    with suppress(OSError):
        if shutil.disk_usage(folder).free < ROOM:  # C++ libraries raise other errors for it
            return os.strerror(errno.ENOSPC)
    return io_reason(error)
