"""Atomic file replacement: a reader sees the old content or the new one, even if the writer is killed; downloads, and
the opening of files of strangers, too.

Temporary folders lie in the run's folder, or in the system's temporary folder; those of killed processes are removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ffnet_search.errors import AGAIN, SweepError, io_reason
from ffnet_search.formatting import finite
from ffnet_search.progress import progress

SUFFIX = ".tmp"  # of the file that is written first, beside the one to replace
TIMEOUT_S = 60.0
CHUNK = 1 << 20  # bytes
SCRATCH = ".ffnet-"  # prefix of temporary folders
LEFT = re.compile(r"\.ffnet-[a-z0-9_]{8}")  # names of those in the system's temporary folder
NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # neither exists on every system
ROOM = 1 << 20  # bytes: with less free space on a disk, a failure there counts as a full disk


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    Creates the parent folder. Raises SweepError if the folder cannot be written or the disk is full; then nothing new
    is left."""
    scratch, reason = path.with_name(f"{path.name}{SUFFIX}"), ""
    try:
        with all_or_none([path]):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                yield scratch
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


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged`, in place of an earlier one, and return that; a missing one is left."""
    aside = path.with_name(f"{path.name}.damaged")
    with suppress(FileNotFoundError):  # another rank was quicker
        os.replace(path, aside)
    return aside


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` with `text` in UTF-8. Raises SweepError."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace the content of `path` with plain data as JSON, NaN and infinities as null. Raises SweepError."""
    write_text(path, json.dumps(finite(content), indent=1, allow_nan=False) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the content of `path`. Raises SweepError."""
    with replacing(path) as scratch:
        scratch.write_bytes(content)


def download(url: str, target: Path, *, field: str, most_bytes: int, checksum: str = "") -> None:
    """Fetch `url` to `target`, which appears only once it is complete and has the checksum (`md5:...`, `sha256:...`).

    Raises SweepError, whose message starts with `field`; also if the file is larger than `most_bytes`."""
    import http.client

    part = target.with_name(f"{target.name}.{os.getpid()}{SUFFIX}")  # of this process: all ranks may fetch at once
    try:
        with all_or_none([part]):
            target.parent.mkdir(parents=True, exist_ok=True)
            found = _fetch(url, part, most_bytes, checksum.partition(":")[0] or "sha256")
            if checksum and found != checksum:
                kind, _, wanted = checksum.partition(":")
                raise SweepError(
                    f"{field}: {url} must have the {kind} checksum {wanted}, but the download has "
                    f"{found.partition(':')[2]} and was deleted; try again, or put the file at {target} yourself"
                )
            os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        raise SweepError(f"{field}: {url} cannot be fetched to {target}: {error}") from None


def _fetch(url: str, part: Path, most_bytes: int, kind: str) -> str:
    """Fetch a file and return its checksum. Raises OSError if it is cut off or larger than `most_bytes`."""
    import urllib.request

    digest, received = hashlib.new(kind, usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, part.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0))
        with progress(f"download {url.rpartition('/')[2]}", -(-size // CHUNK), "MiB") as bar:
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if max(received, size) > most_bytes:
                    raise OSError(f"it is larger than {most_bytes:,} bytes")
                digest.update(chunk)
                file.write(chunk)
                bar.advance()
    if received < size:
        raise OSError(f"it ended after {received:,} of {size:,} bytes")
    return f"{kind}:{digest.hexdigest()}"


class _Process:
    """The state of this process."""

    scratch: Path | None = None  # the parent of temporary folders; None: the system's


@contextmanager
def scratch_in(folder: Path) -> Iterator[None]:
    """Make temporary folders in `folder` until the block ends, then remove it; first remove what a killed process left
    there."""
    before, _Process.scratch = _Process.scratch, folder
    shutil.rmtree(folder, ignore_errors=True)
    remove_left()
    try:
        yield
    finally:
        _Process.scratch = before
        shutil.rmtree(folder, ignore_errors=True)


class TemporaryFolder:
    """A new folder in `parent`, removed with the object or at the end of its block; by another process where this one
    was killed. Raises OSError."""

    def __init__(self, parent: str | Path | None = None) -> None:
        while True:
            self.name = tempfile.mkdtemp(prefix=SCRATCH, dir=parent)
            held = _hold(Path(self.name))  # until the process ends
            if Path(self.name).exists():  # else another process removed it before it was locked
                break
            os.close(held)
        self._finalizer = weakref.finalize(self, _remove, self.name, held)

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *raised: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Remove the folder now."""
        self._finalizer()


def scratch_folder() -> TemporaryFolder:
    """A temporary folder. Raises OSError."""
    if _Process.scratch is not None:
        _Process.scratch.mkdir(parents=True, exist_ok=True)
    return TemporaryFolder(_Process.scratch)


def remove_left() -> None:
    """Remove the folders in the system's temporary folder whose processes were killed."""
    with suppress(OSError):  # there is no such folder, or it cannot be listed
        for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
            with suppress(OSError):  # held by a process that lives, or removed by another
                found = path.lstat()
                if LEFT.fullmatch(path.name) and found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode):
                    _remove(str(path), _hold(path, wait=False))


def _remove(name: str, held: int) -> None:
    shutil.rmtree(name, ignore_errors=True)
    os.close(held)


def _hold(folder: Path, *, wait: bool = True) -> int:
    """Lock a folder until the file descriptor is closed, at the latest when the process ends."""
    import fcntl

    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(held)
        raise
    return held


def _reason(error: BaseException, folder: Path) -> str:
    """The reason why a file could not be written; empty for an error that does not concern files."""
    if isinstance(error, SweepError) or not isinstance(error, Exception):
        return ""
    with suppress(OSError):
        if shutil.disk_usage(folder).free < ROOM:  # C++ libraries raise other errors for it
            return os.strerror(errno.ENOSPC)
    return io_reason(error)
