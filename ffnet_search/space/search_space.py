"""The configurations of a search, read from YAML: architectures as choices per axis, and hyper-parameters.

`axes()` is the only list of choices; samplers, supernets and tables are all derived from it.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, model_serializer, model_validator

from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.space import limits
from ffnet_search.space.architecture import PRESETS, Architecture, Stage, Stem
from ffnet_search.space.block import BLOCK_AXES, Choice, StageChoices, no_repeats, shared_block
from ffnet_search.space.choices import InputChoices, StemChoices
from ffnet_search.space.head import Head, HeadChoices, without_empty_head
from ffnet_search.space.hyperparameters import Hyperparameter, combinations, in_order
from ffnet_search.space.input import Input
from ffnet_search.space.parts import STEM_STRIDES
from ffnet_search.space.registry import task_outputs
from ffnet_search.strict_yaml import Section, parse, read_yaml


def _axis_name(name: str) -> str:
    if name not in BLOCK_AXES:
        raise ValueError(f"must be one of {', '.join(BLOCK_AXES)}, but got {name!r}")
    return name


AxisName = Annotated[str, AfterValidator(_axis_name)]


class SearchSpace(Section):
    """Choices per axis, and hyper-parameters.

    Without `stages` nothing is chosen of the network: it is one `architecture` (a preset, a file or its content), or a
    user-supplied module with `hyperparameters` alone."""

    name: str = "space"
    input: InputChoices | None = None
    stem: StemChoices = StemChoices()
    stages: tuple[StageChoices, ...] = ()
    head: Mapping[str, HeadChoices] = {}
    per_block: Annotated[tuple[AxisName, ...], AfterValidator(no_repeats)] = ()
    architecture: Architecture | None = None
    hyperparameters: Annotated[Mapping[str, Hyperparameter], AfterValidator(in_order)] = {}
    _written = model_serializer(mode="wrap")(lambda self, handler: without_empty_head(handler(self)))

    @classmethod
    def from_yaml(cls, path: str | Path, task: str | None = None) -> SearchSpace:
        """Read a search space, whose `input` may leave out the task. Raises SweepError."""
        path = Path(path)
        return parse(cls, cls.for_task(cls.content_of(path), task), str(path))

    @classmethod
    def content_of(cls, path: Path) -> dict[str, Any]:
        """The content of a search space's file, with that of the architecture's file that it may name."""
        return cls.located({"name": path.stem, **read_yaml(path)}, path.parent)

    @staticmethod
    def for_task(content: dict[str, Any], task: str | None) -> dict[str, Any]:
        """`content` with the task in its `input`, if it has one that leaves it out."""
        shape = content.get("input")
        if task is None or not isinstance(shape, dict):
            return content
        return {**content, "input": {"task": task, **shape}}

    @staticmethod
    def located(content: dict[str, Any], folder: Path) -> dict[str, Any]:
        """`content` of a file in `folder`, with the content of the architecture's file in place of its name."""
        named = content.get("architecture")
        if not isinstance(named, str) or named in PRESETS:
            return content
        if not os.path.exists(folder / named):
            raise SweepError(
                f"{folder / named}: no such file; architecture must be a preset ({', '.join(PRESETS)}), a file that "
                f"`ffnet-search export` wrote, or its content{did_you_mean(named, PRESETS)}"
            )
        return {**content, "architecture": read_yaml(folder / named)}

    @model_validator(mode="before")
    @classmethod
    def _presets_are_architectures(cls, content: Any) -> Any:
        name = content.get("architecture") if isinstance(content, dict) else None
        if isinstance(name, dict) and "class_path" in name:
            raise ValueError("architecture must be an FFNet; a network of your own is named by `module` in the sweep")
        if not isinstance(name, str):
            return content
        shape = content.get("input")
        if not isinstance(shape, dict):
            raise ValueError(f"input must be given beside architecture {name!r}: channels, resolution, classes")
        with suppress(TypeError):  # of an input with other keys or values: its own errors are said
            preset = Architecture.preset(name, Input.from_dict({"resolution": 256, **shape}))
            return {**content, "architecture": preset.to_dict()}
        return {**content, "architecture": None}

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> SearchSpace:
        if self.stages and self.architecture:
            raise ValueError("stages and architecture cannot both be given; remove one")
        if not (self.stages or self.architecture or self.hyperparameters):
            raise ValueError("must have stages, an architecture or hyperparameters")
        if self.stages and not self.input:
            raise ValueError("input must be given: channels, resolution, classes")
        if self.architecture and self.input and self.input.value != self.architecture.input:
            raise ValueError(
                f"input must equal that of the architecture, {self.architecture.input}, but got {self.input.value}"
            )
        return self

    @model_validator(mode="after")
    def _choices_are_buildable(self) -> SearchSpace:
        for stride in set(self.stem.stride) - set(STEM_STRIDES):
            raise ValueError(f"stem.stride must be 1, 2 or 4, but got {stride}")
        limits.check_depths([max(stage.depth) for stage in self.stages])
        offered = sum(stage.combinations for stage in self.stages)
        if offered > limits.COMBINATIONS:
            raise ValueError(
                f"stages must offer at most {limits.COMBINATIONS:,} combinations of depth, width and block, each stage "
                f"by itself, but offer {offered:,}; give fewer choices"
            )
        for index, stage in enumerate(self.stages):
            stage.check(f"stages.{index}")
        if self.head and not self.stages:
            raise ValueError("head must be left out where the search space has no stages")
        if self.stages:
            self._head.check_choices(self.head)
            for stride, head in product(self.stem.stride, self.heads):
                strides = [stride * 2**index for index in range(len(self.stages))]
                task_outputs(self.images.task).check_trunk(strides)
                head.check(strides)
        if self.size > limits.ARCHITECTURES:
            raise ValueError("must have fewer than 1e300 architectures; give fewer choices, or fewer axes per_block")
        return self

    def axes(self) -> Mapping[str, tuple[Choice, ...]]:
        """Axis name -> choices, ordered: the only list of what can vary. Axes of one choice are listed too."""
        return self._axes

    @cached_property
    def _axes(self) -> dict[str, tuple[Choice, ...]]:
        if not self.stages:
            return {}
        axes: dict[str, tuple[Choice, ...]] = {"stem.width": self.stem.width, "stem.stride": self.stem.stride}
        axes |= {f"head.{name}": choices for name, choices in self.head_axes.items()}
        for number, stage in enumerate(self.stages, 1):
            axes |= {f"stage{number}.depth": stage.depth, f"stage{number}.width": stage.width}
            for axis in BLOCK_AXES:
                blocks = max(stage.depth) if axis in self.per_block else 1
                for block in range(1, blocks + 1):
                    axes[self._axis_of(number, block, axis)] = stage.choices(axis)
        return axes

    def build(self, choices: Mapping[str, Any]) -> Architecture:
        """The architecture of one choice per axis. Choices that have no effect (blocks beyond the depth, the kernel of
        attention) are ignored, so that equal networks are equal architectures. Raises KeyError for a missing axis."""
        if self.architecture is not None:
            return self.architecture
        stages = []
        for number, multiplier in enumerate(self._multipliers, 1):
            blocks = tuple(
                shared_block(*(choices[self._axis_of(number, block, axis)] for axis in BLOCK_AXES))
                for block in range(1, choices[f"stage{number}.depth"] + 1)
            )
            stages.append(Stage(choices[f"stage{number}.width"], blocks, multiplier))
        head = self._head(**{name: choices[f"head.{name}"] for name in self._head.axes()})
        return Architecture(Stem(choices["stem.width"], choices["stem.stride"]), tuple(stages), self.images, head)

    @property
    def _head(self) -> type[Head]:
        """The kind of the heads, which the task names."""
        return task_outputs(self.images.task).head_choices

    @property
    def head_axes(self) -> dict[str, tuple[Choice, ...]]:
        """Axis of the head -> choices."""
        return {name: self.head.get(name, (axis.default,)) for name, axis in self._head.axes().items()}

    @property
    def heads(self) -> Iterator[Head]:
        """Every head."""
        for values in product(*self.head_axes.values()):
            yield self._head(*values)

    def _axis_of(self, number: int, block: int, axis: str) -> str:
        return f"stage{number}.block{block}.{axis}" if axis in self.per_block else f"stage{number}.{axis}"

    def choices_of(self, arch: Architecture) -> dict[str, Choice]:
        """One choice per axis that builds `arch`; axes without effect take their first choice. Raises ValueError if
        `arch` is not in the space."""
        if not self.stages:
            if arch != self.architecture:
                raise ValueError(f"the architecture must be the only one of the space, but is {arch}")
            return {}
        axes = self.axes()
        choices = {name: values[0] for name, values in axes.items()} | self.effective_choices(arch)
        for name, value in choices.items():
            if name not in axes or value not in axes[name]:
                allowed = f"one of {list(axes[name])}" if name in axes else "absent"
                raise ValueError(f"{name} must be {allowed}, but the architecture has {value!r}")
        if self.build(choices) != arch:
            raise ValueError(f"the architecture differs from the space in its input, merging or blocks: {arch}")
        return choices

    def effective_choices(self, arch: Architecture) -> dict[str, Choice]:
        """The choices of an architecture of this space on the axes that have an effect on it."""
        if not self.stages:
            return {}
        choices: dict[str, Choice] = {"stem.width": arch.stem.width, "stem.stride": arch.stem.stride}
        choices |= {f"head.{name}": value for name, value in vars(arch.head).items()}
        for number, stage in enumerate(arch.stages, 1):
            choices |= {f"stage{number}.depth": stage.depth, f"stage{number}.width": stage.width}
            for index, block in enumerate(stage.blocks, 1):
                for name, axis in BLOCK_AXES.items():
                    if axis.applies(block.mixer):
                        choices[self._axis_of(number, index, name)] = getattr(block, name)
        return choices

    def __contains__(self, arch: object) -> bool:
        with suppress(ValueError):
            return isinstance(arch, Architecture) and self.choices_of(arch) is not None
        return False

    @property
    def size(self) -> int:
        """The exact number of distinct architectures."""
        if not self.stages:
            return 1 if self.architecture else 0
        around = math.prod(map(len, (self.stem.width, self.stem.stride, *self.head_axes.values())))
        return around * math.prod(stage.size(self.per_block) for stage in self.stages)

    @cached_property
    def combinations(self) -> float:
        """The number of configurations; infinite where a hyper-parameter is continuous."""
        return max(1, self.size) * combinations(self.hyperparameters)

    @property
    def has_network(self) -> bool:
        """False for a user-supplied network."""
        return bool(self.stages or self.architecture)

    @property
    def is_elastic(self) -> bool:
        """True if there are architectures to choose from."""
        return bool(self.stages)

    @cached_property
    def largest(self) -> Architecture:
        """The greatest choice on every axis, at the least stem stride: every other architecture is a crop of it."""
        return self._extreme(max)

    @cached_property
    def smallest(self) -> Architecture:
        """The least choice on every axis, at the greatest stem stride."""
        return self._extreme(min)

    def _extreme(self, pick: Callable[..., Any]) -> Architecture:
        chosen = {}
        for name, choices in self.axes().items():
            place, _, axis = name.rpartition(".")
            known: Mapping[str, Any] = self._head.axes() if place == "head" else BLOCK_AXES
            chosen[name] = known[axis].extreme(choices, pick) if axis in known else pick(choices)
        if self.stages:
            chosen["stem.stride"] = min(self.stem.stride) if pick is max else max(self.stem.stride)
        return self.build(chosen)

    def sample(self, rng: random.Random) -> Architecture:
        """An architecture with every axis drawn uniformly and independently."""
        return self.build({name: rng.choice(values) for name, values in self.axes().items()})

    @cached_property
    def presets(self) -> dict[str, Architecture]:
        """The published FFNets that are in this space, by name."""
        alike = (name for name, (depths, *_) in PRESETS.items() if len(depths) == len(self.stages))
        known = {name: Architecture.preset(name, self.images) for name in alike}
        return {name: arch for name, arch in known.items() if arch in self}

    @cached_property
    def images(self) -> Input:
        """The input of the networks. Raises SweepError if the space has none."""
        if self.architecture is not None:
            return self.architecture.input
        if self.input is None:
            raise SweepError("input must be given in the search space: channels, resolution, classes")
        return self.input.value

    @cached_property
    def _multipliers(self) -> tuple[int, ...]:
        """Multipliers of patch merging: out / in of the largest network, rounded up; smaller widths are crops."""
        widths = [max(stage.width) for stage in self.stages]
        return (1, *(-(-out // before) for before, out in pairwise(widths)))
