"""Downloads: a file appears once it is complete, has its checksum and is not larger than it may be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ffnet_search.atomic_write import SUFFIX, all_or_none
from ffnet_search.errors import SweepError
from ffnet_search.progress import progress

TIMEOUT_S = 60.0
CHUNK = 1 << 20  # bytes


def download(url: str, target: Path, *, field: str, max_bytes: int, checksum: str = "") -> None:
    """Fetch `url` to `target`, which appears only once it is complete and has the checksum (`md5:...`, `sha256:...`).

    Raises SweepError, whose message starts with `field`; also if the file is larger than `max_bytes`."""
    import http.client

    part = target.with_name(f"{target.name}.{os.getpid()}{SUFFIX}")  # of this process: all ranks may fetch at once
    try:
        with all_or_none([part]):
            target.parent.mkdir(parents=True, exist_ok=True)
            found = _fetch(url, part, max_bytes, checksum.partition(":")[0] or "sha256")
            if checksum and found != checksum:
                kind, _, wanted = checksum.partition(":")
                raise SweepError(
                    f"{field}: {url} must have the {kind} checksum {wanted}, but the download has "
                    f"{found.partition(':')[2]} and was deleted; try again, or put the file at {target} yourself"
                )
            os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        raise SweepError(
            f"{field}: {url} cannot be fetched to {target}: {error}; try again, or put the file there yourself"
        ) from None


def _fetch(url: str, part: Path, max_bytes: int, kind: str) -> str:
    """Fetch a file and return its checksum. Raises OSError if it is cut off or larger than `max_bytes`."""
    import urllib.request

    digest, received = hashlib.new(kind, usedforsecurity=False), 0
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, part.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0))
        with progress(f"download {url.rpartition('/')[2]}", -(-size // CHUNK), "MiB") as bar:
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if max(received, size) > max_bytes:
                    raise OSError(f"it is larger than {max_bytes:,} bytes")
                digest.update(chunk)
                file.write(chunk)
                bar.advance()
    if received < size:
        raise OSError(f"it ended after {received:,} of {size:,} bytes")
    return f"{kind}:{digest.hexdigest()}"
