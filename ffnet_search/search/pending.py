"""The trials in evaluation, in a file beside the study: an interrupted search begins with them the next time, so that a
training resumes from the checkpoint that it left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ffnet_search.atomic_write import write_text

STARTS = 3  # of one trial: what was interrupted so often may be the cause, by its memory for example


class PendingTrial(NamedTuple):
    """A trial without a result: who proposed it, its parameters, and the number of times that it was started."""

    origin: str
    params: dict[str, Any]
    starts: int = 0


class PendingTrials:
    """The pending trials of a search, by key, in the file `path`; with None nothing is kept.

    An unreadable file is ignored: it holds no results.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._begun: dict[str, PendingTrial] = {}  # by this search
        self._left: dict[str, PendingTrial] = {} if path is None else _read(path)  # by earlier ones

    @property
    def left(self) -> list[PendingTrial]:
        """The trials to begin with."""
        return [trial for trial in self._left.values() if trial.starts < STARTS]

    def begin(self, key: str, origin: str, params: Mapping[str, Any]) -> None:
        """Note that a trial is started."""
        before = self._left.pop(key, None)
        starts = before.starts if before else 0
        self._begun[key] = PendingTrial(origin, dict(params), starts + 1)
        self._write()

    def end(self, key: str) -> None:
        """Note that a trial has ended."""
        self._begun.pop(key, None)
        self._write()

    def put_back(self) -> None:
        """Keep the pending trials for the next search, at the end of this one. Its end is not counted as a start."""
        for key, trial in self._begun.items():
            self._left[key] = trial._replace(starts=trial.starts - 1)
        self._begun = {}
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        trials = {key: trial._asdict() for key, trial in {**self._left, **self._begun}.items()}
        if trials:
            write_text(self._path, json.dumps(trials, indent=1) + "\n")
        else:
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, PendingTrial]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: PendingTrial(**fields) for key, fields in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
