"""Schedulers of engine "tune": the one that asks the pruner of the search, and Tune's by name or a user's by path.

Population-based training (Jaderberg et al., arXiv 1711.09846) gets its search domain from the sweep. All trials of the
search are one population: after every `perturbation_interval` epochs the worst ones continue from a checkpoint of the
best ones, with hyper-parameters that are changed a little. So a trial was trained by a schedule, which its record
holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray import tune
from ray.tune import schedulers
from ray.tune.error import TuneError
from ray.tune.experiment import Trial

from ffnet_search.config.search_schema import POPULATION, SchedulerSection, SearchSection
from ffnet_search.engines.tune.trainable import RESULT
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Pruner, Stopped
from ffnet_search.plugins import find_class
from ffnet_search.space.hyperparameters import Hyperparameter, Hyperparameters, settle
from ffnet_search.space.search_space import SearchSpace

INTERVAL = 3  # epochs
# What may change during a training. All else is in the form of its checkpoint, or decides where its schedule is.
CHANGEABLE = (
    *("learning_rate", "weight_decay", "momentum", "clip_norm", "label_smoothing", "drop_path", "mixup", "cutmix"),
    *("crop", "resized_crop", "flip", "cutout", "randaugment", "magnitude", "jitter", "hue"),
)


class OfThisProcess:
    """Base of Tune's parts that hold queues, events or the pruner, and are never copied.

    Tune copies it, and pickles it as its own checkpoint, from which nothing is restored: the study has all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class PrunerScheduler(OfThisProcess, schedulers.FIFOScheduler):
    """The scheduler that asks the pruner of the search."""

    def __init__(self, pruner: Pruner) -> None:
        super().__init__()
        self.pruner = pruner

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        continues = report_to(self.pruner, trial.trial_id, result)
        return str(self.CONTINUE if continues else self.STOP)


def report_to(pruner: Pruner, key: str, result: Mapping[str, Any]) -> bool:
    """Hand a trial's result to the pruner and return its answer; True if there is no epoch to judge."""
    outcome = result[RESULT]
    return not isinstance(outcome, Stopped) or pruner.report(key, outcome.epochs, outcome.metrics)


def make_scheduler(section: SearchSection, space: SearchSpace, pruner: Pruner) -> Any:
    """The scheduler of a sweep, which asks the pruner where the sweep names none.

    Raises SweepError if the scheduler does not exist, or Tune refuses the arguments."""
    wanted = section.scheduler
    if wanted == SchedulerSection():
        return PrunerScheduler(pruner)
    field = "search.scheduler.class_path"
    scheduler = find_class(wanted.class_path, field, schedulers.TrialScheduler, _schedulers_of_tune())
    is_population = wanted.class_path == POPULATION
    args = population_arguments(section, space) if is_population else _arguments(section, scheduler)
    try:
        return scheduler(**args)
    except (TypeError, ValueError, AssertionError, ImportError, TuneError) as error:
        raise SweepError(
            f"search.scheduler.init_args of {wanted.class_path}, which are {dict(wanted.init_args)}, are refused by "
            f"Tune: {' '.join(str(error).split())}"
        ) from None


def _schedulers_of_tune() -> dict[str, str]:
    """Name -> import path of Tune's schedulers."""
    classes = {name: getattr(schedulers, name) for name in schedulers.__all__ if name != "TrialScheduler"}
    return {name: f"{schedulers.__name__}:{name}" for name, value in classes.items() if inspect.isclass(value)}


def _arguments(section: SearchSection, scheduler: Any) -> dict[str, Any]:
    """The arguments of the sweep; by default a scheduler that compares trials does so by the objective."""
    args = dict(section.scheduler.init_args)
    if "metric" in args or "metric" not in inspect.signature(scheduler).parameters:
        return args
    if len(section.objectives) > 1:
        raise SweepError(
            f"search.scheduler.init_args.metric must be one of {', '.join(section.objectives)}: "
            f"{section.scheduler.class_path} compares trials by one; for all of them use search.early_stopping"
        )
    return {**_by_the_objective(section), **args}


def _by_the_objective(section: SearchSection) -> dict[str, str]:
    ((objective, direction),) = section.directions.items()
    return {"metric": objective, "mode": "max" if direction == "maximize" else "min"}


def population_arguments(section: SearchSection, space: SearchSpace) -> dict[str, Any]:
    """The arguments of population-based training, from the sweep, the objective and the space.

    Raises SweepError if the trials of the sweep cannot be a population."""
    _must_be_a_population(section, space)
    return {
        "time_attr": "epoch",  # a resumed trial does not begin at its first epoch again
        **_by_the_objective(section),
        "perturbation_interval": INTERVAL,
        "hyperparam_mutations": {name: _domain(one) for name, one in space.hyperparameters.items()},
        "custom_explore_fn": Explore(space.hyperparameters),
        **section.scheduler.init_args,
    }


def _must_be_a_population(section: SearchSection, space: SearchSpace) -> None:
    where = f"search.scheduler {POPULATION}"
    if section.evaluator != "train":
        raise SweepError(f"{where} must go with search.evaluator 'train', since it changes how a network is trained")
    if len(section.objectives) > 1:
        raise SweepError(
            f"{where} must have one objective, by which it tells good from bad, but there are "
            f"{len(section.objectives)} ({', '.join(section.objectives)}); keep one of them"
        )
    if not space.has_network or any(len(choices) > 1 for choices in space.axes().values()):
        raise SweepError(
            f"{where} must have one FFNet, since a trial continues with the weights of another: give search_space an "
            "architecture in place of stages"
        )
    fixed = [name for name in space.hyperparameters if name.rpartition(".")[2] not in CHANGEABLE]
    if fixed or not space.hyperparameters:
        raise SweepError(
            f"{where} must have hyperparameters that can change in the middle of a training ({', '.join(CHANGEABLE)}), "
            f"but has {', '.join(fixed) or 'none'}"
        )
    if "hyperparam_mutations" in section.scheduler.init_args:
        raise SweepError(
            f"{where}: init_args.hyperparam_mutations must be left out: the search space's hyperparameters say what "
            "changes, and how far"
        )


def _domain(one: Hyperparameter) -> Any:
    """The domain from which Tune draws a hyper-parameter again."""
    if one.choices is not None:
        return list(one.choices)
    low, high = one.range
    if one.kind == "int":
        return tune.randint(low, high + 1)
    return (tune.loguniform if one.log else tune.uniform)(low, high)


@dataclass(frozen=True)
class Explore:
    """Returns a configuration that Tune changed to the space: Tune's factors know no bounds."""

    space: Hyperparameters

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        values = settle(self.space, lambda name, one: one.nearest(config[name]))
        return {**config, **values, "proposal": replace(config["proposal"], hyperparameters=values)}
