"""What is being evaluated, in a file beside the study: a search that was cut off begins with it again, so that a
training which left a checkpoint goes on from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

STARTS = 3  # of one trial: what was cut off so often may be what cuts off, by its memory for example


class PendingTrial(NamedTuple):
    """A trial that no result is known of: who proposed it, its parameters, and how often it was begun."""

    origin: str
    params: dict[str, Any]
    starts: int = 0


class PendingTrials:
    """Of a search whose file is at `path`; with None nothing is kept. What cannot be read is nothing: no result is lost
    with it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._begun: dict[str, PendingTrial] = {}  # of this search
        self._left: dict[str, PendingTrial] = {}  # of those before it
        if path is not None and path.exists():
            try:
                self._left = {
                    key: PendingTrial(**one) for key, one in json.loads(path.read_text(encoding="utf-8")).items()
                }
            except (OSError, ValueError, TypeError, AttributeError):
                self._left = {}

    @property
    def left(self) -> list[PendingTrial]:
        """What to begin with."""
        return [one for one in self._left.values() if one.starts < STARTS]

    def begin(self, key: str, origin: str, params: Mapping[str, Any]) -> None:
        before = self._left.pop(key, None)
        self._begun[key] = PendingTrial(origin, dict(params), (before.starts if before else 0) + 1)
        self._write()

    def end(self, key: str) -> None:
        self._begun.pop(key, None)
        self._write()

    def put_back(self) -> None:
        """The search ends of itself or was stopped in good order, which is nothing that a trial has done."""
        self._left |= {key: one._replace(starts=one.starts - 1) for key, one in self._begun.items()}
        self._begun = {}
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        found = {key: one._asdict() for key, one in {**self._left, **self._begun}.items()}
        if found:
            scratch = self._path.with_name(f"{self._path.name}.tmp")
            scratch.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            os.replace(scratch, self._path)
        else:
            self._path.unlink(missing_ok=True)
