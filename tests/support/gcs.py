"""As much of Google Cloud Storage's JSON API as pyarrow speaks, over a dictionary: objects, resumable uploads,
listing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from http_body import read_body
from loopback import served


@contextmanager
def bucket(name: str = "bucket") -> Iterator[tuple[str, dict[str, bytes]]]:
    """The URL of an empty bucket, and its objects by name."""
    objects: dict[str, bytes] = {}
    with served(_handler(name, objects)) as address:
        yield f"gs://anonymous@{name}/some/runs?scheme=http&endpoint_override={address}", objects


def _handler(bucket: str, objects: dict[str, bytes]) -> type[BaseHTTPRequestHandler]:
    uploads: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name, query = self.place()
            if name is None:
                self.refuse()
            elif not name:
                found = [of(one) for one in sorted(objects) if one.startswith(query.get("prefix", ""))]
                self.answer(200, json.dumps({"kind": "storage#objects", "items": found}).encode())
            elif name not in objects:
                self.refuse()
            elif query.get("alt") == "media":
                content, span = objects[name], re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if span:
                    content = content[int(span[1]) : int(span[2] or len(content)) + 1]
                self.answer(206 if span else 200, content)
            else:
                self.answer(200, json.dumps(of(name)).encode())

        def do_POST(self) -> None:
            name, query = self.place()
            read_body(self)
            if name is None:
                self.refuse()
                return
            host, port = self.server.server_address[:2]
            uploads[query["name"]] = b""
            self.answer(200, b"{}", Location=f"http://{host!s}:{port}{self.path}&upload_id={query['name']}")

        def do_PUT(self) -> None:
            _, query = self.place()
            name = query["upload_id"]
            uploads[name] += read_body(self)
            if re.search(r"/\d+$", self.headers["Content-Range"]):  # its length is known: it is whole
                objects[name] = uploads.pop(name)
                self.answer(200, json.dumps(of(name)).encode())
            else:
                self.answer(308, b"", Range=f"bytes=0-{len(uploads[name]) - 1}")

        def do_DELETE(self) -> None:
            name, _ = self.place()
            objects.pop(name or "", None)
            self.answer(204, b"")

        def place(self) -> tuple[str | None, dict[str, str]]:
            """The object's name, empty for the bucket's list; None for another bucket."""
            parts = urlsplit(self.path)
            _, _, rest = parts.path.partition("/b/")
            first, _, name = rest.partition("/o")
            query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            return (unquote(name.lstrip("/")) if first == bucket else None), query

        def refuse(self) -> None:
            self.answer(404, b'{"error": {"code": 404, "message": "The specified bucket does not exist."}}')

        def answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    def of(name: str) -> dict[str, Any]:
        return {"kind": "storage#object", "bucket": bucket, "name": name, "size": str(len(objects[name]))}

    return Handler
