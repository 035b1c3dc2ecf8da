"""Population-based training (Jaderberg et al., arXiv 1711.09846) of a sweep's hyper-parameters, by Ray Tune.

All trials of the search are one population. After every `perturbation_interval` epochs the worst of it go on from a
checkpoint of the best, with that one's hyper-parameters changed a little; so what a trial was trained with is a
schedule, which its record holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ray import tune

from ffnet_search.config.schema import POPULATION, SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.space.hyperparameters import Hyperparameter, Hyperparameters, settle
from ffnet_search.space.search_space import SearchSpace

INTERVAL = 3  # epochs
# What may change in the middle of a training. The rest is in the form of its checkpoint, or in where its schedule is.
CHANGEABLE = (
    *("learning_rate", "weight_decay", "momentum", "clip_norm", "label_smoothing", "drop_path", "mixup"),
    *("crop", "resized_crop", "flip", "cutout"),
)


def arguments(section: SearchSection, space: SearchSpace) -> dict[str, Any]:
    """Of the scheduler, from the objective and the space; those of the sweep go before. Raises SweepError where the
    trials of the sweep cannot be a population."""
    _must_be_a_population(section, space)
    ((objective, direction),) = section.directions.items()
    return {
        "time_attr": "epoch",  # what resumes does not begin at its first again
        "metric": objective,
        "mode": "max" if direction == "maximize" else "min",
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
            f"{where} must have one FFNet, since a trial goes on with the weights of another: give search_space an "
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
            f"{where}: args.hyperparam_mutations must be left out: what changes, and how far, is in the search "
            "space's hyperparameters"
        )


def _domain(one: Hyperparameter) -> Any:
    """From which Tune draws anew."""
    if one.choices is not None:
        return list(one.choices)
    low, high = one.range
    if one.kind == "int":
        return tune.randint(low, high + 1)
    return (tune.loguniform if one.log else tune.uniform)(low, high)


@dataclass(frozen=True)
class Explore:
    """Makes of a configuration that Tune changed one of the space again; its factors know no bounds."""

    space: Hyperparameters

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        values = settle(self.space, lambda name, one: one.nearest(config[name]))
        return {**config, **values, "proposal": replace(config["proposal"], hyperparameters=values)}
