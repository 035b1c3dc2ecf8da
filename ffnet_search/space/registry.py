"""Tasks by registered name or import path, as far as architectures and sweeps need them: `tasks.base` has the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import SerializerFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from ffnet_search.errors import SweepError
from ffnet_search.metrics import COSTS, Metric
from ffnet_search.plugins import Registry, find_class
from ffnet_search.space.head import Head
from ffnet_search.space.parts import LateralPart, Part
from ffnet_search.space.sides import Side, spelled

if TYPE_CHECKING:
    from ffnet_search.space.input import Input

TASKS: Registry = {
    "classification": "ffnet_search.tasks.classification:Classification",
    "segmentation": "ffnet_search.tasks.segmentation:Segmentation",
    "multilabel": "ffnet_search.tasks.multilabel:MultiLabel",
    "regression": "ffnet_search.tasks.regression:Regression",
    "super_resolution": "ffnet_search.tasks.super_resolution:SuperResolution",
}
DEFAULT_TASK = "classification"


class TrunkStage(NamedTuple):
    """A stage of the trunk as a head sees it: the width and the side, in pixels, of the map that it gives."""

    width: int
    side: Side


class TaskOutputs(ABC):
    """The members of a task that describe the outputs of its networks, without torch."""

    name: ClassVar[str]
    quality: ClassVar[Metric]  # what a search compares beside costs; the first objective by default
    more_qualities: ClassVar[tuple[Metric, ...]] = ()  # that an objective or a limit may name; `quality` is the default
    weighs: ClassVar[bool] = False  # whether the loss can weigh classes
    outputs_word: ClassVar[str]  # of `outputs` in a search space's `input`, and of their names in a card
    least_outputs: ClassVar[int] = 1  # of a network
    head: ClassVar[str]  # import path of the head's elastic module
    head_choices: ClassVar[type[Head]] = Head  # the axes of the head
    mixes: ClassVar[bool] = True  # whether mix-up of images, and of losses, makes sense
    rectangles: ClassVar[bool] = False  # whether networks may read images that are not square
    cuts: ClassVar[bool] = True  # whether CutMix does: what an image shows is the mean of what its parts show
    recipe: ClassVar[Mapping[str, Any]] = {}  # defaults of a sweep's `train` that are the task's own
    forms: ClassVar[tuple[str, ...]] = ("none", "all", "reference", "bare")  # of training that its head deploys from

    def check_input(self, input: Input) -> None:
        """Raise ValueError if the task has no networks for an input: by default, if images are not square and the
        task says nothing of rectangles."""
        if isinstance(input.resolution, tuple) and not self.rectangles:
            raise ValueError(
                f"resolution must be one number for task {self.name!r}, whose images are square, but is "
                f"{spelled(input.resolution)}"
            )

    def check_trunk(self, strides: Sequence[int]) -> None:  # noqa: B027  (most tasks take every trunk)
        """Raise ValueError if the task has no head for a trunk whose stages have these strides."""

    def outputs_words(self, outputs: int) -> str:
        """The outputs of a network in a sentence: `10 classes`, `1 target`."""
        word = self.outputs_word
        one = word.removesuffix("es" if word.endswith("sses") else "s")
        return f"{outputs} {word if outputs != 1 else one}"

    def lateral(self, stage: TrunkStage, input: Input, head: Head) -> LateralPart | None:
        """The part by which the head reads the map of a stage; None if it does not.

        The head begins with the sum of its laterals or, where it has none, with the map of the last stage."""
        return None

    @abstractmethod
    def head_parts(self, last: TrunkStage, input: Input, head: Head) -> Iterator[Part]:
        """The parts of the deployed head after the last stage, in order: the end of `Architecture.parts`."""


@lru_cache
def task_outputs(name: str) -> TaskOutputs:
    """The task of a registered name or an import path. Raises SweepError if there is none."""
    kind: type[TaskOutputs] = find_class(name, "task", TaskOutputs, TASKS, wanted="Task")
    return kind()


@lru_cache(maxsize=1 << 12)
def laterals(input: Input, trunk: tuple[TrunkStage, ...], head: Head) -> dict[int, LateralPart]:
    """Stage, from 0 on -> the part by which the task's head reads its map."""
    task = task_outputs(input.task)
    parts = {index: task.lateral(stage, input, head) for index, stage in enumerate(trunk)}
    return {index: part for index, part in parts.items() if part is not None}


@lru_cache(maxsize=1 << 12)
def head_parts(input: Input, last: TrunkStage, head: Head) -> tuple[Part, ...]:
    """The parts of the task's head after the last stage."""
    return tuple(task_outputs(input.task).head_parts(last, input, head))


def schema_with_head(schema: CoreSchema) -> CoreSchema:
    """Pydantic's schema of an architecture whose head has the choices of its task, and is left out without any."""

    def read(content: Any) -> Any:
        if not isinstance(content, Mapping) or not isinstance(content.get("head"), Mapping):
            return content
        shape = content.get("input")
        task = shape.get("task", DEFAULT_TASK) if isinstance(shape, Mapping) else getattr(shape, "task", DEFAULT_TASK)
        try:
            return {**content, "head": task_outputs(str(task or DEFAULT_TASK)).head_choices(**content["head"])}
        except (SweepError, TypeError) as error:
            raise ValueError(f"head: {error}") from None

    def write(value: Any, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: part for name, part in handler(value).items() if name != "head" or part}

    written = core_schema.wrap_serializer_function_ser_schema(write)
    return core_schema.no_info_before_validator_function(read, schema, serialization=written)


def rename_outputs(content: Any, name: str) -> Any:
    """The content of an input, with `name` in place of the task's word. Raises ValueError for an unknown task."""
    if not isinstance(content, Mapping):
        return content
    try:
        word = task_outputs(str(content.get("task") or DEFAULT_TASK)).outputs_word
    except SweepError as error:
        raise ValueError(str(error)) from None
    return {name if key == word else key: value for key, value in content.items()}


def with_recipe(content: dict[str, Any], task: str) -> dict[str, Any]:
    """The content of a sweep, with what the task sets in `train` where the sweep does not."""
    train = content.get("train", {})
    if not isinstance(train, dict) or content.get("module") is not None:
        return content
    return {**content, "train": {**task_outputs(task).recipe, **train}}


def qualities() -> tuple[Metric, ...]:
    """The qualities of the registered tasks: `others` of `metrics.find_metric`."""
    tasks = [task_outputs(name) for name in TASKS]
    return tuple(metric for task in tasks for metric in (task.quality, *task.more_qualities))


def known_metrics() -> dict[str, Metric]:
    """Name -> metric of all that an objective can name without a user-supplied module: qualities, then costs."""
    return {metric.name: metric for metric in (*qualities(), *COSTS.values())}
