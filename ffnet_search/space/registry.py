"""Tasks by registered name or import path, as far as architectures and sweeps need them: `tasks.base` has the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from ffnet_search.errors import SweepError
from ffnet_search.metrics import COSTS, Metric
from ffnet_search.plugins import Registry, find_class
from ffnet_search.space.parts import Part

TASKS: Registry = {
    "classification": "ffnet_search.tasks.classification:Classification",
}
DEFAULT_TASK = "classification"


class TrunkStage(NamedTuple):
    """A stage of the trunk as a head sees it: the width and the side, in pixels, of the map that it gives."""

    width: int
    side: int


class TaskOutputs(Protocol):
    """The members of a task that describe the outputs of its networks, without torch."""

    name: str
    quality: Metric  # what a search compares beside costs; the first objective by default
    outputs_word: str  # of `outputs` in a search space's `input`
    least_outputs: int
    head: str  # import path of the head's elastic module
    mixes: bool  # whether mix-up makes sense

    def head_parts(self, trunk: Sequence[TrunkStage], outputs: int) -> Iterator[Part]: ...


@lru_cache
def task_outputs(name: str) -> TaskOutputs:
    """The task of a registered name or an import path. Raises SweepError where there is none."""
    task: TaskOutputs = find_class(name, "task", registry=TASKS)()
    return task


def outputs_key(content: Mapping[str, Any]) -> str:
    """The key of `outputs` in the content of an input. Raises ValueError where its task is unknown."""
    try:
        return task_outputs(str(content.get("task", DEFAULT_TASK))).outputs_word
    except SweepError as error:
        raise ValueError(str(error)) from None


def qualities() -> tuple[Metric, ...]:
    """The qualities of the registered tasks: `others` of `metrics.find_metric`."""
    return tuple(task_outputs(name).quality for name in TASKS)


def known_metrics() -> dict[str, Metric]:
    """Name -> metric of all that an objective can name without a user-supplied module: qualities, then costs."""
    return {metric.name: metric for metric in (*qualities(), *COSTS.values())}
