"""The parameters of a trial, axes on which there is a choice and hyper-parameters, and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution

from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration, settle
from ffnet_search.space.search_space import SearchSpace


def distributions(space: SearchSpace) -> dict[str, CategoricalDistribution]:
    """The axes of the architectures that hold more than one choice."""
    return {name: CategoricalDistribution(values) for name, values in space.axes().items() if len(values) > 1}


def architecture_of(space: SearchSpace, params: Mapping[str, Any]) -> Architecture:
    """The architecture of a trial's parameters; an axis that is missing has its first choice."""
    return space.build({name: params.get(name, values[0]) for name, values in space.axes().items()})


def configuration_of(space: SearchSpace, params: Mapping[str, Any]) -> Configuration:
    """The configuration of a trial's parameters. Raises KeyError if a hyper-parameter is missing."""
    hyperparameters = settle(space.hyperparameters, lambda name, one: params[name])
    return Configuration(architecture_of(space, params) if space.has_network else None, hyperparameters)


def params_of(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    """The inverse of `configuration_of`. Raises ValueError if its architecture is not in the space."""
    if configuration.architecture is None:
        return dict(configuration.hyperparameters)
    axes = space.axes()
    choices = space.choices_of(configuration.architecture)
    return {name: value for name, value in choices.items() if len(axes[name]) > 1} | dict(configuration.hyperparameters)


def is_of_space(space: SearchSpace, params: Mapping[str, Any]) -> bool:
    """True if these are the parameters of a configuration of `space`."""
    try:
        params_of(space, configuration_of(space, params))
    except (LookupError, ValueError, TypeError, AttributeError):
        return False
    return True
