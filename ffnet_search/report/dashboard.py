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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import sqlalchemy as sa
import yaml
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from ffnet_search.config.start import ARCHITECTURE
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import CARD, ExportedNetwork, read_exported
from ffnet_search.formatting import code_span, markdown
from ffnet_search.metrics import INHERITED
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.plugins import INSTALL
from ffnet_search.progress import say
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.data import figures, front_columns
from ffnet_search.search.storage.damage import database_errors
from ffnet_search.search.storage.read_only import readable_study
from ffnet_search.search.storage.sqlite_rows import BulkStorage
from ffnet_search.search.storage.study import NAME, quiet_optuna, read_records, study_url
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.strict_yaml import read_bounded
from ffnet_search.tasks.base import find_task

TRIAL_FILES = "dashboard:artifacts:"  # prefix of the files of trials in the study's attributes
STUDY_FILES = "artifacts:"
REPORT_BYTES = 1 << 26  # of a report, which is some 1 MB
SET_ATTRIBUTE = sa.text(
    "insert into study_system_attributes (study_id, key, value_json) values (:study, :key, :value) "
    "on conflict (study_id, key) do update set value_json = excluded.value_json"
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NOTE_PIECE = 2045  # characters of a note in one attribute
MOST = 50  # trials with notes: Optuna Dashboard reads all notes for every trial of the study


class Notes:
    """Notes in Markdown, and files, of a study and its trials (by id in the storage), as attributes of the study."""

    def __init__(self, artifacts: Path, study_id: int, before: Mapping[str, object]) -> None:
        self.artifacts, self.study_id, self.before = artifacts, study_id, before
        self.attributes: dict[str, object] = {}
        for key in before:  # those of an earlier front are removed, as the dashboard spells it
            if key.startswith((TRIAL_FILES, STUDY_FILES)):
                self.attributes[key] = "null"
            elif ":note_str:" in key:
                self.attributes[key] = ""

    def add_file(self, name: str, content: bytes, trial: int | None = None) -> str:
        """Store a file; return its id, made from its content: annotating the same run again changes nothing."""
        prefix = STUDY_FILES if trial is None else f"{TRIAL_FILES}{trial}:"
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{prefix} {name} {content.hex()}"))
        (self.artifacts / id).write_bytes(content)
        kind = "text/yaml" if name.endswith(".yaml") else mimetypes.guess_type(name)[0] or "application/octet-stream"
        described = {"artifact_id": id, "filename": name, "mimetype": kind, "encoding": None}
        self.attributes[f"{prefix}{id}"] = json.dumps(described)
        return id

    def add_note(self, text: str, trial: int | None = None) -> None:
        """Add a note in pieces, with a version, which the page takes as newer if the text changed."""
        prefix = "dashboard" if trial is None else f"dashboard:{trial}"
        starts = range(0, len(text), NOTE_PIECE)
        pieces = {f"{prefix}:note_str:{i}": text[start : start + NOTE_PIECE] for i, start in enumerate(starts)}
        version = int(str(self.before.get(f"{prefix}:note_ver", 0)))
        if any(self.before.get(key) != piece for key, piece in pieces.items()):
            version += 1
        self.attributes |= {f"{prefix}:note_ver": version, **pieces}


@contextmanager
def annotating(study: Path, artifacts: Path) -> Iterator[Notes]:
    """Yield the notes of a study; those added in the block replace those of an earlier front at its end.

    Raises SweepError if the study cannot be read or written."""
    shutil.rmtree(artifacts, ignore_errors=True)
    artifacts.mkdir(parents=True)
    with quiet_optuna(), database_errors(study):
        storage = RDBStorage(study_url(study))
        try:
            study_id = storage.get_study_id_from_name(NAME)
            notes = Notes(artifacts, study_id, storage.get_study_system_attrs(study_id))
            yield notes
            changed = {key: value for key, value in notes.attributes.items() if notes.before.get(key) != value}
            rows = [{"study": study_id, "key": key, "value": json.dumps(value)} for key, value in changed.items()]
            if rows:  # in one transaction: each by itself may take 20 ms on a disk
                with storage.engine.begin() as connection:
                    connection.execute(SET_ATTRIBUTE, rows)
        finally:
            storage.engine.dispose()


@contextmanager
def annotated_study(sweep: Sweep) -> Iterator[tuple[Path, Path]]:
    """The run's study with notes, and the folder of its files: copies until the block ends where the run cannot be
    written. Raises SweepError if there is no study."""
    with readable_study(sweep.files.study) as study:
        if study == sweep.files.study:
            artifacts = sweep.files.artifacts
        else:
            artifacts = study.parent / sweep.files.artifacts.name
            say(f"{sweep.files.folder} cannot be written: notes and what you change last until the dashboard ends")
        annotate_study(sweep, study, artifacts)
        yield study, artifacts


def annotate_study(sweep: Sweep, study: Path | None = None, artifacts: Path | None = None) -> None:
    """Write notes and files into the run's study, or a copy of it. Raises SweepError if there is no study."""
    records = [record for record in read_records(sweep.files.study) if record.state == "evaluated"]
    ids = {record.key: record.id for record in records}
    front = pareto_front([record.candidate(sweep.search_space) for record in records], sweep.search.directions)
    exported = {network.key: network for network in read_exported(sweep.files.pareto) if network.key in ids}
    exported_first = sorted(front, key=lambda candidate: candidate.key not in exported)
    with annotating(study or sweep.files.study, artifacts or sweep.files.artifacts) as notes:
        report, link = sweep.files.report, ""
        with suppress(OSError, ValueError):  # there is none, or it is odd
            id = notes.add_file(report.name, read_bounded(report, REPORT_BYTES))
            link = f"**[Open the report](/artifacts/{notes.study_id}/{id})** (also {code_span(report)}).\n\n"
        notes.add_note(f"# {sweep.name}\n\n{link}{_study_text(sweep, front, list(exported.values()))}")
        for candidate in exported_first[:MOST]:
            trial, network = ids[candidate.key], exported.get(candidate.key)
            for name, content in _trial_files(candidate, network).items():
                notes.add_file(name, content, trial)
            notes.add_note(_trial_text(sweep, candidate, network), trial)


def _study_text(sweep: Sweep, front: Sequence[Candidate], exported: Sequence[ExportedNetwork]) -> str:
    table = f"The exported networks:\n\n{_table(sweep, exported)}" if exported else "Nothing is exported yet.\n"
    keys = ", ".join(code_span(candidate.key) for candidate in front)
    return (
        f"{table}\nThe front ({len(front)} candidates, best first): {keys}. Their trials have a note, and files of the "
        f"network as artifacts.\n\nLimits: {sweep.search.limits}. Architectures beyond them were never evaluated: they "
        "have no values, and are the trials that are *pruned*.\n"
    )


def _table(sweep: Sweep, exported: Sequence[ExportedNetwork]) -> str:
    """Markdown: a table of FFNets whose latency was predicted, else a list."""
    if "predicted_ms" not in exported[0].metrics:
        return "".join(f"- {markdown(network.folder.name)}: {_figures(sweep, network)}\n" for network in exported)
    columns = front_columns(sweep, exported)
    head = [["network", *columns], ["---"] * (len(columns) + 1)]
    rows = [[markdown(network.folder.name), *figures(network, columns.values())] for network in exported]
    return "".join(f"| {' | '.join(line)} |\n" for line in [*head, *rows])


def _trial_files(candidate: Candidate, network: ExportedNetwork | None) -> dict[str, bytes]:
    arch, files = candidate.architecture, dict[str, bytes]()
    if arch is not None:
        files[ARCHITECTURE] = yaml.safe_dump(arch.to_dict(), sort_keys=False).encode()
        files["network.svg"] = draw(arch).encode()
    if network is not None:
        files[CARD] = (network.folder / CARD).read_bytes()
    return files


def _trial_text(sweep: Sweep, candidate: Candidate, network: ExportedNetwork | None) -> str:
    configuration = Configuration(candidate.architecture, candidate.final_hyperparameters)
    text = f"On the front.\n\n{code_span(configuration)}\n\n"
    if network is None:
        return f"{text}Not exported: raise `export.top` to have it measured and written.\n"
    return f"{text}Exported to {code_span(network.folder)}: {_figures(sweep, network)}.\n"


def _figures(sweep: Sweep, network: ExportedNetwork) -> str:
    """The figures of an exported network in one line."""
    m = network.metrics
    if "measured_ms" not in m:
        return ", ".join(f"{markdown(name)} {value:.4g}" for name, value in m.items())

    def printed(key: str) -> str:
        return sweep.metric(key).format(m[key])

    predicted = f"; {printed('predicted_ms')} predicted" if "predicted_ms" in m else ""
    measured = f"{printed('measured_ms')} measured (± {printed('measured_spread')}{predicted})"
    test = find_task(sweep.task).test_quality
    inherited = f" ({printed(INHERITED + test)} inherited)" if INHERITED + test in m else ""
    return f"**{printed(test)}** on test{inherited}, {measured}"


def serve(study: Path, artifacts: Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the study until interrupted; call `ready(address)` when browsers can open it. Port 0 takes a free one.

    Notes that the user writes go into the study, and trials that a running search adds appear. Raises SweepError if
    Optuna Dashboard is not installed, or the port is taken."""
    if find_spec("optuna_dashboard") is None:
        raise SweepError(
            f"the dashboard needs optuna-dashboard, which is not installed; run: {INSTALL['optuna_dashboard']}"
        )
    with quiet_optuna():
        storage = BulkStorage(study_url(study))
        try:
            study_id = storage.get_study_id_from_name(NAME)
            try:
                server = ThreadingServer((host, port), QuietHandler)
            except (OSError, UnicodeError) as error:  # the latter of a name that no host has
                reason = getattr(error, "strerror", None) or error
                raise SweepError(
                    f"the dashboard cannot listen on {host}:{port} ({reason}); choose another with --port or --host"
                ) from None
            with server:
                # The browser starts meanwhile: its first request waits until Optuna Dashboard is imported.
                ready(f"http://{host}:{server.server_port}/dashboard/studies/{study_id}")
                app = application(storage, study_id, artifacts)
                server.set_app(own_host_only(app) if host in LOOPBACK else app)
                server.serve_forever(poll_interval=0.2)
        finally:
            storage.engine.dispose()


def own_host_only(app: Any) -> Any:
    """The application, for requests whose Host header names this machine: this prevents DNS rebinding by other
    sites."""

    def checked(environ: Mapping[str, Any], start_response: Any) -> Any:
        if urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname in LOOPBACK:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this dashboard answers requests to this machine alone\n"]

    return checked


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """One thread per request: importances take seconds, and the page asks for its trials meanwhile."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """A handler that logs no requests."""

    def log_message(self, *words: object) -> None:
        pass


def application(storage: BulkStorage, study_id: int, artifacts: Path) -> Any:
    """Optuna Dashboard's WSGI application on a storage, whose trials are read while the package is imported."""
    reader = threading.Thread(target=storage.get_all_trials, args=(study_id, False), daemon=True)
    reader.start()
    try:
        import optuna_dashboard  # takes seconds, and is optional
    finally:
        reader.join()  # also at Ctrl-C: the file that it reads may go away
    artifacts.mkdir(parents=True, exist_ok=True)
    return optuna_dashboard.wsgi(storage, artifact_store=FileSystemArtifactStore(str(artifacts)))
