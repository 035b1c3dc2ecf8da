"""The storage of one search, opened together: its study with the copy, its pending trials, the table of its trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ffnet_search.errors import Terminated
from ffnet_search.evaluation.signals import EndedItself
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.database_copy import copied
from ffnet_search.search.storage.pending_trials import PendingTrials
from ffnet_search.search.storage.study import open_study
from ffnet_search.search.storage.trial_params import is_of_space
from ffnet_search.search.storage.trial_table import write_candidates
from ffnet_search.search.storage.trial_writer import TrialWriter


@dataclass(frozen=True)
class SearchStorage:
    """The storage of one search, open for writing."""

    writer: TrialWriter
    pending: PendingTrials


@contextmanager
def open_storage(
    problem: SearchProblem,
    study: Path,
    candidates: Path | None = None,
    *,
    digest: str = "",
    resumable: bool = False,
    counts: bool = True,
) -> Iterator[SearchStorage]:
    """The study of a search, created where there is none, and its copy in `search.storage`.

    At the end the table of its trials is written to `candidates`, as CSV. `digest` names all that the results depend
    on. `resumable`: an interrupted evaluation is begun with the next time; `counts`: see `PendingTrials`. Raises
    SweepError as `open_study` does."""
    with ExitStack() as stack:
        writer = stack.enter_context(open_study(study, problem.objectives, digest))
        stack.enter_context(copied(writer, problem.section.storage, study.parent.name, problem.objectives, digest))
        path = study.with_name(f"{study.name}.pending") if resumable else None
        pending = PendingTrials(path, partial(is_of_space, problem.space), counts=counts)
        preempt = partial(pending.put_back, preempted=True)
        Terminated.last_acts.append(preempt)
        try:
            yield SearchStorage(writer, pending)
        except EndedItself:
            pending.put_back(by_itself=True)
            raise
        except Terminated:
            preempt()
            raise
        finally:
            Terminated.last_acts.remove(preempt)
            pending.put_back()
            if candidates is not None:
                write_candidates(candidates, writer, problem.space)
