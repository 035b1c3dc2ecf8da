"""Configurations as parameters of Optuna's trials, and back.

A parameter is an axis of the search space on which there is a choice, or a hyper-parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial

from ffnet_search.space.configuration import Configuration, Value
from ffnet_search.space.hyperparameters import Hyperparameter, settle
from ffnet_search.space.search_space import SearchSpace


def distributions(space: SearchSpace) -> dict[str, CategoricalDistribution]:
    """The axes of the architectures that hold more than one choice."""
    return {name: CategoricalDistribution(values) for name, values in space.axes().items() if len(values) > 1}


def configuration_of(space: SearchSpace, params: Mapping[str, Any]) -> Configuration:
    """The configuration of a trial's parameters. Raises KeyError where a hyper-parameter is missing."""
    choices = {name: params.get(name, values[0]) for name, values in space.axes().items()}
    hyperparameters = settle(space.hyperparameters, lambda name, one: params[name])
    return Configuration(space.build(choices) if space.has_network else None, hyperparameters)


def params_of(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    """The inverse of `configuration_of`. Raises ValueError where its architecture is not in the space."""
    if configuration.architecture is None:
        return dict(configuration.hyperparameters)
    axes = space.axes()
    choices = space.choices_of(configuration.architecture)
    return {name: value for name, value in choices.items() if len(axes[name]) > 1} | dict(configuration.hyperparameters)


def suggest(trial: Trial, name: str, one: Hyperparameter) -> Value:
    """Sample a hyper-parameter. They are suggested one by one, since conditions refer to the values of earlier ones."""
    if one.choices is not None:
        choice: Value = trial.suggest_categorical(name, one.choices)
        return choice
    low, high = one.range
    if one.kind == "int":
        return trial.suggest_int(name, low, high, step=int(one.step or 1), log=one.log)
    return trial.suggest_float(name, low, high, step=one.step, log=one.log)
