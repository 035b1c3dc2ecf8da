"""The files of a search: its study, the table of its trials, and its pending trials."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ffnet_search.atomic_write import replacing, write_text
from ffnet_search.errors import SweepError
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.sqlite_rows import TrialWriter
from ffnet_search.search.storage.study import copied, open_study
from ffnet_search.search.storage.trial_record import ATTRIBUTES, TrialRecord
from ffnet_search.space.registry import known_metrics
from ffnet_search.space.search_space import SearchSpace

STARTS = 3  # of one trial: what was interrupted so often may be the cause, by its memory for example


class PendingTrial(NamedTuple):
    """A trial without a result: who proposed it, its parameters, and the number of times that it was started."""

    origin: str
    params: dict[str, Any]
    starts: int = 0


class PendingTrials:
    """The trials in evaluation by key, in the file `path`, so that an interrupted search begins with them the next
    time. With None nothing is kept; an unreadable file is ignored, since it holds no results."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._trials: dict[str, PendingTrial] = {}
        self._begun: set[str] = set()  # by this search
        if path is not None:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                content = json.loads(path.read_text(encoding="utf-8"))
                self._trials = {key: PendingTrial(**fields) for key, fields in content.items()}
        self.left = [trial for trial in self._trials.values() if trial.starts < STARTS]  # the trials to begin with

    def begin(self, key: str, origin: str, params: Mapping[str, Any]) -> None:
        """Note that a trial is started."""
        before = self._trials.pop(key, None)
        self._trials[key] = PendingTrial(origin, dict(params), before.starts + 1 if before else 1)
        self._begun.add(key)
        self._write()

    def end(self, key: str) -> None:
        """Note that a trial has ended."""
        self._trials.pop(key, None)
        self._write()

    def put_back(self) -> None:
        """Keep the pending trials for the next search, at the end of this one. Its end is not counted as a start."""
        for key in self._begun & self._trials.keys():
            trial = self._trials[key]
            self._trials[key] = trial._replace(starts=trial.starts - 1)
        self._begun = set()
        self._write()

    def _write(self) -> None:
        if self._path is not None:
            if self._trials:
                trials = {key: trial._asdict() for key, trial in self._trials.items()}
                write_text(self._path, json.dumps(trials, indent=1) + "\n")
            else:
                self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class SearchStorage:
    """The storage of one search, open for writing."""

    writer: TrialWriter
    pending: PendingTrials


@contextmanager
def open_storage(
    problem: SearchProblem, study: Path, candidates: Path | None = None, *, digest: str = "", resumable: bool = False
) -> Iterator[SearchStorage]:
    """The study of a search, created where there is none, and its copy in `search.storage`.

    At the end the table of its trials is written to `candidates`, as CSV. `digest` names all that the results depend
    on. `resumable`: an interrupted evaluation leaves a checkpoint. Raises SweepError as `open_study` does."""
    with ExitStack() as stack:
        writer = stack.enter_context(open_study(study, problem.objectives, digest))
        stack.enter_context(copied(writer, problem.section.storage, study.parent.name, problem.objectives, digest))
        pending = PendingTrials(study.with_name(f"{study.name}.pending") if resumable else None)
        try:
            yield SearchStorage(writer, pending)
        finally:
            pending.put_back()
            if candidates is not None:
                write_candidates(candidates, writer, problem.space)


def write_candidates(path: Path, writer: TrialWriter, space: SearchSpace) -> None:
    """Replace the file by all trials as CSV, with their final hyper-parameters. Raises SweepError."""
    names = writer.attribute_names()
    metrics = dict.fromkeys([*known_metrics(), *(name for name in names if name not in ATTRIBUTES)])
    columns = ["trial", "key", "state", "feasible", "origin", *metrics, "stopped", *space.hyperparameters]
    if "schedule" in names:
        columns.append("schedule")
    columns += ["reason", "architecture"]
    try:
        with replacing(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            table.writeheader()
            for record in map(TrialRecord.from_trial, writer.stored(space.hyperparameters)):
                own = {"trial": record.number, "state": record.state, "feasible": str(record.is_feasible).lower()}
                table.writerow({**record.final_params, **record.to_attrs(), **own})
    except OSError as error:
        raise SweepError(f"{path}: cannot be written: {error}") from None
