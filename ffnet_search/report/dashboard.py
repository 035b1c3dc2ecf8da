"""Optuna Dashboard on a run's study: its pages, served to this machine's browsers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.artifacts import FileSystemArtifactStore

from ffnet_search.errors import SweepError
from ffnet_search.plugins import INSTALL
from ffnet_search.search.storage.study import NAME, quiet_optuna, study_url
from ffnet_search.search.storage.trial_reader import BulkStorage

LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
        host = None
        with suppress(ValueError):  # of a header that names no host
            host = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
        if host in LOOPBACK:
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
