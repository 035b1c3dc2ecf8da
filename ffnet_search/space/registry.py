"""Tasks by registered name or import path, as far as architectures and sweeps need them: `tasks.base` has the rest."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from ffnet_search.errors import SweepError, shown
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


class TaskOutputs(ABC):
    """The members of a task that describe the outputs of its networks, without torch."""

    name: ClassVar[str]
    quality: ClassVar[Metric]  # what a search compares beside costs; the first objective by default
    outputs_word: ClassVar[str]  # of `outputs` in a search space's `input`, and of their names in a card
    least_outputs: ClassVar[int] = 1  # of a network
    head: ClassVar[str]  # import path of the head's elastic module
    mixes: ClassVar[bool] = True  # whether mix-up of images, and of losses, makes sense

    @abstractmethod
    def head_parts(self, trunk: Sequence[TrunkStage], outputs: int) -> Iterator[Part]:
        """The parts of the deployed head, in order: the end of `Architecture.parts`."""


@lru_cache
def task_outputs(name: str) -> TaskOutputs:
    """The task of a registered name or an import path. Raises SweepError where there is none."""
    kind: type[TaskOutputs] = find_class(name, "task", TaskOutputs, TASKS)
    if inspect.isabstract(kind):
        raise SweepError(f"task: {shown(name)} must define {', '.join(sorted(kind.__abstractmethods__))}")
    return kind()


def rename_outputs(content: Any, name: str) -> Any:
    """The content of an input, with `name` in place of the task's word. Raises ValueError for an unknown task."""
    if not isinstance(content, Mapping):
        return content
    try:
        word = task_outputs(str(content.get("task", DEFAULT_TASK))).outputs_word
    except SweepError as error:
        raise ValueError(str(error)) from None
    return {name if key == word else key: value for key, value in content.items()}


def qualities() -> tuple[Metric, ...]:
    """The qualities of the registered tasks: `others` of `metrics.find_metric`."""
    return tuple(task_outputs(name).quality for name in TASKS)


def known_metrics() -> dict[str, Metric]:
    """Name -> metric of all that an objective can name without a user-supplied module: qualities, then costs."""
    return {metric.name: metric for metric in (*qualities(), *COSTS.values())}
