"""The study in memory that a sampler learns from.

It saves the copies and comparisons that Optuna makes for each parameter of each trial: a third of the cost of a
proposal with 44 axes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.metrics import Direction


class _Memory(InMemoryStorage):
    """Optuna's storage in memory for one thread, whose finished trials never change.

    A parameter with the same distribution object as before is added in place, and a finished trial of another study
    shares its content. Optuna copies trials for both.
    """

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is None or not template_trial.state.is_finished():
            return super().create_new_trial(study_id, template_trial)
        trial_id = super().create_new_trial(study_id)
        moved = copy.copy(template_trial)
        moved.number, moved._trial_id = self._get_trial(trial_id).number, trial_id
        self._set_trial(trial_id, moved)
        self._update_cache(trial_id, study_id)
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        study_id = self._trial_id_to_study_id_and_number[trial_id][0]
        if self._studies[study_id].param_distribution.get(param_name) is not distribution:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        trial = self._get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution


def in_memory(directions: Sequence[Direction | StudyDirection], sampler: BaseSampler) -> optuna.Study:
    """An empty study."""
    return optuna.create_study(storage=_Memory(), directions=directions, sampler=sampler)


def ask(study: optuna.Study, axes: Mapping[str, BaseDistribution]) -> Trial:
    """`study.ask(axes)` without its copies of the distributions, of which no two are the same object."""
    trial = study.ask()
    for name, axis in axes.items():
        trial._suggest(name, axis)
    return trial


def tell(trial: Trial, values: Sequence[float] | None = None, state: TrialState | None = None) -> FrozenTrial:
    """`study.tell` without its copy of the trial."""
    _tell_with_warning(trial.study, trial, values, state)
    return trial.storage.get_trial(trial._trial_id)
