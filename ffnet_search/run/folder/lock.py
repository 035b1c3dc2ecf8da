"""The lock of a run's folder: one process works in it at a time."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ffnet_search.config.files import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import AGAIN, SweepError, io_reason
from ffnet_search.files.bounded import read_bounded

LOCK_BYTES = 1 << 10  # at most: a number and a host
ENDING_S = 10.0  # for the child processes of a killed run, which inherited its lock, to end


@contextmanager
def alone_in(sweep: Sweep) -> Iterator[None]:
    """Keep other commands out of a run's folder, which is created where it is missing, until the context ends. Raises
    SweepError if another process works in it, or if it cannot be written."""
    files = sweep.files
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        lock = open(files.lock, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed below)
    except OSError as error:
        reason = io_reason(error) or error
        raise SweepError(f"{files.folder}: cannot be written ({reason}); set `runs` in {sweep.path}") from None
    with lock:
        _acquire(lock, files)
        try:
            yield
        finally:
            lock.truncate(0)
            fcntl.flock(lock, fcntl.LOCK_UN)  # explicitly: a forked child process may still hold the file open


def _acquire(lock: IO[str], files: RunPaths) -> None:
    """Take the kernel's lock, which ends with the process that holds it: a kill leaves nothing to clean up."""
    give_up = time.monotonic() + ENDING_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            lock.seek(0)
            pid, _, host = lock.read(LOCK_BYTES).strip().partition(" on ")
            if host != socket.gethostname() or _is_alive(pid) or time.monotonic() > give_up:
                holder = f"process {pid} on {host}" if host else "another process"
                raise SweepError(
                    f"{files.folder}: {holder} is working in it; wait until it ends, or take another name with --name"
                ) from None
            time.sleep(0.1)
        except OSError as error:
            reason = io_reason(error) or error
            raise SweepError(f"{files.lock}: cannot be locked ({reason}); put `runs` on a local disk") from None
    try:
        lock.truncate(0)
        os.write(lock.fileno(), f"{os.getpid()} on {socket.gethostname()}\n".encode())  # nothing is left to be flushed
    except OSError as error:
        raise SweepError(f"{files.lock}: cannot be written: {io_reason(error) or error}; {AGAIN}") from None


def working_process(files: RunPaths) -> str:
    """`process 12 on HOST`, where one works in a run's folder on this machine, as its lock says; else empty."""
    try:
        pid, _, host = read_bounded(files.lock, LOCK_BYTES).decode().strip().partition(" on ")
    except (OSError, ValueError):
        return ""
    return f"process {pid} on {host}" if host == socket.gethostname() and _is_alive(pid) else ""


def _is_alive(pid: str) -> bool:
    try:
        if not (pid.isascii() and pid.isdecimal()):  # of no process, or of a whole group
            return False
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
