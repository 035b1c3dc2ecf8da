"""A run's folder in an object store: fetched when a run begins there, sent up while it works and after each stage.

Stages work in a local folder, which is what they need (locks, SQLite, renames); the store holds a copy that is at most
`EVERY_S` old. The record of what is done (`run.json`) goes up last, so it never tells of files that are not there yet.
File systems are those of pyarrow, as Ray has them: s3://, gs://, hdfs://, file://.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ffnet_search.config.run_paths import RunPaths
from ffnet_search.errors import SweepError
from ffnet_search.progress import say

EVERY_S = 60.0
CHUNK = 1 << 20
WITHOUT_FOLDERS = ("s3", "gcs")  # there to make one asks for the right to look at, or even to make, the bucket
PATIENCE_S = 60  # with a store that does not answer; Google's library would try again for a quarter of an hour
# Not of the run but of this machine: locks, unfinished files, SQLite's own beside a study that goes up as a whole.
_LOCAL = (".lock", ".tmp", ".new", "-wal", "-shm", "-journal")


@contextmanager
def remote_copy(files: RunPaths, url: str | None) -> Iterator[RemoteCopy | None]:
    """Fetches the run at `url` where the folder holds none, and sends up what changes until the context ends. Raises
    SweepError where the store cannot be reached or written."""
    if url is None:
        yield None
        return
    mirror = RemoteCopy(files, url)
    mirror.fetch()
    mirror.send()  # that it can be written is known before hours are spent
    stop = threading.Event()
    thread = threading.Thread(target=mirror.keep_sending, args=(stop,), name="mirror", daemon=True)
    thread.start()
    try:
        yield mirror
    except BaseException:
        with suppress(SweepError):  # what ended the run is what matters
            mirror.send()
        raise
    else:
        mirror.send()
    finally:
        stop.set()
        thread.join()


class RemoteCopy:
    """Of the folder of `files` at `url`/NAME."""

    def __init__(self, files: RunPaths, url: str) -> None:
        self.files, self.where = files, f"{_for_people(url)}/{files.folder.name}"
        with self._errors():
            from pyarrow import fs

            self._store, root = fs.FileSystem.from_uri(_with_patience(url))
            self._root = f"{root.rstrip('/')}/{files.folder.name}"
            self._selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
            self._is_file = fs.FileType.File
        self._sent: dict[str, tuple[int, int]] = {}  # what is there -> size and time of the file here
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """All that is there, where nothing is here; else what is here is the newer one."""
        with self._errors():
            there = [
                info.path[len(self._root) + 1 :]
                for info in self._store.get_file_info(self._selector)
                if info.type == self._is_file
            ]
            if self.files.state.exists():
                self._sent = dict.fromkeys(there, (-1, -1))
                return
            for name in sorted(there, key=self._last):
                path = self.files.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                scratch = path.with_name(f"{path.name}.tmp")
                with self._store.open_input_stream(f"{self._root}/{name}") as source, scratch.open("wb") as target:
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
                os.replace(scratch, path)
                self._sent[name] = _stamp(path)
            if there:
                say(f"fetched {len(there)} files of the run from {self.where}")

    def send(self) -> None:
        """What changed since the last time; what is gone here is deleted there."""
        with self._lock, self._errors():
            here = {
                path.relative_to(self.files.folder).as_posix(): path
                for path in self.files.folder.rglob("*")
                if path.is_file() and not path.name.endswith(_LOCAL)
            }
            for name in sorted(here, key=self._last):
                try:
                    stamp = _stamp(here[name])
                    if self._sent.get(name) != stamp:
                        self._put(name, here[name])
                        self._sent[name] = stamp
                except FileNotFoundError:  # replaced or moved meanwhile: the next time
                    continue
            for name in sorted(self._sent.keys() - here.keys()):
                with suppress(FileNotFoundError):
                    self._store.delete_file(f"{self._root}/{name}")
                del self._sent[name]

    def keep_sending(self, stop: threading.Event) -> None:
        """Until `stop`. A store that does not answer for a while costs a line, not the run: its last answer counts."""
        while not stop.wait(EVERY_S):
            try:
                self.send()
            except SweepError as error:
                say(str(error))

    def _put(self, name: str, path: Path) -> None:
        target = f"{self._root}/{name}"
        with tempfile.TemporaryDirectory() as folder:
            if path.suffix == ".db":  # as it is at one moment, however it is written meanwhile
                path = _snapshot(path, Path(folder) / path.name)
            with path.open("rb") as source, self._errors():  # a missing bucket is no missing file
                if self._store.type_name not in WITHOUT_FOLDERS:
                    self._store.create_dir(target.rpartition("/")[0], recursive=True)
                with self._store.open_output_stream(target) as stream:
                    while chunk := source.read(CHUNK):
                        stream.write(chunk)

    def _last(self, name: str) -> tuple[bool, str]:
        return name == self.files.state.name, name

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, ImportError) as error:  # pyarrow's errors are among these
            reason = " ".join(str(error).split()).partition(" error_info=")[0][:300]  # Google's, and where in its code
            raise SweepError(f"runs: {self.where} cannot be read or written: {reason}") from None


def _for_people(url: str) -> str:
    """Without a password or options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _with_patience(url: str) -> str:
    """With a limit to trying again, where the store's options have one and none is given."""
    parts = urlsplit(url)
    if parts.scheme not in ("gs", "gcs") or "retry_limit_seconds" in parts.query:
        return url
    return f"{url}{'&' if parts.query else '?'}retry_limit_seconds={PATIENCE_S}"


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, max(_changed(path), _changed(path.with_name(f"{path.name}-wal")))


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _snapshot(study: Path, copy: Path) -> Path:
    with closing(sqlite3.connect(study)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy
