"""Which configuration is next, and what is known so far: Optuna's ask and tell, of proposals instead of trials.

A configuration beyond a constraint is told to the sampler without being evaluated, one that is known is told from
memory.
Each proposal's first trial is added to the study on disk, and is kept here as a key and its objectives: searches are
long.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.config.schema import SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Ended, Failed, Stopped
from ffnet_search.evaluation.schedule import describe, schedule_of
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.running_front import RunningFront
from ffnet_search.search.early_stopping.pruner import StoppingRule, TrialPruner, make_rule
from ffnet_search.search.neighbours import nearby
from ffnet_search.search.pending import PendingTrials
from ffnet_search.search.samplers.proposer import Proposer
from ffnet_search.search.storage.sqlite_rows import TrialWriter
from ffnet_search.search.storage.study import (
    candidate_of,
    configuration_of,
    metric_columns,
    metrics_of,
    params_of,
    state_of,
)
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Configuration, Value
from ffnet_search.space.cost_model import CostModel, analytic_metrics
from ffnet_search.space.feasibility import within_limits
from ffnet_search.space.hyperparameters import settle
from ffnet_search.space.registry import qualities
from ffnet_search.space.search_space import SearchSpace

FAILURES_IN_A_ROW = 10  # and the search stops: it is not the proposals
STEPS_PER_PROPOSAL = 20  # of the walk that looks for a feasible architecture where the sampler has found none


class Search:
    """`ask` gives a configuration to evaluate, `tell` takes what came of it; several may be under way at once.

    `cost_model` is None where there are no architectures to choose from; `start` holds hyper-parameters to begin with.
    `section.trials` counts proposals that were evaluated or stopped early: infeasible ones and repeats are free. Those
    that failed count in the run that saw them fail, and are tried again by the next.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost_model: CostModel | None,
        section: SearchSection,
        seed: int,
        writer: TrialWriter,
        finished: list[FrozenTrial],
        rule: StoppingRule | None = None,
        start: Mapping[str, Value] | None = None,
        under_way: PendingTrials | None = None,
    ) -> None:
        self.space, self.cost_model, self.section, self.writer = space, cost_model, section, writer
        self._start = settle(space.hyperparameters, lambda name, one: one.nearest((start or {}).get(name)))
        self.pruner = TrialPruner(section.objectives, rule or make_rule(section))
        self.scores: dict[str, tuple[float, ...]] = {}  # key -> objectives of what was evaluated
        self.names: dict[str, None] = {}  # see `study.metric_columns`: of all trials on disk
        self.stopped: dict[str, Stopped] = {}  # early, by a pruner
        self.infeasible: set[str] = set()
        self.failures: dict[str, str] = {}  # key -> reason, of this run
        self.failed = self.repeats = 0
        self.ended = ""  # why, where it ends before all trials are made
        self.seconds: Counter[str] = Counter()  # spent in: propose, store
        self._failed_in_a_row = 0
        self._under_way = under_way or PendingTrials()
        self._in_flight: dict[str, list[Trial]] = {}
        self._unsaved: list[FrozenTrial] = []
        most = self._known_of(Configuration(space.largest)) if space.has_network else {}
        bounds = {name: (worst, 0.0) for name, worst in {**most, **section.constraints}.items()}
        bounds |= {quality.name: quality.bounds for quality in qualities() if quality.bounds}
        self.front = RunningFront(section.directions, bounds)
        self._rng = random.Random(f"{seed}/{len(finished)}/walk")
        self.proposer = Proposer(space, section, seed, finished)
        self._load(finished)
        self._queue = deque(self._first())

    @property
    def evaluated(self) -> int:
        return len(self.scores)

    @property
    def told(self) -> int:
        """How many of `section.trials` are made."""
        return self.evaluated + len(self.stopped) + self.failed

    def ask(self, wanted: int = 1) -> Configuration | None:
        """The next configuration to evaluate: new and feasible. None where there is none; `ended` then says why.

        `wanted`: how many will be asked for, this one included, before anything is told.
        """
        self.ended = ""
        self.proposer.expect(wanted, self._new_key)
        try:
            for _ in range(self.section.proposals):
                configuration = self._propose()
                if configuration is not None:
                    return configuration
                if self._is_exhausted:
                    what = "proposals" if self.space.hyperparameters else "architectures"
                    self.ended = f"all {self.space.combinations:g} {what} of the space are known"
                    return None
            return self._walk()
        finally:
            self._store()

    def tell(self, configuration: Configuration, outcome: Ended) -> None:
        """What became of a configuration that `ask` gave. Raises SweepError after too many failures in a row."""
        outcome = self._checked(configuration, outcome)
        first, *others = self._in_flight.pop(configuration.key)
        self._under_way.end(configuration.key)
        self.pruner.close(configuration, first, finished=isinstance(outcome, Candidate))
        if isinstance(outcome, Failed):
            self.failed += 1
            self._failed_in_a_row += 1
            self.failures[configuration.key] = outcome.reason
            first.set_user_attr("reason", outcome.reason)
            if outcome.traceback:
                first.set_user_attr("traceback", outcome.traceback)
        else:
            self._failed_in_a_row = 0
            for name, value in outcome.metrics.items():
                first.set_user_attr(name, value)
            if isinstance(outcome, Stopped):
                self.stopped[configuration.key] = outcome
                first.set_user_attr("stopped", outcome.epochs)
            else:
                self._know(outcome)
                if outcome.record:
                    first.set_user_attr("record", dict(outcome.record))
                if outcome.record.get("schedule"):  # what the trial's parameters are not
                    first.set_user_attr("schedule", describe(schedule_of(outcome.record)))
        self._finish(first, configuration, save=True)
        for trial in others:
            self._finish(trial, configuration)
        self._store()
        if self._failed_in_a_row == FAILURES_IN_A_ROW:
            raise SweepError(
                f"search: {FAILURES_IN_A_ROW} evaluations in a row failed, the last of them ({configuration.key}) with: "  # noqa: E501
                f"{self.failures[configuration.key]}; its traceback is in the study. Nothing that was found before is lost: "  # noqa: E501
                "mend the cause and give the same command again"
            )

    def facts(self) -> dict[str, str]:
        """For the progress table."""
        volume = self.front.volume
        facts = {f"best {name}": f"{value:.4g}" for name, value in self.front.best.items()}
        facts |= {"front": str(len(self.front))} | ({} if volume is None else {"hypervolume": f"{volume:.4f}"})
        counts = {"stopped": len(self.stopped), "failed": self.failed}
        facts |= {name: str(count) for name, count in counts.items() if count}
        return facts | {"infeasible": str(len(self.infeasible)), "repeats": str(self.repeats)}

    def _first(self) -> Iterator[tuple[str, Configuration]]:
        """Origin -> configuration of what is looked at before the sampler proposes: what was cut off, the ends of the
        space,
        the published networks, and the ends of the front that can be known."""
        seen = self.scores.keys() | self.stopped.keys() | self.infeasible
        for begun in self._under_way.left:
            configuration = configuration_of(self.space, begun.params)
            if configuration.key not in seen:
                seen.add(configuration.key)
                yield begun.origin, configuration
        known: dict[str, Architecture | None] = {"recipe": self.space.architecture}
        if self.cost_model is not None:
            known = {"smallest": self.space.smallest, "largest": self.space.largest, **self.space.presets}
            for name in self.cost_model.of_part:
                if name in (*self.section.objectives, *self.section.constraints):
                    known[f"least {name}"] = self.cost_model.least(self.space, name)
        for name, arch in known.items():
            configuration = Configuration(arch, self._start)
            if configuration.key not in seen:
                seen.add(configuration.key)
                yield name, configuration

    def _propose(self) -> Configuration | None:
        """One configuration of the queue or the sampler, returned where it must be evaluated and told where not."""
        with self._timed("propose"):
            origin, queued = self._queue.popleft() if self._queue else ("sampler", None)
            trial = self.proposer.ask(queued)
        proposed = configuration_of(self.space, trial.params)
        key = proposed.key
        if key in self._in_flight:
            self.repeats += 1
            self._in_flight[key].append(trial)
            return None
        is_known = not self._is_new(proposed)
        self.repeats += is_known
        metrics = self._known_of(proposed)
        excess = self._excess(metrics)
        for name, value in excess.items():
            trial.set_constraint(name, value)
        if is_known:
            self._finish(trial, proposed)
            return None
        attributes = {"key": key, "architecture": str(proposed.architecture or ""), "origin": origin, **metrics}
        for name, text in attributes.items():
            trial.set_user_attr(name, text)
        if any(value > 0 for value in excess.values()):
            self.infeasible.add(key)
            self._finish(trial, proposed, save=True)
            return None
        self._in_flight[key] = [trial]
        self._under_way.begin(key, origin, trial.params)
        return replace(proposed, known=metrics)

    def _finish(self, trial: Trial, configuration: Configuration, save: bool = False) -> None:
        """Tells the sampler what is known of `configuration`; `save` where the trial is to be on disk: one for each
        configuration."""
        key = configuration.key
        without = TrialState.FAIL if key in self.failures else TrialState.PRUNED
        told = self.proposer.tell(trial, self.scores.get(key) or self.stopped.get(key) or without)
        if save:
            self._unsaved.append(told)

    def _walk(self) -> Configuration | None:
        """A new feasible configuration near those that are known, where the sampler found none."""
        starts = self.proposer.known + [trial.params for trial, *_ in self._in_flight.values()]
        if not starts and self.cost_model is not None:
            start = within_limits(self.space, self.cost_model, self.section.constraints)
            if start is None:
                raise SweepError(
                    f"search.constraints: no architecture was found that keeps {dict(self.section.constraints)} at "
                    f"once, in {self.section.proposals} proposals; each alone can be kept: raise one of them"
                )
            starts = [params_of(self.space, Configuration(start, self._start))]
        for configuration in nearby(self.space, starts, self._rng, STEPS_PER_PROPOSAL * self.section.proposals):
            if self._is_new(configuration) and all(
                x <= 0 for x in self._excess(self._known_of(configuration)).values()
            ):
                self._queue.appendleft(("walk", configuration))
                return self._propose()
        self.ended = f"no new feasible architecture was found in {self.section.proposals} proposals"
        return None

    def _known_of(self, configuration: Configuration) -> dict[str, float]:
        """Metrics that need no evaluation."""
        arch = configuration.architecture
        if arch is None:
            return {}
        return analytic_metrics(arch) if self.cost_model is None else self.cost_model(arch)

    def _checked(self, configuration: Configuration, outcome: Ended) -> Ended:
        """With the metrics that were known before, and as a failure where an objective is missing or not finite."""
        if isinstance(outcome, Failed):
            return outcome
        metrics = {name: float(value) for name, value in {**outcome.metrics, **self._known_of(configuration)}.items()}
        for name in self.section.objectives:
            if not math.isfinite(metrics.get(name, math.nan)):
                return Failed(f"{name} is {metrics.get(name, 'missing')}")
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        if isinstance(outcome, Stopped):
            return Stopped(outcome.epochs, finite)
        return Candidate(
            configuration.architecture,
            finite,
            configuration.hyperparameters,
            outcome.record,
            outcome.final_hyperparameters,
        )

    def _excess(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Constraint -> value / limit - 1: feasible where <= 0, as in Optuna. Relative, since samplers add them up."""
        return {name: metrics[name] / limit - 1 for name, limit in self.section.constraints.items()}

    @property
    def _met(self) -> tuple[Collection[str], ...]:
        """Keys of all that was proposed, by what became of it."""
        return self.scores, self.stopped, self.infeasible, self.failures, self._in_flight

    def _is_new(self, configuration: Configuration) -> bool:
        return not any(configuration.key in keys for keys in self._met)

    def _new_key(self, params: Mapping[str, Any]) -> str | None:
        """See `tpe.QuickTPESampler`."""
        try:
            configuration = configuration_of(self.space, params)
        except KeyError:  # of hyper-parameters, some of which may be asked for later
            return ""
        return configuration.key if self._is_new(configuration) else None

    @property
    def _is_exhausted(self) -> bool:
        return sum(map(len, self._met)) == self.space.combinations

    def _know(self, candidate: Candidate) -> None:
        self.scores[candidate.key] = tuple(candidate.metrics[name] for name in self.section.objectives)
        self.front.add(candidate)

    def _load(self, finished: list[FrozenTrial]) -> None:
        self.pruner.recall(finished)
        for trial in finished:
            self.names |= dict.fromkeys(metric_columns(trial))
            if trial.state == TrialState.COMPLETE:
                self._know(candidate_of(self.space, trial))
            elif state_of(trial) == "stopped":
                self.stopped[trial.user_attrs["key"]] = Stopped(trial.user_attrs["stopped"], metrics_of(trial))
            elif trial.state == TrialState.PRUNED:
                self.infeasible.add(trial.user_attrs["key"])

    def _store(self) -> None:
        if self._unsaved:
            with self._timed("store"):
                self.writer.add(self._unsaved)
            for trial in self._unsaved:
                self.names |= dict.fromkeys(metric_columns(trial))
            self._unsaved = []

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - start  # type: ignore[assignment]
