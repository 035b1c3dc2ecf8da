"""The loop of a search: ask the optimizer, let an engine evaluate, tell the optimizer; the same for every engine."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime

from optuna.trial import FrozenTrial

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import Engine, OutOfTime
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import Bar, clock, progress, say
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.storage.search_storage import SearchStorage
from ffnet_search.search.storage.trial_record import TrialRecord

OnEnd = Callable[[TrialRecord], object]


def run_search(
    optimizer: Optimizer, engine: Engine, storage: SearchStorage, on_end: OnEnd = lambda record: None
) -> list[Candidate]:
    """Search until `search.trials` configurations are evaluated, or `search.minutes` are over, and return the
    candidates, all feasible. `on_end` is called with each trial that was evaluated, stopped or failed. Raises
    SweepError if all evaluations fail, if none ended in that time, or the study of `storage` does not hold what
    was evaluated."""
    minutes = optimizer.problem.section.minutes
    with engine:
        if minutes is not None:
            engine.deadline = time.monotonic() + 60 * minutes - spent_s(storage.writer.stored())
        run_loop(optimizer, engine, on_end)
    records = map(TrialRecord.from_trial, storage.writer.stored())
    known = [record for record in records if record.state == "evaluated"]
    candidates = [record.candidate(optimizer.problem.space) for record in known]
    evaluated = optimizer.archive.keys("evaluated")
    if Counter(candidate.key for candidate in candidates) != Counter(evaluated):
        raise SweepError(
            f"{storage.writer.path}: must hold each of the {len(evaluated)} candidates that were evaluated once, but "
            f"holds {len(candidates)}: another program wrote to it; keep it to one, and give the same command again"
        )
    return [candidate for candidate, record in zip(candidates, known, strict=True) if record.is_feasible]


def spent_s(trials: Iterable[FrozenTrial]) -> float:
    """The seconds in which at least one of the trials was in progress."""
    spans = [(trial.datetime_start, trial.datetime_complete) for trial in trials]
    seconds, end = 0.0, datetime.min
    for start, stop in sorted((start, stop) for start, stop in spans if start and stop):
        if stop > end:
            seconds += (stop - max(start, end)).total_seconds()
            end = stop
    return seconds


def run_loop(optimizer: Optimizer, engine: Engine, on_end: OnEnd = lambda record: None) -> None:
    """Evaluate until `search.trials` are made, no configuration is left, or the engine's deadline is over."""
    archive, trials = optimizer.archive, optimizer.problem.section.trials
    with progress("search", trials, "candidates", done=archive.finished) as bar, suppress(OutOfTime):
        _evaluate(optimizer, engine, bar, on_end)
    evaluated = archive.count("evaluated")
    if optimizer.ended:
        say(f"search: {optimizer.ended}, so it ends with {evaluated} of {trials} candidates")
    elif archive.finished < trials:
        say(f"search: its time is over, so it ends with {evaluated} of {trials} candidates")
    failed = archive.keys("failed")
    if failed and not evaluated:
        reason = archive.entries[failed[0]].reason
        several = f"all {len(failed)} evaluations failed, the first with"
        failures = several if len(failed) > 1 else "the only evaluation failed with"
        raise SweepError(f"search: {failures}: {reason}; correct the cause and give the same command again")
    if not evaluated and archive.finished < trials and not optimizer.ended:
        raise SweepError("search: its time is over before a candidate was evaluated; give more search.minutes")


def _evaluate(optimizer: Optimizer, engine: Engine, bar: Bar, on_end: OnEnd) -> None:
    """Ask, submit and tell, until nothing is pending any more. Raises OutOfTime if something is, at the deadline."""
    archive, trials, pending = optimizer.archive, optimizer.problem.section.trials, 0
    while True:
        while time.monotonic() < engine.deadline and min(engine.free_slots, trials - archive.finished - pending) > 0:
            configuration = optimizer.ask()
            if configuration is None:
                break
            engine.submit(configuration)
            pending += 1
        if not pending:
            break
        while True:  # take all results that are ready, since proposals that know more are better
            on_end(optimizer.tell(*engine.next()))
            pending -= 1
            left_s = engine.deadline - time.monotonic()
            left = {} if math.isinf(left_s) else {"time left": clock(max(0.0, left_s))}
            bar.advance(facts=archive.facts() | optimizer.facts() | engine.utilisation | left)
            if not engine.is_ready:
                break
