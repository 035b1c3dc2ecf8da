"""Tune's schedulers by name, and the one that asks the referee of the search."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ray.tune import schedulers
from ray.tune.error import TuneError
from ray.tune.experiment import Trial

from ffnet_search.attempt import Referee
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.search import population
from ffnet_search.search.trainee import heard
from ffnet_search.search_space import SearchSpace
from ffnet_search.sections import POPULATION, SchedulerSection, SearchSection


class Refereed(schedulers.FIFOScheduler):
    """The scheduler that asks the referee of the search."""

    def __init__(self, referee: Referee) -> None:
        super().__init__()
        self.referee: Referee | None = referee

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        assert self.referee is not None
        goes_on = report_to(self.referee, trial.trial_id, result)
        return str(self.CONTINUE if goes_on else self.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "referee": None}

    def __deepcopy__(self, memo: Any) -> Refereed:
        return self


def report_to(referee: Referee, key: str, result: Mapping[str, Any]) -> bool:
    """What a trial told Tune, to the referee; True where there is nothing to judge."""
    content = heard(result)
    return "epoch" not in content or referee.report(key, content["epoch"], content["metrics"])


def make_scheduler(section: SearchSection, space: SearchSpace, referee: Referee) -> Any:
    """The referee's where the sweep names none. One of Tune's that compares trials does so by the objective, unless its
    arguments say otherwise. Raises SweepError where Tune has no such scheduler, or it refuses the arguments."""
    wanted = section.scheduler
    if wanted == SchedulerSection():
        return Refereed(referee)
    known = {name: getattr(schedulers, name) for name in schedulers.__all__}
    known = {name: value for name, value in known.items() if inspect.isclass(value) and name != "TrialScheduler"}
    if wanted.name not in known:
        raise SweepError(
            f"search.scheduler.name must be a scheduler of ray.tune.schedulers, but got {wanted.name!r}"
            f"{did_you_mean(wanted.name, known)}"
        )
    make = known[wanted.name]
    args = population.arguments(section, space) if wanted.name == POPULATION else compared(section, make)
    try:
        return make(**args)
    except (TypeError, ValueError, AssertionError, ImportError, TuneError) as error:
        raise SweepError(
            f"search.scheduler.args of {wanted.name}, which are {dict(wanted.args)}, are refused by Tune: "
            f"{' '.join(str(error).split())}"
        ) from None


def compared(section: SearchSection, make: Any) -> dict[str, Any]:
    """The arguments of the sweep, with metric and mode where it gives no metric."""
    args = dict(section.scheduler.args)
    if "metric" in args or "metric" not in inspect.signature(make).parameters:
        return args
    if len(section.objectives) > 1:
        raise SweepError(
            f"search.scheduler.args.metric must be one of {', '.join(section.objectives)}: {section.scheduler.name} "
            "compares trials by one; for all of them use search.early_stopping"
        )
    ((objective, direction),) = section.directions.items()
    return {"metric": objective, "mode": "max" if direction == "maximize" else "min", **args}
