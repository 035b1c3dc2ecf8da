"""Choices of what surrounds the stages: the images and the task, and the stem."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_serializer, model_validator
from pydantic_core import PydanticKnownError

from ffnet_search.space import limits
from ffnet_search.space.block import Sizes
from ffnet_search.space.input import Input
from ffnet_search.space.registry import DEFAULT_TASK, rename_outputs, task_outputs
from ffnet_search.strict_yaml import Section


class StemChoices(Section):
    """Choices for the two convolutions in front: width of the first, stride of both together."""

    width: Sizes = (32,)
    stride: Sizes = (2,)


class InputChoices(Section):
    """The images and the task: fixed, not searched. Files spell `outputs` as `classes`, or by the task's word."""

    channels: int = Field(3, gt=0, le=limits.PIXELS)
    resolution: int = Field(gt=0, le=limits.PIXELS)
    task: str = DEFAULT_TASK
    outputs: int = Field(gt=0, le=limits.OUTPUTS, alias="classes")

    @model_validator(mode="before")
    @classmethod
    def _by_the_word_of_the_task(cls, content: Any) -> Any:
        return rename_outputs(content, "classes")

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
