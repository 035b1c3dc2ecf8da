"""The loop of a search: ask the optimizer, let an engine evaluate, tell the optimizer; the same for every engine."""

from __future__ import annotations

from collections import Counter

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import Engine
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import progress, say
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.storage.search_storage import SearchStorage
from ffnet_search.search.storage.trial_record import TrialRecord


def run_search(optimizer: Optimizer, engine: Engine, storage: SearchStorage) -> list[Candidate]:
    """Search until `search.trials` configurations are evaluated, and return the candidates, all feasible. Raises
    SweepError where all evaluations fail, or the study of `storage` does not hold what was evaluated."""
    with engine:
        run_loop(optimizer, engine)
    records = map(TrialRecord.from_trial, storage.writer.stored())
    candidates = [record.candidate(optimizer.problem.space) for record in records if record.state == "evaluated"]
    evaluated = optimizer.archive.keys("evaluated")
    if Counter(candidate.key for candidate in candidates) != Counter(evaluated):
        raise SweepError(
            f"{storage.writer.path}: must hold each of the {len(evaluated)} candidates that were evaluated once, but "
            f"holds {len(candidates)}: another program wrote to it; keep it to one, and give the same command again"
        )
    return candidates


def run_loop(optimizer: Optimizer, engine: Engine) -> None:
    """Evaluate until `search.trials` are made or no configuration is left. An interrupt says how to resume."""
    archive, trials = optimizer.archive, optimizer.problem.section.trials
    pending = 0
    with progress("search", trials, "candidates", done=archive.finished) as bar:
        try:
            while True:
                while min(engine.free_slots, trials - archive.finished - pending) > 0:
                    configuration = optimizer.ask()
                    if configuration is None:
                        break
                    engine.submit(configuration)
                    pending += 1
                if not pending:
                    break
                while True:  # take all results that are ready, since proposals that know more are better
                    optimizer.tell(*engine.next())
                    pending -= 1
                    bar.advance(facts=archive.facts() | optimizer.facts() | engine.utilisation)
                    if not engine.is_ready:
                        break
        except KeyboardInterrupt:
            say(f"search: interrupted; {archive.count('evaluated')} candidates are kept, and the same command resumes")
            raise
    if optimizer.ended:
        evaluated = archive.count("evaluated")
        say(f"search: {optimizer.ended}, so it ends with {evaluated} of {trials} candidates")
    failed = archive.keys("failed")
    if failed and not archive.count("evaluated"):
        reason = archive.entries[failed[0]].reason
        raise SweepError(f"search: all {len(failed)} evaluations failed, the first with: {reason}")
