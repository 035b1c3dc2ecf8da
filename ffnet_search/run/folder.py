"""A run's folder: locked while it is worked in, with a record of what each stage was made from.

`run.json` is the only state. It is replaced whole, so that a kill leaves the old record or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import yaml

from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.run.remote_copy import RemoteCopy, remote_copy

FORMAT = 1
ENDING_S = 10.0  # that the helpers of a killed run get to notice its end: they inherited its lock


@dataclass(frozen=True)
class StageRecord:
    """What a stage was made from. `finished`: ISO 8601 in UTC, empty while it is under way or was interrupted."""

    digest: str
    inputs: Mapping[str, Any]
    amounts: Mapping[str, int] = field(default_factory=dict)
    finished: str = ""


class RunFolder:
    """The records of one run; made by `open_run`, which holds its lock."""

    def __init__(self, files: RunPaths, mirror: RemoteCopy | None = None) -> None:
        self.files, self.mirror = files, mirror
        self.records = _read(files.state)

    @property
    def path(self) -> Path:
        return self.files.folder

    def write(self, stage: str, record: StageRecord) -> None:
        """Sets the record of `stage`."""
        self._write_all({**self.records, stage: record})
        if self.mirror is not None:
            self.mirror.send()

    def claim(self) -> None:
        """Makes the folder one of a run, where no stage has begun."""
        self._write_all(self.records)

    def write_sweep(self, sweep: Sweep) -> None:
        """Keeps a copy of the sweep, its search space included, that `Sweep.from_yaml` reads."""
        content = sweep.model_dump(mode="json")
        _replace(self.files.sweep, yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120))

    def set_aside(self, stale: Mapping[str, list[Path]]) -> None:
        """Moves the files of `stale` stages and their records to `previous-DATE`: nothing computed is lost."""
        aside = self.path / f"previous-{datetime.now():%Y-%m-%dT%H-%M-%S}"
        while aside.exists():
            aside = aside.with_name(aside.name + "-again")
        aside.mkdir()
        old = {stage: record for stage, record in self.records.items() if stage in stale}
        _replace(aside / self.files.state.name, _dump(old))
        if self.files.sweep.exists():
            shutil.copy2(self.files.sweep, aside)
        for path in (path for paths in stale.values() for path in paths):
            os.replace(path, aside / path.name)
        self._write_all({stage: record for stage, record in self.records.items() if stage not in stale})

    def _write_all(self, records: dict[str, StageRecord]) -> None:
        _replace(self.files.state, _dump(records))
        self.records = records


@contextmanager
def open_run(sweep: Sweep) -> Iterator[RunFolder]:
    """The run's folder, made where it is missing and locked until the context ends, whatever ends it.

    Raises SweepError where another process works in it, where it holds files that are not of a run, or where it cannot
    be written.
    """
    files = sweep.files
    _must_be_ours(files)
    try:
        files.folder.mkdir(parents=True, exist_ok=True)
        lock = open(files.lock, "a+", encoding="utf-8")  # noqa: SIM115 (closed below; its closing frees the lock)
    except OSError as error:
        raise SweepError(f"{files.folder}: cannot be written ({error.strerror}); set `runs` in {sweep.path}") from None
    with lock:
        _acquire(lock, files)
        try:
            with remote_copy(files, sweep.mirror) as mirror:
                yield RunFolder(files, mirror)
        finally:
            lock.truncate(0)
            fcntl.flock(lock, fcntl.LOCK_UN)  # said aloud: a forked helper may still hold the file open


def _acquire(lock: IO[str], files: RunPaths) -> None:
    """The lock is the kernel's, and ends with the process that holds it: one that died leaves nothing to clean up."""
    give_up = time.monotonic() + ENDING_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            lock.seek(0)
            pid, _, host = lock.read().strip().partition(" on ")
            if host != socket.gethostname() or _is_alive(pid) or time.monotonic() > give_up:
                holder = f"process {pid} on {host}" if host else "another process"
                raise SweepError(
                    f"{files.folder}: {holder} is working in it; wait until it ends, or take another name with --name"
                ) from None
            time.sleep(0.1)
        except OSError as error:
            raise SweepError(f"{files.lock}: cannot be locked ({error.strerror}); put `runs` on a local disk") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()} on {socket.gethostname()}\n")
    lock.flush()


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _must_be_ours(files: RunPaths) -> None:
    if not files.folder.is_dir() or files.state.exists():
        return
    ours = {files.lock.name, files.sweep.name}  # what is written before the first record
    foreign = sorted(path.name for path in files.folder.iterdir() if path.name not in ours)
    if foreign:
        raise SweepError(
            f"{files.folder}: must be new, empty or the folder of a run, but holds {foreign[0]} and no "
            f"{files.state.name}; take another name with --name, or move what is there away"
        )


def _read(path: Path) -> dict[str, StageRecord]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        return {stage: StageRecord(**record) for stage, record in content["stages"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SweepError(
            f"{path}: must be the record of a run of this version, but cannot be read as one ({error}); the results "
            "beside it are whole: move the folder away, or take another name with --name"
        ) from None


def _dump(records: Mapping[str, StageRecord]) -> str:
    stages = {stage: asdict(record) for stage, record in records.items()}
    return json.dumps({"format": FORMAT, "stages": stages}, indent=1)


def _replace(path: Path, text: str) -> None:
    scratch = path.with_name(f"{path.name}.tmp")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)
