"""The study that a sampler works on: Optuna's in memory, without what it copies and compares for each parameter of each
trial (a third of the cost of a proposal with 44 axes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import Trial

from ffnet_search.pareto import Direction


class _Memory(InMemoryStorage):
    """A parameter whose distribution is the very one that the study had before is added in place. Optuna copies the
    trial for each, for the sake of readers in other threads, of which there are none here."""

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
    """`study.ask(axes)`, which takes copies of the distributions, so that no later one is the same object."""
    trial = study.ask()
    for name, axis in axes.items():
        trial._suggest(name, axis)
    return trial
