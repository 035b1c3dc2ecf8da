"""Quality metrics that a search names beside its task's own, such as `f1_macro` and `recall@defect`, and the one that
networks are ranked by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.metrics import COSTS, Metric
from ffnet_search.space.registry import task_outputs

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep


def named_metrics(sweep: Sweep) -> tuple[str, ...]:
    """The names in objectives and constraints; none of a user-supplied module, which logs its own."""
    if sweep.module is not None:
        return ()
    names = dict.fromkeys((*sweep.search.objectives, *sweep.search.constraints))
    return tuple(name for name in names if name.partition("@")[0] not in (*COSTS, sweep.quality.name))


def ranking(sweep: Sweep) -> Metric:
    """The quality that the networks of a run are ranked by: the first objective that is one, else the task's; of a
    user-supplied module the first objective."""
    objectives = sweep.search.objectives
    if sweep.module is not None:
        return sweep.metric(objectives[0])
    qualities = (sweep.quality.name, *named_metrics(sweep))
    key = next((name for name in objectives if name in qualities), None)
    return sweep.quality if key is None else sweep.metric(key)


def check_metrics(sweep: Sweep) -> None:
    """Raise ValueError if the task has no such metric, its loss weighs no classes, or no module logs a metric."""
    task = task_outputs(sweep.task)
    known = [metric.name for metric in task.more_qualities]
    for name in named_metrics(sweep):
        if name.partition("@")[0] not in known and name not in sweep.search.metrics:
            hint = did_you_mean(name, [sweep.quality.name, *known, *COSTS])
            raise ValueError(f"search: {name} is no metric of task {sweep.task!r}{hint}")
    if sweep.train.class_weights != "none" and not task.weighs:
        raise ValueError(f"train.class_weights must be left out for task {sweep.task!r}, whose loss weighs no classes")
    if set(sweep.search.metrics) - {sweep.quality.name} and sweep.module is None:
        raise ValueError("search.metrics must be left out where no module logs them")


def check_output_names(sweep: Sweep, outputs: Collection[str]) -> None:
    """Raise SweepError if a metric or a weight of the sweep is of a class that the data, with these, do not have."""
    if sweep.module is not None:
        return
    for name in named_metrics(sweep):
        wanted = name.partition("@")[2]
        if wanted and wanted not in outputs:
            raise SweepError(f"search: {name}: {wanted!r} is no class{did_you_mean(wanted, outputs)}")
    check_weights(sweep.train.class_weights, outputs, task_outputs(sweep.task).outputs_word)


def check_weights(wanted: str | Mapping[str, float], outputs: Collection[str], word: str) -> None:
    """Raise SweepError if the weights name what is none of the outputs, which are called `word`."""
    for name in () if isinstance(wanted, str) else wanted:
        if name not in outputs:
            hint = did_you_mean(name, outputs)
            raise SweepError(f"train.class_weights: {name!r} is none of the {word} of the data{hint}")
