"""The input of a network: its images, and the number of the task's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ffnet_search.errors import shown
from ffnet_search.space import limits
from ffnet_search.space.registry import DEFAULT_TASK, rename_outputs, task_outputs
from ffnet_search.space.sides import Side, height_and_width


@dataclass(frozen=True)
class Input:
    """Images of `resolution` pixels a side, and the number of the task's outputs for each.

    `resolution` is a number, or (height, width) where images are not square, for tasks that have such networks."""

    channels: int = 3
    resolution: Side = 224
    outputs: int = 1000
    task: str = DEFAULT_TASK

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", _side(self.resolution))
        limits.check_whole(limits.PIXELS, channels=self.channels)
        for side in height_and_width(self.resolution):
            limits.check_whole(limits.PIXELS, resolution=side)
        limits.check_whole(limits.OUTPUTS, outputs=self.outputs)
        task = task_outputs(self.task)
        task.check_input(self)
        word, least = task.outputs_word, task.least_outputs
        if self.channels < 1 or min(height_and_width(self.resolution)) < 1 or self.outputs < least:
            raise ValueError(
                f"input must have channels >= 1, resolution >= 1 and {word} >= {least}, but got "
                f"channels={self.channels}, resolution={self.resolution}, {word}={self.outputs}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of an image, in pixels."""
        height, width = height_and_width(self.resolution)
        return width, height

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return (self.channels, *height_and_width(self.resolution))

    def to_dict(self) -> dict[str, Any]:
        """The content of files and keys: outputs under the task's word, and no task where it is the default."""
        word, side = task_outputs(self.task).outputs_word, self.resolution
        resolution = list(side) if isinstance(side, tuple) else side
        content = {"channels": self.channels, "resolution": resolution, word: self.outputs}
        return content if self.task == DEFAULT_TASK else {**content, "task": self.task}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Input:
        """The inverse of `to_dict`. Raises ValueError or TypeError if `data` is something else."""
        return cls(**rename_outputs(data, "outputs"))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read and write the content of files where the input is a field of a pydantic model."""
        return core_schema.no_info_before_validator_function(
            partial(rename_outputs, name="outputs"),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict),
        )


def _side(resolution: Any) -> Any:
    """One spelling of each: a number where both sides are equal, else a tuple. Raises ValueError for more sides."""
    if not isinstance(resolution, list | tuple):
        return resolution
    if len(resolution) != 2:
        raise ValueError(f"resolution must be a number, or [height, width], but got {shown(resolution)}")
    height, width = resolution
    return height if height == width else (height, width)
