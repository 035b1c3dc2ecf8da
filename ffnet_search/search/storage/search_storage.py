"""The files of a search: its study, the table of its trials, and its pending trials."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from ffnet_search.atomic_write import replacing
from ffnet_search.errors import SweepError
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.pending import PendingTrials
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.database_copy import copied
from ffnet_search.search.storage.sqlite_rows import TrialWriter
from ffnet_search.search.storage.study import open_study
from ffnet_search.search.storage.trial_record import ATTRIBUTES, TrialRecord
from ffnet_search.space.registry import known_metrics
from ffnet_search.space.search_space import SearchSpace


@dataclass(frozen=True)
class SearchStorage:
    """The storage of one search, open for writing. `pending`: the trials in evaluation."""

    space: SearchSpace
    writer: TrialWriter
    pending: PendingTrials

    def trials(self) -> Iterator[FrozenTrial]:
        """The finished trials, in their order."""
        return (trial for trial in self.writer.stored() if trial.state.is_finished())

    def candidates(self) -> list[Candidate]:
        """The candidates of the evaluated trials, in their order."""
        records = map(TrialRecord.from_trial, self.trials())
        return [record.candidate(self.space) for record in records if record.state == "evaluated"]

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Store finished trials: all or, where the process is killed, none. Raises SweepError."""
        self.writer.add(trials)


@contextmanager
def open_storage(
    problem: SearchProblem,
    study: Path,
    candidates: Path | None = None,
    *,
    digest: str = "",
    resumable: bool = False,
) -> Iterator[SearchStorage]:
    """The study of a search, created where there is none, and its copy in `search.storage`.

    At the end the table of its trials is written to `candidates`, as CSV. `digest` names all that the results depend
    on. `resumable`: an interrupted evaluation leaves a checkpoint, so the next search begins with it. Raises SweepError
    where a file is broken, cannot be written, or belongs to another search.
    """
    with ExitStack() as stack:
        writer = stack.enter_context(open_study(study, problem.objectives, digest))
        stack.enter_context(copied(writer, problem.section.storage, study.parent.name, problem.objectives, digest))
        pending = PendingTrials(study.with_name(f"{study.name}.pending") if resumable else None)
        try:
            yield SearchStorage(problem.space, writer, pending)
        finally:
            pending.put_back()
            if candidates is not None:
                write_candidates(candidates, writer, problem.space)


def write_candidates(path: Path, writer: TrialWriter, space: SearchSpace) -> None:
    """Replace the file `path` by all trials as CSV, with their final hyper-parameters.

    Raises SweepError where it cannot be written.
    """
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
            table.writerows(_rows(map(TrialRecord.from_trial, writer.stored(space.hyperparameters))))
    except OSError as error:
        raise SweepError(f"{path}: cannot be written: {error}") from None


def _rows(records: Iterable[TrialRecord]) -> Iterator[dict[str, object]]:
    for record in records:
        own = {"trial": record.number, "state": record.state, "feasible": str(record.is_feasible).lower()}
        yield {**record.final_params, **record.to_attrs(), **own}
