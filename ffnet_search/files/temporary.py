"""Temporary folders, in the run's folder or in the system's temporary folder; those of killed processes are removed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH = ".ffnet-"  # prefix of temporary folders
LEFT = re.compile(r"\.ffnet-[a-z0-9_]{8}")  # names of those in the system's temporary folder


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
        held = None
        while held is None:
            self.name = tempfile.mkdtemp(prefix=SCRATCH, dir=parent)
            held = _hold_new(Path(self.name))  # until the process ends
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


def _hold_new(folder: Path) -> int | None:
    """Lock a folder that was just made; None if another process removed it before it was locked."""
    with suppress(FileNotFoundError):
        held = _hold(folder)
        if folder.exists():
            return held
        os.close(held)
    return None


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
