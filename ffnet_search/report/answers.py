"""What Optuna Dashboard answers, kept while the study is the same.

It serialises all trials for each page, and looks for the search space in all of them at each of the questions that a
page asks every few seconds: seconds each for 5,000 trials, and importances take longer still. All that it answers is a
function of the study, of which finished trials never change. So the answers are kept until there are other trials, or
somebody writes a note.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
DETAIL = re.compile(r"/api/studies/(\d+)/?")
IMPORTANCES = re.compile(r"/api/studies/(\d+)/param_importances/?")


@dataclass(frozen=True)
class Answer:
    """Of the dashboard, to one question."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Detail:
    """A study, serialised: whole, as a page first asks for it, and in pieces for the questions that follow."""

    version: object
    whole: bytes

    def after(self, number: int) -> bytes:
        """With the trials from the one of that number on."""
        if number == 0:
            return self.whole
        trials, rest = self._pieces
        return b'{"trials": [' + b", ".join(trials[number:]) + b"], " + rest[1:]

    @property
    def count(self) -> int:
        """Of its trials; the best ones stand there a second time."""
        return self.whole.count(b'{"trial_id": ', 0, self.whole.rfind(b'"best_trials": ['))

    @cached_property
    def _pieces(self) -> tuple[list[bytes], bytes]:
        content = json.loads(self.whole)
        return [json.dumps(trial).encode() for trial in content.pop("trials")], json.dumps(content).encode()


class Answers:
    """Optuna Dashboard's application, with a memory. `version(study)`: the number of its trials, and all else that its
    answers depend on."""

    def __init__(self, app: WSGI, version: Callable[[int], tuple[int, object]]) -> None:
        self._app, self._version = app, version
        self._details: dict[int, Detail] = {}
        self._importances: dict[tuple[int, str], tuple[object, Answer]] = {}
        self._detail_lock, self._importance_lock = threading.Lock(), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        answer: Answer | None = None
        if environ["REQUEST_METHOD"] == "GET":
            with suppress(KeyError):  # there is no such study: the application says so
                if found := DETAIL.fullmatch(path):
                    answer = self._detail(int(found[1]), query)
                elif found := IMPORTANCES.fullmatch(path):
                    answer = self._importance(int(found[1]), query)
        if answer is None:
            return self._app(environ, start_response)
        headers, body = list(answer.headers), answer.body
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):  # a tenth of it, for whoever looks from afar
            headers, body = [*headers, ("Content-Encoding", "gzip")], gzip.compress(body, compresslevel=1)
        start_response(answer.status, [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def warm(self, study: int) -> None:
        """Makes the answers that a first page asks for."""
        self._detail(study, "")
        self._importance(study, "")

    def _detail(self, study: int, query: str) -> Answer | None:
        after = parse_qs(query).get("after", ["0"])[0]
        if not after.isdigit():
            return None
        with self._detail_lock:  # who comes second waits for the first, and has its answer
            version, detail = self._version(study), self._details.get(study)
            if detail is None or detail.version != version:
                answer = self._ask(f"/api/studies/{study}", "")
                if not answer.status.startswith("200"):
                    return answer
                detail = Detail(version, answer.body)
                if detail.count != version[0]:  # the application itself looks for trials every ten seconds only
                    detail = replace(detail, version=None)
                self._details[study] = detail
        return Answer("200 OK", (("Content-Type", "application/json"),), detail.after(int(after)))

    def _importance(self, study: int, query: str) -> Answer:
        self._detail(study, "")  # asked for together: the page can draw without these, and without trials it cannot
        with self._importance_lock:
            version = self._version(study)
            known = self._importances.get((study, query))
            if known is None or known[0] != version:
                known = version, self._ask(f"/api/studies/{study}/param_importances", query)
                self._importances[study, query] = known
        return known[1]

    def _ask(self, path: str, query: str) -> Answer:
        """The application's own answer."""
        told: list[Any] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
        }
        body = b"".join(self._app(environ, lambda status, headers, *_: told.extend((status, headers))))
        headers = tuple((name, value) for name, value in told[1] if name.lower() != "content-length")
        return Answer(told[0], headers, body)
