"""Optuna's sampler, and the study in memory that it learns from.

What it is told is not always what the study on disk says. A trial that was stopped early is pruned there: complete
with an early value it would stand on the front, and compare epoch 1 with epoch 30. But of Optuna 5's samplers TPE alone
reads pruned trials, and of several objectives keeps no values of them. So here it is complete, with what it would have
ended with, as those tell that trained to their end. Until there is one, it is pruned here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.config.schema import SearchSection
from ffnet_search.evaluation.outcome import Stopped
from ffnet_search.search.early_stopping.extrapolation import LearningCurves
from ffnet_search.search.samplers.memory import ask, in_memory, tell
from ffnet_search.search.samplers.optuna import adopt, expect, make_sampler, remembered, shortened
from ffnet_search.search.storage.study import distributions, metrics_of, params_of, reports_of, state_of, suggest
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.hyperparameters import settle
from ffnet_search.space.search_space import SearchSpace


class Proposer:
    """`ask` gives a trial with all its parameters, `tell` takes what became of it.

    `finished`: the trials of earlier runs, as they are on disk. Raises SweepError where the section's sampler is not
    Optuna's, or does not take its arguments or the number of objectives.
    """

    def __init__(self, space: SearchSpace, section: SearchSection, seed: int, finished: Sequence[FrozenTrial]) -> None:
        self._space, self._objectives = space, section.objectives
        self._axes = distributions(space)
        self._curves = LearningCurves()
        conditional = any(one.when for one in space.hyperparameters.values())
        count = len(self._objectives)
        sampler = make_sampler(section.sampler, seed, len(finished), count, conditional=conditional)
        self._study = in_memory(list(section.directions.values()), sampler)
        for trial in finished:
            self._learn(trial)
        self._study.add_trials(remembered(self._study, [self._lesson(trial) for trial in finished]))

    def expect(self, wanted: int, new_key: Callable[[Mapping[str, Any]], str | None]) -> None:
        """How many trials will be asked for before anything is told, and whether one with these parameters is new: see
        `tpe.QuickTPESampler`."""
        expect(
            self._study.sampler, wanted, lambda params: new_key(params) if self._axes.keys() <= params.keys() else ""
        )

    def ask(self, configuration: Configuration | None = None) -> Trial:
        """Of the sampler's own choice, or of this configuration."""
        self._study = shortened(self._study)
        if configuration is not None:
            self._study.enqueue_trial(params_of(self._space, configuration))
        trial = ask(self._study, self._axes)
        settle(self._space.hyperparameters, partial(suggest, trial))
        if configuration is not None:
            adopt(self._study, trial)
        return trial

    def tell(self, trial: Trial, became: Sequence[float] | Stopped | TrialState) -> FrozenTrial:
        """`became`: its objectives, or where it has none: how it was stopped, PRUNED (infeasible), or FAIL. Returns the
        trial as it is to be on disk."""
        values = self._ending(became.epochs, became.metrics) if isinstance(became, Stopped) else became
        if isinstance(values, TrialState):
            told = tell(trial, state=values)
        else:
            told = tell(trial, values) if values else tell(trial, state=TrialState.PRUNED)
        if trial.study is not self._study:  # it was shortened meanwhile
            self._study.add_trial(told)
        if isinstance(became, Stopped) and values:
            told = copy(told)
            told.state, told.values = TrialState.PRUNED, None
        self._learn(told)
        return told

    @property
    def known(self) -> list[Mapping[str, Any]]:
        """Parameters of all that have values."""
        return [one.params for one in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]

    def _learn(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.COMPLETE:
            self._curves.add(reports_of(trial), metrics_of(trial))

    def _lesson(self, trial: FrozenTrial) -> FrozenTrial:
        """A trial of the study on disk as the sampler is told of it."""
        if state_of(trial) != "stopped":
            return trial
        values = self._ending(trial.user_attrs["stopped"], metrics_of(trial))
        if not values:
            return trial
        lesson = copy(trial)
        lesson.state, lesson.values = TrialState.COMPLETE, values
        return lesson

    def _ending(self, epochs: int, metrics: Mapping[str, float]) -> list[float]:
        """Empty where nothing tells of it."""
        ending = self._curves.ending(epochs, metrics)
        return [ending[name] for name in self._objectives] if ending else []
