"""Tune's schedulers by name, and the one that asks the pruner of the search."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ray.tune import schedulers
from ray.tune.error import TuneError
from ray.tune.experiment import Trial

from ffnet_search.config.schema import POPULATION, SchedulerSection, SearchSection
from ffnet_search.engines.tune import population
from ffnet_search.engines.tune.trainable import decode_result
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.evaluation.outcome import Pruner
from ffnet_search.space.search_space import SearchSpace


class PrunerScheduler(schedulers.FIFOScheduler):
    """The scheduler that asks the pruner of the search."""

    def __init__(self, pruner: Pruner) -> None:
        super().__init__()
        self.pruner: Pruner | None = pruner

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        assert self.pruner is not None
        goes_on = report_to(self.pruner, trial.trial_id, result)
        return str(self.CONTINUE if goes_on else self.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pruner": None}

    def __deepcopy__(self, memo: Any) -> PrunerScheduler:
        return self


def report_to(pruner: Pruner, key: str, result: Mapping[str, Any]) -> bool:
    """What a trial told Tune, to the pruner; True where there is nothing to judge."""
    content = decode_result(result)
    return "epoch" not in content or pruner.report(key, content["epoch"], content["metrics"])


def make_scheduler(section: SearchSection, space: SearchSpace, pruner: Pruner) -> Any:
    """The pruner's where the sweep names none. One of Tune's that compares trials does so by the objective, unless its
    arguments say otherwise. Raises SweepError where Tune has no such scheduler, or it refuses the arguments."""
    wanted = section.scheduler
    if wanted == SchedulerSection():
        return PrunerScheduler(pruner)
    known = {name: getattr(schedulers, name) for name in schedulers.__all__}
    known = {name: value for name, value in known.items() if inspect.isclass(value) and name != "TrialScheduler"}
    if wanted.class_path not in known:
        raise SweepError(
            f"search.scheduler.class_path must be a scheduler of ray.tune.schedulers, but got {wanted.class_path!r}"
            f"{did_you_mean(wanted.class_path, known)}"
        )
    make = known[wanted.class_path]
    args = population.arguments(section, space) if wanted.class_path == POPULATION else compared(section, make)
    try:
        return make(**args)
    except (TypeError, ValueError, AssertionError, ImportError, TuneError) as error:
        raise SweepError(
            f"search.scheduler.init_args of {wanted.class_path}, which are {dict(wanted.init_args)}, are refused by Tune: "  # noqa: E501
            f"{' '.join(str(error).split())}"
        ) from None


def compared(section: SearchSection, make: Any) -> dict[str, Any]:
    """The arguments of the sweep, with metric and mode where it gives no metric."""
    args = dict(section.scheduler.init_args)
    if "metric" in args or "metric" not in inspect.signature(make).parameters:
        return args
    if len(section.objectives) > 1:
        raise SweepError(
            f"search.scheduler.init_args.metric must be one of {', '.join(section.objectives)}: {section.scheduler.class_path} "  # noqa: E501
            "compares trials by one; for all of them use search.early_stopping"
        )
    ((objective, direction),) = section.directions.items()
    return {"metric": objective, "mode": "max" if direction == "maximize" else "min", **args}
