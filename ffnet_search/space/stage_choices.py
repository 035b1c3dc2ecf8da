"""The sections of a search space: the input, and the choices of the stem and of a stage."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from ffnet_search.space.architecture import Input
from ffnet_search.space.block import BLOCK_AXES, Choice
from ffnet_search.space.mixers import find_mixer
from ffnet_search.space.registry import DEFAULT_TASK, outputs_key, task_outputs
from ffnet_search.strict_yaml import Section, as_list


def no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values; raises ValueError where one is given twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"must not repeat a choice, but got {list(values)}")
    return values


Sizes = Annotated[
    tuple[Annotated[int, Field(gt=0)], ...], BeforeValidator(as_list), AfterValidator(no_repeats), Field(min_length=1)
]
Names = Annotated[tuple[str, ...], BeforeValidator(as_list), AfterValidator(no_repeats), Field(min_length=1)]


class InputChoices(Section):
    """The images and the task: fixed, not searched. Files spell `outputs` as `classes`, or by the task's word."""

    channels: int = Field(3, gt=0)
    resolution: int = Field(gt=0)
    task: str = DEFAULT_TASK
    outputs: int = Field(gt=0, alias="classes")

    @model_validator(mode="before")
    @classmethod
    def _by_the_word_of_the_task(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        word = outputs_key(content)
        return {"classes" if key == word else key: value for key, value in content.items()}

    @field_validator("outputs")
    @classmethod
    def _enough_for_the_task(cls, outputs: int, info: ValidationInfo) -> int:
        least = task_outputs(info.data["task"]).least_outputs
        if outputs < least:
            raise PydanticKnownError("greater_than", {"gt": least - 1})
        return outputs

    @model_serializer
    def content(self) -> dict[str, Any]:
        """The content of a file."""
        return self.value.to_dict()

    @property
    def value(self) -> Input:
        """The input of the space's architectures."""
        return Input(self.channels, self.resolution, self.outputs, self.task)


class StemChoices(Section):
    """Choices for the two convolutions in front: width of the first, stride of both together."""

    width: Sizes = (32,)
    stride: Sizes = (2,)


class _StageSizes(Section):
    """Choices for one stage. `depth` counts blocks; each axis of blocks is chosen per stage or per block."""

    depth: Sizes
    width: Sizes

    def choices(self, axis: str) -> tuple[Choice, ...]:
        """The choices of an axis of blocks."""
        choices: tuple[Choice, ...] = getattr(self, axis)
        return choices

    def check(self, place: str) -> None:
        """Raise ValueError, with `place` in it, where a choice cannot be built."""
        for name, axis in BLOCK_AXES.items():
            for choice in self.choices(name):
                axis.check(choice, f"{place}.{name}")
        for mixer in self.choices("mixer"):
            step = find_mixer(str(mixer)).width_step
            for width in self.width:
                if width % step:
                    raise ValueError(f"{place}.width must be multiples of {step} for mixer {mixer!r}, but got {width}")

    def size(self, per_block: Collection[str]) -> int:
        """The number of distinct stages, where the axes `per_block` are chosen for each block by itself."""
        return len(self.width) * sum(self._count(depth, per_block) for depth in self.depth)

    def _count(self, depth: int, per_block: Collection[str]) -> int:
        """Stages of one depth and width. A mixer without a kernel has one network for all token kernels."""
        always = 1  # choices that always have an effect
        of_stage, of_block = 1, 1  # choices that have one beside a mixer with a kernel
        for name, axis in BLOCK_AXES.items():
            count = len(self.choices(name))
            if name == "mixer":
                continue
            if not axis.needs_kernel:
                always *= count ** (depth if name in per_block else 1)
            elif name in per_block:
                of_block *= count
            else:
                of_stage *= count
        mixers = [find_mixer(str(mixer)) for mixer in self.choices("mixer")]
        kernels = sum(mixer.has_kernel for mixer in mixers)
        others = len(mixers) - kernels
        if "mixer" not in per_block:
            return always * (kernels * of_stage * of_block**depth + others)
        some_kernel = (kernels * of_block + others) ** depth - others**depth  # else the stage's choice has no effect
        return always * (some_kernel * of_stage + others**depth)


_AXES: dict[str, Any] = {  # field -> type and default, one for each axis of blocks
    name: (Names if isinstance(axis.default, str) else Sizes, (axis.default,)) for name, axis in BLOCK_AXES.items()
}
StageChoices = create_model("StageChoices", __base__=_StageSizes, __module__=__name__, **_AXES)
