"""Choices outside the stages: the images and the task, and the stem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from ffnet_search.space import limits
from ffnet_search.space.block import Sizes, no_repeats
from ffnet_search.space.input import Input
from ffnet_search.space.registry import DEFAULT_TASK, rename_outputs, task_outputs
from ffnet_search.strict_yaml import Section, as_list

StemWidths = Annotated[
    tuple[Annotated[int, Field(ge=0, le=limits.SIZE)], ...],
    BeforeValidator(as_list),
    AfterValidator(no_repeats),
    Field(min_length=1, max_length=limits.CHOICES),
]


def _one_or_two(value: Any, read: Callable[[Any], int]) -> Any:
    """A side, or both: (height, width)."""
    return tuple(map(read, value)) if isinstance(value, list | tuple) else read(value)


class StemChoices(Section):
    """Choices for the two convolutions in front: width of the first, stride of both together.

    Width 0: one convolution, of stride 1."""

    width: StemWidths = (32,)
    stride: Sizes = (2,)

    @model_validator(mode="after")
    def _one_convolution_is_alone(self) -> StemChoices:
        if 0 in self.width and (self.width, self.stride) != ((0,), (1,)):
            raise ValueError(
                f"width must be 0 alone, at stride 1, or >= 1, but got {list(self.width)} at stride {list(self.stride)}"
            )
        return self


class InputChoices(Section):
    """The images and the task: fixed, not searched. Files spell `outputs` as `classes`, or by the task's word."""

    channels: int = Field(3, gt=0, le=limits.PIXELS)
    resolution: Annotated[int, Field(gt=0, le=limits.PIXELS), WrapValidator(_one_or_two)]  # or (height, width)
    task: str = DEFAULT_TASK
    outputs: int = Field(gt=0, le=limits.OUTPUTS, alias="classes")

    @model_validator(mode="before")
    @classmethod
    def _by_the_word_of_the_task(cls, content: Any) -> Any:
        return rename_outputs(content, "classes")

    @field_validator("outputs")
    @classmethod
    def _enough_for_the_task(cls, outputs: int, info: ValidationInfo) -> int:
        task = info.data.get("task")  # none where it is no text, which is said
        least = 1 if task is None else task_outputs(task).least_outputs
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
