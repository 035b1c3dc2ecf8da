"""The optimizer of a search: ask for the next configuration, tell its outcome."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace

from optuna.trial import FrozenTrial, Trial

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Ended, Failed, Stopped
from ffnet_search.files.bounded import is_bounded
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.archive import Entry, TrialArchive
from ffnet_search.search.early_stopping.pruner import StoppingRule, TrialPruner, make_rule
from ffnet_search.search.neighbours import feasible_neighbour
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.samplers.optuna import OptunaSampler
from ffnet_search.search.storage.search_storage import SearchStorage
from ffnet_search.search.storage.trial_params import configuration_of, params_of
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.search.trial_queue import TrialQueue
from ffnet_search.space.cost_model import within_limits
from ffnet_search.space.hyperparameters import Configuration

FAILURES_IN_A_ROW = 10  # after which the search stops: the cause is not the configurations


class Optimizer:
    """`ask` gives a configuration to evaluate, `tell` takes its outcome; several may be pending at once.

    `section.trials` counts configurations that were evaluated or stopped early: infeasible ones and repeats are free.
    Failures count in the run that sees them, and are tried again by the next. `rule` stops trials early, in place of
    that of the section. The same seed gives the same study, on an engine that evaluates one at a time."""

    def __init__(self, problem: SearchProblem, storage: SearchStorage, rule: StoppingRule | None = None) -> None:
        self.problem, self.storage = problem, storage
        finished = list(storage.writer.stored())
        records = [TrialRecord.from_trial(trial) for trial in finished]
        self.archive = TrialArchive(problem)
        for record in records:
            if record.state != "failed":  # these are tried again
                self.archive.end(record)
        self.pruner = TrialPruner(problem.section.objectives, rule or make_rule(problem.section))
        self.pruner.load(records)
        storage.pending.reached = self.pruner.reached
        self.sampler = OptunaSampler(problem, finished)
        self.ended = ""  # the reason, where the search ends before all trials are made
        self._rng = random.Random(f"{problem.seed}/{len(finished)}/walk")
        self._pending: dict[str, tuple[TrialRecord, list[Trial]]] = {}  # the first trial is stored, with the record
        self._unsaved: list[FrozenTrial] = []
        self._failed_in_a_row = 0
        self._reference = ""
        self._give_up({record.key for record in records if record.state == "failed"})
        self._queue = TrialQueue(problem, storage.pending, self.archive.entries)

    def ask(self) -> Configuration | None:
        """The next configuration to evaluate: new and feasible. None where there is none; `ended` then says why."""
        self.ended = ""
        try:
            for _ in range(self.problem.section.proposals):
                configuration = self._propose()
                if configuration is not None:
                    return configuration
                if self.archive.is_exhausted and not self._queue.deferred:
                    what = "proposals" if self.problem.space.hyperparameters else "architectures"
                    self.ended = f"all {self.problem.space.combinations:g} {what} of the space are known"
                    return None
            neighbour = self._propose_neighbour()
            if neighbour is None and self._queue.deferred:
                self._queue.release_deferred()
                self.ended = ""
                return self._propose()
            return neighbour
        finally:
            self._store()

    def tell(self, configuration: Configuration, outcome: Ended) -> TrialRecord:
        """Take the outcome of a configuration that `ask` gave, and return what is stored of the trial. Raises
        SweepError after too many failures in a row."""
        key = configuration.key
        outcome = _checked(self.problem, configuration, outcome)
        begun, (first, *repeats) = self._pending.pop(key)
        self.storage.pending.end(key)
        reports = self.pruner.close(key, finished=isinstance(outcome, Candidate))
        learnt = {}  # without the metrics that were known before training
        for epoch, metrics in reports.items():
            learnt[epoch] = {name: value for name, value in metrics.items() if name not in configuration.known}
        record = begun.ended(outcome, learnt)
        record = replace(record, excess=self.problem.excess(record.metrics))
        for trial in (first, *repeats):
            for name in record.excess.keys() - begun.excess.keys():
                trial.set_constraint(name, record.excess[name])
        self.archive.end(record)
        if len(self.problem.objectives) == 1:
            for epoch, metrics in reports.items():
                first.report(metrics[self.problem.section.objectives[0]], epoch)
        self._finish(first, record)
        for trial in repeats:
            self.sampler.tell(trial, self.archive.entries[key])
        self._store()
        self._queue.release_deferred()
        self._failed_in_a_row = self._failed_in_a_row + 1 if isinstance(outcome, Failed) else 0
        if self._failed_in_a_row == FAILURES_IN_A_ROW:
            raise SweepError(
                f"search: {FAILURES_IN_A_ROW} evaluations in a row failed, the last of them ({key}) with: "
                f"{record.reason}; its traceback is in the study. Earlier results are kept: correct "
                "the cause and give the same command again"
            )
        return record

    def adopt(self, candidates: Iterable[Candidate]) -> list[str]:
        """Take candidates that were evaluated before as if they had been asked for, and return the keys of those that
        have every metric of an objective or a limit, and keep the limits that are known before an evaluation."""
        adopted = []
        for candidate in candidates:
            configuration = candidate.configuration
            known = {**candidate.metrics, **self.problem.known_metrics(configuration)}
            wanted = (*self.problem.section.objectives, *self.problem.section.constraints)
            if candidate.key in self.archive.entries or not all(name in known for name in wanted):
                continue
            self._queue.push_front("known", configuration)
            if self._propose() is not None:
                self.tell(configuration, candidate)
                adopted.append(candidate.key)
        self._store()
        return adopted

    def facts(self) -> dict[str, str]:
        """The reference point of the sampler, stored with the study once it is known."""
        if not self._reference and (reference := self.sampler.reference):
            metrics = ((self.problem.section.metric(name), value) for name, value in reference.items())
            self._reference = ", ".join(f"{metric.phrase} {metric.format(value)}" for metric, value in metrics)
            self.storage.writer.study.set_user_attr("reference", reference)
        return {"reference point": self._reference} if self._reference else {}

    def _give_up(self, failed: set[str]) -> None:
        """Note configurations that ended the whole process each time as failed, in this search and all later ones; they
        are stored once. `failed`: the keys of stored failures."""
        for key, left in self.storage.pending.given_up.items():
            if key in self.archive.entries:  # it has ended since
                continue
            outcome = Failed(f"{left.fault}; to try it again, remove it from study.db.pending")
            self.archive.note(key, Entry("failed", reason=outcome.reason))
            if key not in failed:
                configuration = configuration_of(self.problem.space, left.params)
                trial = self.sampler.ask(configuration)
                record = self._recorded(trial, configuration, left.origin)
                self._finish(trial, record.ended(outcome, {}))
        self._store()

    def _recorded(self, trial: Trial, configuration: Configuration, origin: str) -> TrialRecord:
        """The record of a trial before its evaluation. Sets the constraints of the trial."""
        metrics = self.problem.known_metrics(configuration)
        excess = self.problem.excess(metrics)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        arch = str(configuration.architecture or "")
        return TrialRecord(configuration.key, arch, origin, metrics, params=trial.params, excess=excess)

    def _propose(self) -> Configuration | None:
        """The next configuration of the queue or the sampler. None where it needs no evaluation."""
        origin, queued = self._queue.pop()
        trial = self.sampler.ask(queued)
        proposed = configuration_of(self.problem.space, trial.params)
        key = proposed.key
        if key in self._pending:
            self.archive.repeats += 1
            self._pending[key][1].append(trial)
            return None
        if key in self._queue.deferred:
            self.archive.repeats += 1
            self.sampler.tell(trial, Entry("failed", reason="it gives way to another trial"))
            return None
        record = self._recorded(trial, proposed, origin)
        if key in self.archive.entries:
            self.archive.repeats += 1
            self.sampler.tell(trial, self.archive.entries[key])
            return None
        if not record.is_feasible:
            self.archive.end(record)
            self._finish(trial, record)
            return None
        self.archive.note(key, Entry("pending"))
        self._pending[key] = record, [trial]
        self.storage.pending.begin(key, origin, trial.params)
        return replace(proposed, known=record.metrics)

    def _propose_neighbour(self) -> Configuration | None:
        """A new feasible configuration near known ones, where the sampler proposes none."""
        problem = self.problem
        starts = self.sampler.known + [trials[0].params for _, trials in self._pending.values()]
        if not starts and problem.cost_model is not None:
            limits = problem.section.cost_limits
            start = within_limits(problem.space, problem.cost_model, limits)
            if start is None:
                raise SweepError(
                    f"search.constraints: no architecture was found that keeps {dict(limits)} at once, in "
                    f"{problem.section.proposals} proposals; each alone can be kept: raise one of them"
                )
            starts = [params_of(problem.space, Configuration(start, problem.initial_hyperparameters))]
        taken = {**self.archive.entries, **self._queue.deferred}
        neighbour = feasible_neighbour(problem, starts, self._rng, lambda one: one.key not in taken)
        if neighbour is None:
            self.ended = f"no new feasible architecture was found in {problem.section.proposals} proposals"
            return None
        self._queue.push_front("walk", neighbour)
        return self._propose()

    def _finish(self, trial: Trial, record: TrialRecord) -> None:
        """End the first trial of a configuration, which is stored."""
        for name, value in record.to_attrs().items():
            trial.set_user_attr(name, value)
        self._unsaved.append(self.sampler.tell(trial, self.archive.entries[record.key]))

    def _store(self) -> None:
        if self._unsaved:
            self.storage.writer.add(self._unsaved)
            self._unsaved = []


def _checked(problem: SearchProblem, configuration: Configuration, outcome: Ended) -> Ended:
    """The outcome with the metrics known before; a failure where an objective is missing or not finite."""
    if isinstance(outcome, Failed):
        return outcome
    known = problem.known_metrics(configuration)
    metrics = {name: float(value) for name, value in {**outcome.metrics, **known}.items()}
    for name in problem.section.objectives:
        if not is_bounded(metrics.get(name, math.nan)):
            return Failed(f"{name} is {metrics.get(name, 'missing')}")
    finite = {name: value for name, value in metrics.items() if is_bounded(value)}
    if isinstance(outcome, Stopped):
        return Stopped(outcome.epochs, finite)
    arch, proposed = configuration.architecture, configuration.hyperparameters
    return replace(outcome, architecture=arch, metrics=finite, hyperparameters=proposed)
