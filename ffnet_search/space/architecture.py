"""One network of the FFNet family (arXiv 2406.02021, section 3), as a value: frozen, hashable, without torch.

An `Architecture` describes the deployed network (BN folded, branches merged). Its parametrisation during training is a
`Form`, which belongs to the weights and not to the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib import import_module
from itertools import groupby
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from ffnet_search.formatting import plural
from ffnet_search.space import limits
from ffnet_search.space.block import Block, block_parts
from ffnet_search.space.head import NO_CHOICES, Head
from ffnet_search.space.input import Input
from ffnet_search.space.mixers import find_mixer
from ffnet_search.space.parts import STEM_STRIDES, LateralPart, MergingPart, Part, StemPart
from ffnet_search.space.registry import (
    TrunkStage,
    head_parts,
    laterals,
    schema_with_head,
    task_outputs,
)
from ffnet_search.space.sides import Side, shrunk


@dataclass(frozen=True)
class Form:
    """The parametrisation of a network during training; every form fuses to the same deployed network.

    `branches`: "all" = every depthwise convolution is k x k + BN beside 3 x 3 + BN (also at k = 3, so that a slot with
    elastic kernels has one form); "none" = k x k + BN alone (2 times faster to train on CPU); "reference" = as in the
    official code: two branches for k >= 5, and at k = 3 a bias without BN in the token mixer, BN in the channel mixer;
    "bare" = convolutions with biases and no BN at all, as in the official networks for super-resolution.
    `layer_scale`: initial value of the residual scales, or None for no scale."""

    branches: Literal["all", "none", "reference", "bare"] = "all"
    layer_scale: float | None = 1e-6


@dataclass(frozen=True)
class Stage:
    """Blocks of one width. `multiplier`: depthwise outputs per input channel in the patch merging before the stage."""

    width: int
    blocks: tuple[Block, ...]
    multiplier: int = 2

    def __post_init__(self) -> None:
        limits.check_whole(width=self.width, multiplier=self.multiplier)
        if self.width < 1 or self.multiplier < 1 or not self.blocks:
            raise ValueError(
                "a stage must have width >= 1, multiplier >= 1 and at least one block, "
                f"but got width={self.width}, multiplier={self.multiplier}, {plural(len(self.blocks), 'block')}"
            )
        for block in self.blocks:
            step = find_mixer(block.mixer).width_step
            if self.width % step:
                raise ValueError(f"width must be a multiple of {step} for mixer {block.mixer!r}, but got {self.width}")

    @property
    def depth(self) -> int:
        return len(self.blocks)

    def runs(self) -> Iterator[tuple[Block, int]]:
        """Each run of equal neighbours as its block and its length."""
        return ((block, len(list(same))) for block, same in groupby(self.blocks))


@dataclass(frozen=True)
class Stem:
    """Two 3 x 3 convolutions, `channels -> width -> width of stage 1`, which together have stride 1, 2 or 4.

    At width 0 it is one convolution of stride 1, `channels -> width of stage 1` (reference: FFNet-SR)."""

    width: int = 64
    stride: int = 4

    def __post_init__(self) -> None:
        limits.check_whole(width=self.width, stride=self.stride)
        if self.width < 0 or self.stride not in STEM_STRIDES or (not self.width and self.stride > 1):
            raise ValueError(
                f"the stem must have width >= 1 and stride 1, 2 or 4, or width 0 and stride 1, but got "
                f"width={self.width}, stride={self.stride}"
            )

    @property
    def strides(self) -> tuple[int, int]:
        return STEM_STRIDES[self.stride]

    def side_after(self, side: Side) -> Side:
        """Side of the map that the stem gives for an image of `side` pixels a side."""
        for stride in self.strides:
            side = shrunk(side, stride)
        return side


@dataclass(frozen=True)
class Architecture:
    """One network. `head`: by default that of the task, with the default of each of its axes."""

    stem: Stem
    stages: tuple[Stage, ...]
    input: Input = Input()
    head: Head = NO_CHOICES

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("an architecture must have at least one stage")
        limits.check_depths([stage.depth for stage in self.stages])
        if self.stages[0].multiplier != 1:  # nothing is merged before the first stage: one spelling, one key
            first = replace(self.stages[0], multiplier=1)
            object.__setattr__(self, "stages", (first, *self.stages[1:]))
        task = task_outputs(self.input.task)
        task.check_trunk(self.strides)
        kind = task.head_choices
        if kind is not Head:
            object.__setattr__(self, "head", kind() if type(self.head) is Head else self.head)
            self.head.check(self.strides)
        if type(self.head) is not kind:
            raise ValueError(f"head must be a {kind.__name__} for task {self.input.task!r}, but got {self.head!r}")

    @property
    def strides(self) -> list[int]:
        """Pixels of the image for a pixel of each stage's map, in each direction."""
        return [self.stem.stride * 2**index for index in range(len(self.stages))]

    @cached_property
    def trunk(self) -> tuple[TrunkStage, ...]:
        """The stages as the head sees them."""
        side, trunk = self.stem.side_after(self.input.resolution), []
        for stage in self.stages:
            trunk.append(TrunkStage(stage.width, side))
            side = shrunk(side, 2)
        return tuple(trunk)

    @cached_property
    def laterals(self) -> dict[int, LateralPart]:
        """Stage, from 0 on -> the part by which the head reads its map."""
        return laterals(self.input, self.trunk, self.head)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The network from input to output, in order; a part occurs as often as it is computed."""
        side, width = self.input.resolution, self.stages[0].width
        parts: list[Part] = [stem_part(side, self.input.channels, width, self.stem.width, self.stem.stride)]
        for index, stage in enumerate(self.stages):
            if index:
                parts.append(merging_part(side, width, stage.width, width * stage.multiplier))
            width, side = self.trunk[index]
            for block in stage.blocks:
                parts += block_parts(block, side, width)
            if index in self.laterals:
                parts.append(self.laterals[index])
        return (*parts, *head_parts(self.input, self.trunk[-1], self.head))

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits that name the architecture everywhere: cache, study, files."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def macs_m(self) -> float:
        """Millions of multiply-accumulates of the deployed form, for one image."""
        return sum(part.costs.macs for part in self.parts) / 1e6

    @property
    def params_m(self) -> float:
        """Millions of parameters of the deployed form."""
        return sum(part.costs.params for part in self.parts) / 1e6

    @property
    def weights_mb(self) -> float:
        """Millions of bytes of the deployed form's parameters in float32."""
        return 4 * self.params_m

    @property
    def peak_memory_mb(self) -> float:
        """Millions of bytes of all maps at the worst moment (`Costs.memory`), for one image in float32."""
        held, elements, left = 0, 0, len(self.laterals)
        for part in self.parts:
            elements = max(elements, part.costs.memory + held)
            if isinstance(part, LateralPart):
                left -= 1
                held = part.held if left else 0  # the head's own parts have it as their input
        return 4 * elements / 1e6

    def _repr_svg_(self) -> str:
        """The drawing that a notebook shows: the report's, by name, since that room is above this one."""
        drawing: str = import_module("ffnet_search.report.architecture_svg").draw(self)
        return drawing

    def __str__(self) -> str:
        """One line: `stem 32/2 | 64: k7+3 e3 x2 | ...`, kernels as token + channel."""
        words = [f"stem {self.stem.width}/{self.stem.stride}"]
        for stage in self.stages:
            runs = [f"{block} x{count}" for block, count in stage.runs()]
            words.append(f"{stage.width}: " + ", ".join(runs))
        if type(self.head) is not Head:
            words.append(f"head {self.head}")
        return " | ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for YAML and JSON; `from_dict` is the inverse."""
        return {
            **({} if type(self.head) is Head else {"head": dict(vars(self.head))}),
            "input": self.input.to_dict(),
            "stem": dict(vars(self.stem)),  # `asdict` copies deeply: most of what a key cost
            "stages": [
                {**vars(stage), "blocks": [dict(vars(block)) for block in stage.blocks]} for stage in self.stages
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """The inverse of `to_dict`. Raises ValueError, KeyError or TypeError if `data` is not an architecture."""
        stages = []
        for stage in data["stages"]:
            blocks = tuple(Block(**block) for block in stage["blocks"])
            stages.append(Stage(**{**stage, "blocks": blocks}))
        input = Input.from_dict(data["input"])
        head = task_outputs(input.task).head_choices(**data.get("head", {}))
        return cls(Stem(**data["stem"]), tuple(stages), input, head)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read and write the content of files where the architecture is a field of a pydantic model."""
        return schema_with_head(handler(source))

    @classmethod
    def uniform(
        cls,
        depths: Sequence[int],
        widths: Sequence[int],
        blocks: Sequence[Block],
        stem: Stem = Stem(),
        input: Input = Input(),
    ) -> Architecture:
        """One depth, width and block per stage: as the papers of the field write a network down."""
        stages, before = [], widths[0]
        for depth, width, block in zip(depths, widths, blocks, strict=True):
            stages.append(Stage(width, (block,) * depth, multiplier=-(-width // before)))
            before = width
        return cls(stem, tuple(stages), input)

    @classmethod
    def preset(cls, name: str, input: Input = Input(resolution=256)) -> Architecture:
        """FFNet-1..4 as published (paper, table 1; reference: models/ffnet.py). Raises ValueError for other names."""
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, but got {name!r}")
        depths, widths, channel_kernel = PRESETS[name]
        blocks = [Block("ffn_attention", token_kernel, channel_kernel, 3) for token_kernel in (3, 3, 7, 7)]
        return cls.uniform(depths, widths, blocks, input=input)


stem_part = lru_cache(maxsize=1 << 12)(StemPart)  # networks share their parts: making them was most of a prediction
merging_part = lru_cache(maxsize=1 << 14)(MergingPart)


PRESETS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    # name: depths, widths, channel kernel
    "ffnet_1": ((2, 2, 8, 2), (80, 160, 320, 640), 3),
    "ffnet_2": ((3, 3, 15, 3), (88, 176, 352, 704), 7),
    "ffnet_3": ((4, 4, 22, 5), (96, 192, 384, 768), 7),
    "ffnet_4": ((4, 4, 27, 3), (128, 256, 512, 1024), 7),
}
