"""A copy of a run's folder in an object store: fetched before a run, sent while it works and after each stage.

Stages work in a local folder, which gives them locks, SQLite and renames; the copy is at most `EVERY_S` old. The record
of what is done (`run.json`) is sent last, so it never names files that are missing. File systems are those of pyarrow,
as in Ray: s3://, gs://, hdfs://, file://. `pyarrow.fs.copy_files` copies each file; this module decides which and when.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ffnet_search.atomic_write import SUFFIX, replacing
from ffnet_search.config.files import RunPaths
from ffnet_search.errors import SweepError, one_line, without_passwords
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.formatting import plural
from ffnet_search.progress import say

EVERY_S = 60.0
WITHOUT_FOLDERS = ("s3", "gcs")  # creating a folder there needs the right to list, or even to create, the bucket
PATIENCE_S = 60  # with a store that does not answer; Google's library would retry for a quarter of an hour
# Files of this machine and not of the run: locks, half-written files, SQLite's journals beside a study.
LOCAL = (".lock", SUFFIX, "-wal", "-shm", "-journal")
REASON = 300  # characters of a store's message
Stamp = tuple[int, int]  # size and time of a file


@contextmanager
def remote_copy(files: RunPaths, url: str | None) -> Iterator[RemoteCopy | None]:
    """Fetch the run at `url` where the folder holds none, and send what changes until the context ends.

    Yields None without a URL. Raises SweepError if the store cannot be reached or written."""
    if url is None:
        yield None
        return
    remote = RemoteCopy(files, url)
    remote.fetch()
    remote.send()  # a store that cannot be written is refused before hours are spent
    stop = threading.Event()
    thread = threading.Thread(target=remote.keep_sending, args=(stop,), name="remote copy", daemon=True)
    thread.start()
    try:
        yield remote
    except BaseException:
        with suppress(SweepError):  # the error that ended the run matters more
            remote.send()
        raise
    else:
        remote.send()
    finally:
        stop.set()
        thread.join()


class RemoteCopy:
    """The copy of a run's folder at `url`/NAME."""

    def __init__(self, files: RunPaths, url: str) -> None:
        self.files, self.where = files, f"{_without_password(url)}/{files.folder.name}"
        with self._errors():
            from pyarrow import fs

            self._fs, self._here = fs, fs.LocalFileSystem()
            self._store, root = fs.FileSystem.from_uri(_with_patience(url))
            self._root = f"{root.rstrip('/')}/{files.folder.name}"
        self._sent: dict[str, Stamp] = {}  # name in the store -> stamp of the local file
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """Fetch all files where this folder holds no run; an existing run here is the newer one."""
        with self._errors():
            selector = self._fs.FileSelector(self._root, recursive=True, allow_not_found=True)
            infos = self._store.get_file_info(selector)
            names = [info.path[len(self._root) + 1 :] for info in infos if info.type == self._fs.FileType.File]
            if self.files.state.exists():
                self._sent = dict.fromkeys(names, (-1, -1))
                return
            for name in sorted(names, key=self._order):
                path = self.files.folder / name
                with replacing(path) as scratch:
                    self._fs.copy_files(f"{self._root}/{name}", str(scratch), self._store, self._here)
                self._sent[name] = _stamp(path)
            if names:
                say(f"fetched {plural(len(names), 'file')} of the run from {self.where}")

    def send(self) -> None:
        """Send the files that changed since the last call, and delete those that no longer exist here."""
        with self._lock, self._errors():
            paths = {
                path.relative_to(self.files.folder).as_posix(): path
                for path in self.files.folder.rglob("*")
                if path.is_file() and not path.name.endswith(LOCAL) and self.files.scratch not in path.parents
            }
            for name in sorted(paths, key=self._order):
                try:
                    stamp = _stamp(paths[name])
                    if self._sent.get(name) != stamp:
                        self._put(name, paths[name])
                        self._sent[name] = stamp
                except FileNotFoundError:  # replaced or moved meanwhile: the next call sends it
                    continue
            for name in sorted(self._sent.keys() - paths.keys()):
                with suppress(FileNotFoundError):
                    self._store.delete_file(f"{self._root}/{name}")
                del self._sent[name]

    def keep_sending(self, stop: threading.Event) -> None:
        """Send until `stop`. A store that does not answer for a while costs a line and not the run."""
        while not stop.wait(EVERY_S):
            try:
                self.send()
            except SweepError as error:
                say(str(error))

    def _put(self, name: str, path: Path) -> None:
        target = f"{self._root}/{name}"
        with scratch_folder() as folder:
            if path.suffix == ".db":  # its state at one moment, while it is written
                copy = Path(folder) / path.name
                with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as snapshot:
                    source.backup(snapshot)
                path = copy
            path.stat()  # a file that is gone raises here, apart from a missing bucket
            with self._errors():
                if self._store.type_name not in WITHOUT_FOLDERS:
                    self._store.create_dir(target.rpartition("/")[0], recursive=True)
                self._fs.copy_files(str(path), target, self._here, self._store)

    def _order(self, name: str) -> tuple[bool, str]:
        return name == self.files.state.name, name  # the record of what is done comes last

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, ImportError, sqlite3.Error) as error:  # pyarrow's errors are among these
            words = one_line(without_passwords(str(error)))
            reason = words.partition(" error_info=")[0]  # in Google's messages details and a place in code follow
            raise SweepError(f"runs: {self.where} cannot be read or written: {reason[:REASON]}") from None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _with_patience(url: str) -> str:
    """The URL with a limit to retries, where the store has such an option and none is given."""
    parts = urlsplit(url)
    if parts.scheme not in ("gs", "gcs") or "retry_limit_seconds" in parts.query:
        return url
    return f"{url}{'&' if parts.query else '?'}retry_limit_seconds={PATIENCE_S}"


def _stamp(path: Path) -> Stamp:
    log = path.with_name(f"{path.name}-wal")  # SQLite's, of what is written since
    logged = log.stat().st_mtime_ns if log.exists() else 0
    return path.stat().st_size, max(path.stat().st_mtime_ns, logged)
