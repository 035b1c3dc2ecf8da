"""Optuna Dashboard on a run's study, with notes and files at the trials that matter.

Notes and files are kept in the study, not in its trials, which are finished: in the attributes where Optuna Dashboard
looks for both (`optuna_dashboard/_note.py` and `artifact/_backend.py`). So they are there as well for a plain
`optuna-dashboard sqlite:///STUDY --artifact-dir ARTIFACTS`. An infeasible architecture has no values (it is told as
pruned): the dashboard, which does not know Optuna 5's constraints, cannot take it for one of the front.
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

import sqlalchemy as sa
from optuna.storages import RDBStorage

from ffnet_search.errors import SweepError
from ffnet_search.report.answers import Answers
from ffnet_search.report.lean import make_lean, without_forests
from ffnet_search.search.storage.reader import QuickStorage
from ffnet_search.search.storage.sqlite_rows import database_errors
from ffnet_search.search.storage.study import NAME, quiet_optuna

PREFIX = "dashboard:artifacts:"  # of a trial's files, in its study's attributes
STUDY_PREFIX = "artifacts:"
SET_ATTRIBUTE = sa.text(
    "insert into study_system_attributes (study_id, key, value_json) values (:study, :key, :value) "
    "on conflict (study_id, key) do update set value_json = excluded.value_json"
)
INSTALL = "pip install 'ffnet-search[dashboard]'"


@dataclass(frozen=True)
class TrialNote:
    """What is shown with one trial: a note in Markdown, and files by the name they are shown under."""

    trial: int  # its id in the storage
    note: str
    files: Mapping[str, bytes]


def annotate(
    study: Path, artifacts: Path, note: Callable[[str], str], report: Path, noted: Sequence[TrialNote]
) -> None:
    """Puts notes and files to trials, and the report to the study; takes away those of an earlier front.

    `note(link)` is the study's note, with the report's address on the dashboard. Raises SweepError where the study
    cannot be read or written.
    """
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir(parents=True)
    with quiet_optuna(), database_errors(study):
        storage = RDBStorage(f"sqlite:///{study}")
        try:
            study_id = storage.get_study_id_from_name(NAME)
            before = storage.get_study_system_attrs(study_id)
            # What is not written again below is gone: so the dashboard marks what was deleted.
            attributes: dict[str, object] = {key: "null" for key in before if key.startswith((PREFIX, STUDY_PREFIX))}
            attributes |= {key: "" for key in before if ":note_str:" in key}
            link = ""
            if report.exists():
                id, text = _store(artifacts, report.name, report.read_bytes(), owner="study")
                attributes[f"{STUDY_PREFIX}{id}"] = text
                link = f"/artifacts/{study_id}/{id}"
            attributes |= _note("dashboard", note(link), before)
            for shown in noted:
                for name, content in shown.files.items():
                    id, text = _store(artifacts, name, content, owner=str(shown.trial))
                    attributes[f"{PREFIX}{shown.trial}:{id}"] = text
                attributes |= _note(f"dashboard:{shown.trial}", shown.note, before)
            rows = [
                {"study": study_id, "key": key, "value": json.dumps(value)}
                for key, value in attributes.items()
                if key not in before or before[key] != value
            ]
            if rows:
                with storage.engine.begin() as connection:  # at once: a disk may take 20 ms for each
                    connection.execute(SET_ATTRIBUTE, rows)
        finally:
            storage.engine.dispose()


def _store(artifacts: Path, name: str, content: bytes, owner: str) -> tuple[str, str]:
    """Writes a file under a name that its content gives it: the same run is annotated twice without a change."""
    id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner} {name} {content.hex()}"))
    (artifacts / id).write_bytes(content)
    kind = "text/yaml" if name.endswith(".yaml") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    return id, json.dumps({"artifact_id": id, "filename": name, "mimetype": kind, "encoding": None})


def _note(prefix: str, text: str, before: Mapping[str, object]) -> dict[str, object]:
    """Its pieces of 2,045 characters, and a version that the page takes as newer where the text is another."""
    pieces = {f"{prefix}:note_str:{i}": text[at : at + 2045] for i, at in enumerate(range(0, len(text), 2045))}
    version = before.get(f"{prefix}:note_ver", 0)
    changed = any(before.get(key) != piece for key, piece in pieces.items())
    return {f"{prefix}:note_ver": int(str(version)) + changed, **pieces}


def serve(study: Path, artifacts: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves the study until interrupted; `ready(address)` is called when it answers. Port 0 takes a free one.

    Raises SweepError where Optuna Dashboard is not installed, or the port is taken.
    """
    if find_spec("optuna_dashboard") is None:
        raise SweepError(f"the dashboard needs optuna-dashboard, which is not installed; run: {INSTALL}")
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    class Threads(ThreadingMixIn, WSGIServer):  # nothing waits for importances, which can take seconds
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    with quiet_optuna():
        storage = QuickStorage(f"sqlite:///{study}")
        try:
            study_id = storage.get_study_id_from_name(NAME)
            try:
                server = make_server(host, port, _not_yet, Threads, Quiet)
            except OSError as error:
                raise SweepError(
                    f"the dashboard cannot listen on {host}:{port} ({error.strerror}); choose another with --port"
                ) from None
            with server:
                # A browser can start meanwhile: whoever asks now waits, while Optuna Dashboard is imported for seconds.
                ready(f"http://{host}:{server.server_port}/dashboard/studies/{study_id}")
                app = _application(storage, artifacts)
                threading.Thread(target=app.warm, args=(study_id,), daemon=True).start()
                server.set_app(app)
                server.serve_forever(poll_interval=0.2)
        finally:
            storage.engine.dispose()


def _not_yet(environ: object, start_response: object) -> Iterable[bytes]:
    raise AssertionError("nobody is served before there is an application")


def _application(storage: QuickStorage, artifacts: Path) -> Answers:
    """Optuna Dashboard on a storage, made to answer soon."""
    with without_forests():
        import optuna_dashboard
    from optuna.artifacts import FileSystemArtifactStore

    def version(study_id: int) -> tuple[int, object]:
        """Trials are added when they are finished, and whole; notes and files are attributes."""
        return storage.get_n_trials(study_id), storage.get_study_system_attrs(study_id)

    make_lean()
    artifacts.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(artifacts))
    return Answers(optuna_dashboard.wsgi(storage, artifact_store=store), version)
