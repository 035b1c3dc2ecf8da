"""As much of S3's protocol as pyarrow speaks, over a dictionary: objects, multipart uploads, listing. Signatures are
not looked at."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from loopback import served

TIME = "2026-01-01T00:00:00.000Z"
ELSEWHERE = "in another bucket"  # what no object is named


@contextmanager
def bucket(name: str = "bucket") -> Iterator[tuple[str, dict[str, bytes]]]:
    """The URL of an empty bucket, and its objects by key."""
    objects: dict[str, bytes] = {}
    with served(_handler(name, objects)) as address:
        query = f"scheme=http&endpoint_override={address}&region=us-east-1"
        yield f"s3://key:secret@{name}/some/runs?{query}", objects


def _handler(bucket: str, objects: dict[str, bytes]) -> type[BaseHTTPRequestHandler]:
    uploads: dict[str, dict[int, bytes]] = {}
    numbers = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            key, query = self.place()
            if not key:
                self.answer(200, listing(query.get("prefix", ""), query.get("delimiter", "")))
            elif key not in objects:
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                content, spans = objects[key], re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if spans:
                    content = content[int(spans[1]) : int(spans[2] or len(content)) + 1]
                self.answer(206 if spans else 200, content)

        def do_HEAD(self) -> None:
            key, _ = self.place()
            found = not key or key in objects
            self.answer(200 if found else 404, b"", len(objects.get(key, b"")))

        def do_PUT(self) -> None:
            key, query = self.place()
            content = self.body()
            if key == ELSEWHERE:
                self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            elif "uploadId" in query:
                uploads[query["uploadId"]][int(query["partNumber"])] = content
            else:
                objects[key] = content
            self.answer(200, b"")

        def do_POST(self) -> None:
            key, query = self.place()
            content = self.body()
            if key == ELSEWHERE:
                self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            elif "uploads" in query:
                name = str(next(numbers))
                uploads[name] = {}
                self.answer(200, xml("InitiateMultipartUploadResult", f"<Key>{key}</Key><UploadId>{name}</UploadId>"))
            elif "uploadId" in query:
                parts = uploads.pop(query["uploadId"])
                objects[key] = b"".join(parts[number] for number in sorted(parts))
                self.answer(200, xml("CompleteMultipartUploadResult", f"<Key>{key}</Key><ETag>x</ETag>"))
            else:
                for gone in re.findall(r"<Key>(.*?)</Key>", content.decode()):
                    objects.pop(gone, None)
                self.answer(200, xml("DeleteResult", ""))

        def do_DELETE(self) -> None:
            objects.pop(self.place()[0], None)
            self.answer(204, b"")

        def place(self) -> tuple[str, dict[str, str]]:
            parts = urlsplit(self.path)
            first, _, key = unquote(parts.path).lstrip("/").partition("/")
            if first != bucket:  # pyarrow asks for one that cannot exist, to see what is said of such
                key = ELSEWHERE
            query = parse_qs(parts.query, keep_blank_values=True)
            return key, {name: values[0] for name, values in query.items()}

        def body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                content = dechunked(self.rfile)
            else:
                content = self.rfile.read(int(self.headers["Content-Length"]))
            if "aws-chunked" in self.headers.get("Content-Encoding", ""):  # chunks once more, with checksums
                return dechunked(io.BytesIO(content))
            return content

        def answer(self, status: int, content: bytes, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.send_header("ETag", '"x"')
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    def dechunked(stream: Any) -> bytes:
        content = b""
        while size := int(stream.readline().split(b";")[0], 16):
            content += stream.read(size)
            stream.readline()
        while stream.readline().strip():  # trailers
            pass
        return content

    def listing(prefix: str, delimiter: str) -> bytes:
        found, folders = "", set()
        for key in sorted(key for key in objects if key.startswith(prefix)):
            inner, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if cut:
                folders.add(prefix + inner + delimiter)
                continue
            found += f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size>"
            found += f"<LastModified>{TIME}</LastModified></Contents>"
        found += "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in sorted(folders))
        return xml("ListBucketResult", f"<Name>{bucket}</Name><IsTruncated>false</IsTruncated>{found}")

    def xml(name: str, content: str) -> bytes:
        return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{content}</{name}>'.encode()

    return Handler
