"""Optuna Dashboard on a run's study, with notes and files at the trials of the front.

Notes and files are attributes of the study, since its trials are finished: under the keys where Optuna Dashboard reads
both (its `_note.py` and `artifact/_backend.py`). So a plain `optuna-dashboard sqlite:///STUDY --artifact-dir ARTIFACTS`
shows them too. An infeasible architecture has no values and the state pruned: the dashboard, which does not know
Optuna 5's constraints, cannot show it on the front.
"""

from __future__ import annotations

import json
import mimetypes
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from ffnet_search.errors import SweepError
from ffnet_search.plugins import INSTALL
from ffnet_search.search.storage.reader import BulkStorage
from ffnet_search.search.storage.sqlite_rows import database_errors, set_study_attributes
from ffnet_search.search.storage.study import NAME, quiet_optuna

TRIAL_FILES = "dashboard:artifacts:"  # prefix of the files of trials in the study's attributes
STUDY_FILES = "artifacts:"
NOTE_PIECE = 2045  # characters of a note in one attribute


@dataclass(frozen=True)
class TrialNote:
    """A note in Markdown for the trial with the id `trial` in the storage, and files by their shown names."""

    trial: int
    note: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class StudyNote:
    """A note in Markdown for the study: `text(link)` with the address of the report on the dashboard, "" for none."""

    text: Callable[[str], str]
    report: Path


def annotate(study: Path, artifacts: Path, study_note: StudyNote, trial_notes: Sequence[TrialNote]) -> None:
    """Write notes and files to trials, and the report to the study; remove those of an earlier front.

    Raises SweepError if the study cannot be read or written.
    """
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir(parents=True)
    with quiet_optuna(), database_errors(study):
        storage = RDBStorage(f"sqlite:///{study}")
        try:
            study_id = storage.get_study_id_from_name(NAME)
            before = storage.get_study_system_attrs(study_id)
            attributes = _removed(before)
            link = ""
            if study_note.report.exists():
                file = _store(artifacts, study_note.report.name, study_note.report.read_bytes(), owner="study")
                attributes[f"{STUDY_FILES}{file.id}"] = file.attribute
                link = f"/artifacts/{study_id}/{file.id}"
            attributes |= _note("dashboard", study_note.text(link), before)
            for noted in trial_notes:
                for name, content in noted.files.items():
                    file = _store(artifacts, name, content, owner=str(noted.trial))
                    attributes[f"{TRIAL_FILES}{noted.trial}:{file.id}"] = file.attribute
                attributes |= _note(f"dashboard:{noted.trial}", noted.note, before)
            changed = {key: value for key, value in attributes.items() if before.get(key, "missing") != value}
            set_study_attributes(storage, study_id, changed)
        finally:
            storage.engine.dispose()


def _removed(before: Mapping[str, object]) -> dict[str, object]:
    """Attributes that delete all notes and files, as the dashboard spells deletion."""
    attributes: dict[str, object] = {}
    for key in before:
        if key.startswith((TRIAL_FILES, STUDY_FILES)):
            attributes[key] = "null"
        elif ":note_str:" in key:
            attributes[key] = ""
    return attributes


@dataclass(frozen=True)
class StoredFile:
    """A file on the dashboard: its id, and the attribute that describes it."""

    id: str
    attribute: str


def _store(artifacts: Path, name: str, content: bytes, owner: str) -> StoredFile:
    """Write a file under an id made from its content: annotating the same run again changes nothing."""
    id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner} {name} {content.hex()}"))
    (artifacts / id).write_bytes(content)
    kind = "text/yaml" if name.endswith(".yaml") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    described = {"artifact_id": id, "filename": name, "mimetype": kind, "encoding": None}
    return StoredFile(id, json.dumps(described))


def _note(prefix: str, text: str, before: Mapping[str, object]) -> dict[str, object]:
    """The attributes of a note: its pieces, and a version, which the page takes as newer if the text changed."""
    starts = range(0, len(text), NOTE_PIECE)
    pieces = {f"{prefix}:note_str:{i}": text[start : start + NOTE_PIECE] for i, start in enumerate(starts)}
    version = int(str(before.get(f"{prefix}:note_ver", 0)))
    if any(before.get(key) != piece for key, piece in pieces.items()):
        version += 1
    return {f"{prefix}:note_ver": version, **pieces}


def serve(study: Path, artifacts: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the study until interrupted; call `ready(address)` when browsers can open it. Port 0 takes a free one.

    Notes that the user writes go into the study, and trials that a running search adds appear. Raises SweepError if
    Optuna Dashboard is not installed, or the port is taken.
    """
    if find_spec("optuna_dashboard") is None:
        raise SweepError(
            f"the dashboard needs optuna-dashboard, which is not installed; run: {INSTALL['optuna_dashboard']}"
        )
    with quiet_optuna():
        storage = BulkStorage(f"sqlite:///{study}")
        try:
            study_id = storage.get_study_id_from_name(NAME)
            try:
                server = make_server(host, port, _not_ready, ThreadingServer, QuietHandler)
            except OSError as error:
                raise SweepError(
                    f"the dashboard cannot listen on {host}:{port} ({error.strerror}); choose another with --port"
                ) from None
            with server:
                # The browser starts meanwhile: its first request waits until Optuna Dashboard is imported.
                ready(f"http://{host}:{server.server_port}/dashboard/studies/{study_id}")
                server.set_app(application(storage, study_id, artifacts))
                server.serve_forever(poll_interval=0.2)
        finally:
            storage.engine.dispose()


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """One thread per request: importances take seconds, and the page asks for its trials meanwhile."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """A handler that logs no requests."""

    def log_message(self, *words: object) -> None:
        pass


def _not_ready(environ: object, start_response: object) -> Iterable[bytes]:
    raise AssertionError("no request is handled before the application is set")


def application(storage: BulkStorage, study_id: int, artifacts: Path) -> Any:
    """Optuna Dashboard's WSGI application on a storage, whose trials are read while the package is imported."""
    reader = threading.Thread(target=storage.get_all_trials, args=(study_id, False), daemon=True)
    reader.start()
    import optuna_dashboard  # takes seconds, and is optional

    artifacts.mkdir(parents=True, exist_ok=True)
    reader.join()
    return optuna_dashboard.wsgi(storage, artifact_store=FileSystemArtifactStore(str(artifacts)))
