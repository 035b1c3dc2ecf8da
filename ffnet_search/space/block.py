"""A block of the FFNet family, its axes and their choices, each declared once: the field of `Block` is the declaration.

Everything that lists axes iterates over `BLOCK_AXES`: the choices of a search space, its size, the plan of a latency
table, the check of what fits inside a supernet, the one-line form of an architecture and its drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from ffnet_search.space import limits
from ffnet_search.space.mixers import find_mixer
from ffnet_search.space.parts import ChannelMixerPart, Part, TokenMixerPart
from ffnet_search.space.sides import Side
from ffnet_search.strict_yaml import Section, as_list

Choice = int | str


@dataclass(frozen=True)
class BlockAxis:
    """An axis of a block whose choices are sizes: a larger one holds the smaller ones as crops.

    `short` formats a choice in the one-line form of an architecture, after the mixer and its kernel; `drawn` in a
    drawing."""

    default: Any
    part: type[Part]  # the kind of part that it changes
    is_kernel: bool = False  # an odd side of 3 pixels at least; else a number of 1 at least
    needs_kernel: bool = False  # without effect, and 0, for a mixer that has no kernel
    short: str = ""
    drawn: str = "{0} x {0}"
    most: int = limits.KERNEL

    def check(self, value: Any, name: str) -> None:
        """Raise ValueError if a block cannot have this choice. `name` opens the sentence."""
        limits.check_whole(self.most, **{name: value})
        if self.is_kernel and (value < 3 or value % 2 == 0):
            raise ValueError(f"{name} must be odd and >= 3, but got {value}")
        if value < 1:
            raise ValueError(f"{name} must be >= 1, but got {value}")

    def applies(self, mixer: str) -> bool:
        """True if the axis has an effect beside this mixer."""
        return not self.needs_kernel or find_mixer(mixer).has_kernel

    def extreme(self, choices: Sequence[Any], pick: Callable[..., Any]) -> Any:
        """The choice of the largest or smallest network; `pick` is max or min."""
        return pick(choices)

    def fits(self, value: Any, bound: Any, offered: Sequence[str]) -> bool:
        """True if weights for `bound` hold those for `value`. `offered`: the mixers of the slot."""
        return bool(value <= bound)


@dataclass(frozen=True)
class MixerAxis(BlockAxis):
    """The axis of token mixers. None holds another: a slot has weights for each that it offers."""

    def check(self, value: Any, name: str) -> None:
        find_mixer(value, name)

    def extreme(self, choices: Sequence[Any], pick: Callable[..., Any]) -> Any:
        """The first that has a kernel, since the largest network must hold the kernels of all."""
        return next((mixer for mixer in choices if find_mixer(mixer).has_kernel), choices[0])

    def fits(self, value: Any, bound: Any, offered: Sequence[str]) -> bool:
        return value in offered


def chosen_by(axis: Any) -> Any:
    """The field of a `Block` or a `Head` that an axis chooses, with the axis in its metadata."""
    return field(default=axis.default, metadata={"axis": axis})


@dataclass(frozen=True)
class Block:
    """A token mixer and a channel mixer, each residual. Kernels are odd sides in pixels."""

    mixer: str = chosen_by(MixerAxis("ffn_attention", TokenMixerPart))
    token_kernel: int = chosen_by(BlockAxis(7, TokenMixerPart, is_kernel=True, needs_kernel=True))
    channel_kernel: int = chosen_by(BlockAxis(3, ChannelMixerPart, is_kernel=True, short="+{0}"))
    expansion: int = chosen_by(BlockAxis(3, ChannelMixerPart, short=" e{0}", drawn="e{0}", most=limits.EXPANSION))

    def __post_init__(self) -> None:
        BLOCK_AXES["mixer"].check(self.mixer, "mixer")
        for name, axis in BLOCK_AXES.items():
            if axis.applies(self.mixer):
                axis.check(getattr(self, name), name)
            else:
                object.__setattr__(self, name, 0)

    def parts(self, side: Side, width: int) -> tuple[Part, Part]:
        """The block's parts for a map of `side` pixels a side and `width` channels."""
        return (
            TokenMixerPart(side, width, width, self.mixer, self.token_kernel),
            ChannelMixerPart(side, width, width, self.expansion * width, self.channel_kernel),
        )

    def __str__(self) -> str:
        """The block in a few letters: `k7+3 e3`."""
        words = [axis.short.format(getattr(self, name)) for name, axis in BLOCK_AXES.items()]
        return find_mixer(self.mixer).short(self.token_kernel) + "".join(words)


BLOCK_AXES: Mapping[str, BlockAxis] = {one.name: one.metadata["axis"] for one in fields(Block)}
shared_block = lru_cache(maxsize=1 << 14)(Block)  # blocks repeat: checking them was most of building a network
block_parts = lru_cache(maxsize=1 << 16)(Block.parts)  # networks share parts: making them was most of a prediction


def axes_of(part: type[Part]) -> list[str]:
    """The names of the axes that change a kind of part, in order."""
    return [name for name, axis in BLOCK_AXES.items() if axis.part is part]


def no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values; raises ValueError where one is given twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"must not repeat a choice, but got {list(values)}")
    return values


_Choices = Field(min_length=1, max_length=limits.CHOICES)
Sizes = Annotated[
    tuple[Annotated[int, Field(gt=0, le=limits.SIZE)], ...],
    BeforeValidator(as_list),
    AfterValidator(no_repeats),
    _Choices,
]
Depths = Annotated[
    tuple[Annotated[int, Field(gt=0, le=limits.BLOCKS)], ...],
    BeforeValidator(as_list),
    AfterValidator(no_repeats),
    _Choices,
]
Names = Annotated[tuple[str, ...], BeforeValidator(as_list), AfterValidator(no_repeats), _Choices]


class _StageSizes(Section):
    """Choices for one stage. `depth` counts blocks; each axis of blocks is chosen per stage or per block."""

    depth: Depths
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

    @property
    def combinations(self) -> int:
        """The number of choices of depth, width and one block."""
        return len(self.depth) * len(self.width) * math.prod(len(self.choices(name)) for name in BLOCK_AXES)

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
