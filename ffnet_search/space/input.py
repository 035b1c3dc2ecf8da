"""The input of a network: its images, and the number of the task's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ffnet_search.space import limits
from ffnet_search.space.registry import DEFAULT_TASK, rename_outputs, task_outputs


@dataclass(frozen=True)
class Input:
    """Square images of `resolution` pixels a side, and the number of the task's outputs for each."""

    channels: int = 3
    resolution: int = 224
    outputs: int = 1000
    task: str = DEFAULT_TASK

    def __post_init__(self) -> None:
        limits.check_whole(limits.PIXELS, channels=self.channels, resolution=self.resolution)
        limits.check_whole(limits.OUTPUTS, outputs=self.outputs)
        task = task_outputs(self.task)
        word, least = task.outputs_word, task.least_outputs
        if self.channels < 1 or self.resolution < 1 or self.outputs < least:
            raise ValueError(
                f"input must have channels >= 1, resolution >= 1 and {word} >= {least}, but got "
                f"channels={self.channels}, resolution={self.resolution}, {word}={self.outputs}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of an image, in pixels."""
        return self.resolution, self.resolution

    def to_dict(self) -> dict[str, Any]:
        """The content of files and keys: outputs under the task's word, and no task where it is the default."""
        word = task_outputs(self.task).outputs_word
        content = {"channels": self.channels, "resolution": self.resolution, word: self.outputs}
        return content if self.task == DEFAULT_TASK else {**content, "task": self.task}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Input:
        """The inverse of `to_dict`. Raises ValueError or TypeError where `data` is something else."""
        return cls(**rename_outputs(data, "outputs"))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read and write the content of files where the input is a field of a pydantic model."""
        return core_schema.no_info_before_validator_function(
            partial(rename_outputs, name="outputs"),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict),
        )
