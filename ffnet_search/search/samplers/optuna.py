"""Samplers by name or import path, ours and those of Optuna, on a study in memory.

A trial that was stopped early is pruned in the study on disk: complete with an early value it would be on the front.
But of Optuna 5's samplers TPE alone reads pruned trials, and with several objectives it keeps no values of them. So in
memory such a trial is complete, with final values that are extrapolated from the trials that trained to their end;
before the first of these, it is pruned in memory too.

A sampler whose class has `resumes` proposes by its seed and the trials of the study alone: a later run gives it the
seed of the first. One that takes `known` gets what needs no evaluation (`proposal.Known`).
"""

from __future__ import annotations

import inspect
import math
import random
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.errors import SweepError, one_line
from ffnet_search.imports.modules import user_line
from ffnet_search.plugins import Registry, find_class
from ffnet_search.search.archive import Entry
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.samplers.arguments import check_sampler_arguments
from ffnet_search.search.samplers.pareto import ParetoSampler
from ffnet_search.search.samplers.proposal import Known
from ffnet_search.search.storage.study import quiet_optuna
from ffnet_search.search.storage.trial_params import architecture_of, distributions, params_of
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.hyperparameters import Configuration, Hyperparameter, Value, settle

# Of no use here: abstract, for a fixed list of points, or (CMA-ES) random on categorical axes.
EXCLUDED = {"BaseGASampler", "BaseSampler", "GridSampler", "PartialFixedSampler", "CmaEsSampler"}
OURS: Registry = {"ParetoSampler": "ffnet_search.search.samplers.pareto:ParetoSampler"}
Pair = tuple[float, float]


def known_samplers() -> dict[str, str]:
    """Name -> import path of every sampler that `search.sampler.class_path` names without a path."""
    names = {name for name in optuna.samplers.__all__ if name.endswith("Sampler")} - EXCLUDED
    return {**OURS, **{name: f"optuna.samplers:{name}" for name in sorted(names)}}


def make_sampler(problem: SearchProblem, finished: int) -> BaseSampler:
    """The sampler of a search whose study has `finished` trials.

    The seed of most depends on `finished`: with the same one, a resumed search would repeat its first run's proposals.
    Raises SweepError if the sampler does not exist, or refuses its arguments or the number of objectives."""
    section, objectives = problem.section.sampler, len(problem.objectives)
    kind = find_class(section.class_path, "search.sampler.class_path", BaseSampler, known_samplers())
    where = f"search.sampler.init_args of {section.class_path}"
    accepted = inspect.signature(kind).parameters
    check_sampler_arguments(section, accepted)
    args = dict(section.init_args)
    conditional = any(one.when for one in problem.space.hyperparameters.values())
    if conditional and args.get("multivariate") and "group" in accepted:
        args.setdefault("group", True)  # without groups, TPE samples conditional parameters one by one
    if "seed" in accepted:
        run = 0 if getattr(kind, "resumes", False) else finished
        args["seed"] = random.Random(f"{problem.seed}/{run}").getrandbits(32)
    own = dict(args)  # without `known`, which does not take the parameters of a trial run
    if "known" in accepted:
        args.setdefault("known", partial(known_of, problem))
    with quiet_optuna(), warnings.catch_warnings(), own_errors(section.class_path):
        # Experimental and deprecated samplers warn; a sweep that names them has chosen them.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        try:
            _try_out(kind(**own), objectives)
            sampler: BaseSampler = kind(**args)
            return sampler
        except (TypeError, ValueError, ImportError) as error:
            raise SweepError(
                f"{where}, which are {dict(section.init_args)}, are refused by {kind.__name__} for {objectives} "
                f"objective(s): {one_line(error)}{user_line(error)}"
            ) from None


@contextmanager
def own_errors(sampler: str) -> Iterator[None]:
    """Raise SweepError for an error that arose in user-supplied code within the block, with its line."""
    try:
        yield
    except SweepError:
        raise
    except Exception as error:
        line = user_line(error)
        if not line:
            raise
        raise SweepError(
            f"search.sampler {sampler} raised {type(error).__name__}: {one_line(error)}{line}; correct it and give the "
            "same command again, which keeps earlier results"
        ) from error


def known_of(problem: SearchProblem, params: Mapping[str, Any]) -> Known:
    """The metrics that are known of a configuration by its parameters, before its evaluation.

    Those of the architecture, whatever hyper-parameters are still to be suggested."""
    space = problem.space
    if not space.has_network:
        return Known()
    arch = architecture_of(space, params)
    metrics = problem.known_metrics(Configuration(arch))
    values = {at: metrics[name] for at, name in enumerate(problem.objectives) if name in metrics}
    try:
        hyperparameters = settle(space.hyperparameters, lambda name, one: params[name])
    except KeyError:
        return Known(values, problem.excess(metrics))
    choices = space.effective_choices(arch)
    effective = {name: choices[name] for name in params if name in choices}
    return Known(values, problem.excess(metrics), effective | hyperparameters)


def _try_out(sampler: BaseSampler, objectives: int) -> None:
    """Run two trials: some samplers refuse arguments or objectives only when they are asked."""
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
    for number in range(2):
        trial = study.ask({"x": CategoricalDistribution((0, 1)), "y": CategoricalDistribution((0, 1))})
        study.tell(trial, [float(number)] * objectives)


class LearningCurves:
    """The metrics of all trials that trained to their end, after each epoch and at the end."""

    def __init__(self) -> None:
        # Epoch -> metric -> (value at that epoch, final value) of each trial.
        self._pairs: defaultdict[int, defaultdict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))

    def add(self, reports: Mapping[int, Mapping[str, float]], ending: Mapping[str, float]) -> None:
        """Add the reports of a trial, epoch -> metrics, and its final metrics."""
        for epoch, metrics in reports.items():
            for name in metrics.keys() & ending.keys():
                pair = metrics[name], ending[name]
                if all(map(math.isfinite, pair)):  # an infinite loss says nothing of other trials
                    self._pairs[epoch][name].append(pair)

    def ending(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float] | None:
        """The final metrics of a trial with these metrics after `epoch` epochs; None if no trial reported then.

        Each reported metric keeps its rank, by linear interpolation between the values of the others at that epoch and
        their final values; beyond the least or the greatest it keeps its distance."""
        pairs: Mapping[str, Sequence[Pair]] = self._pairs.get(epoch, {})
        if not pairs.keys() & metrics.keys():
            return None
        return {name: _extrapolated(x, pairs[name]) if name in pairs else x for name, x in metrics.items()}


def _extrapolated(value: float, pairs: Sequence[Pair]) -> float:
    then, ending = np.sort(pairs, axis=0).T
    return float(np.interp(value, then, ending) + value - np.clip(value, then[0], then[-1]))


class OptunaSampler:
    """Any sampler of Optuna, which proposes configurations as trials and learns from their results.

    `finished`: the trials of earlier runs, as they are on disk. Raises SweepError as `make_sampler` does."""

    def __init__(self, problem: SearchProblem, finished: Sequence[FrozenTrial] = ()) -> None:
        self._problem = problem
        self._axes = distributions(problem.space)
        self._curves = LearningCurves()
        self.sampler = make_sampler(problem, len(finished))
        self.study = optuna.create_study(directions=list(problem.objectives.values()), sampler=self.sampler)
        records = [TrialRecord.from_trial(trial) for trial in finished]
        for record in records:
            self._learn(record)
        for trial, record in zip(finished, records, strict=True):
            values = [] if record.stopped is None else self._final_values(record.stopped, record.metrics)
            self.study.add_trial(_changed(trial, TrialState.COMPLETE, values) if values else trial)

    def ask(self, configuration: Configuration | None = None) -> Trial:
        """A trial with all its parameters, of the sampler's own choice or of this configuration."""
        if configuration is not None:
            self.study.enqueue_trial(params_of(self._problem.space, configuration))
        with own_errors(self._problem.section.sampler.class_path):
            trial = self.study.ask(self._axes)
            settle(self._problem.space.hyperparameters, partial(_suggest, trial))
        if configuration is not None and isinstance(self.sampler, BaseGASampler):
            # Optuna leaves enqueued trials out of the population. A genetic sampler whose own proposals are all
            # infeasible would then never get beyond random ones.
            self.sampler.get_trial_generation(self.study, self.study.get_trials(deepcopy=False)[trial.number])
        return trial

    def tell(self, trial: Trial, entry: Entry) -> FrozenTrial:
        """Learn the result of a trial. Returns the trial as it is to be stored."""
        values: Sequence[float] = entry.objectives
        if entry.stopped is not None:
            values = self._final_values(entry.stopped.epochs, entry.stopped.metrics)
        with own_errors(self._problem.section.sampler.class_path):
            if values:
                ended = self.study.tell(trial, values)
            else:
                ended = self.study.tell(trial, state=TrialState.FAIL if entry.state == "failed" else TrialState.PRUNED)
        if entry.stopped is not None and values:
            ended = _changed(ended, TrialState.PRUNED, None)
        self._learn(TrialRecord.from_trial(ended))
        return ended

    @property
    def reference(self) -> dict[str, float]:
        """Objective -> the worst value that is of interest; empty if the sampler has no such point, or not yet."""
        point = self.sampler.reference_point(self.study) if isinstance(self.sampler, ParetoSampler) else None
        return dict(zip(self._problem.objectives, point or (), strict=False))

    @property
    def known(self) -> list[Mapping[str, Value]]:
        """The parameters of all trials with values."""
        return [trial.params for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]

    def _learn(self, record: TrialRecord) -> None:
        if record.state == "evaluated":
            self._curves.add(record.reports, record.metrics)

    def _final_values(self, epochs: int, metrics: Mapping[str, float]) -> list[float]:
        """The objectives that a stopped trial would have ended with; empty if no other trial reported then."""
        ending = self._curves.ending(epochs, metrics)
        return [ending[name] for name in self._problem.objectives] if ending else []


def _changed(trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> FrozenTrial:
    changed = copy(trial)
    changed.state, changed.values = state, values
    return changed


def _suggest(trial: Trial, name: str, one: Hyperparameter) -> Value:
    """Sample a hyper-parameter; one by one, since conditions refer to the values of earlier ones."""
    if one.choices is not None:
        choice: Value = trial.suggest_categorical(name, one.choices)
        return choice
    low, high = one.range
    if one.kind == "int":
        return trial.suggest_int(name, low, high, step=int(one.step or 1), log=one.log)
    return trial.suggest_float(name, low, high, step=one.step, log=one.log)
