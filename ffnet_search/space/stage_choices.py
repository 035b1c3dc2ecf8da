"""The choices of a search space, as its file lists them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ffnet_search.errors import did_you_mean
from ffnet_search.space.parts import MIXERS
from ffnet_search.strict_yaml import Section

Choice = int | str
BlockAxis = Literal["mixer", "token_kernel", "channel_kernel", "expansion"]
BLOCK_AXES: tuple[BlockAxis, ...] = ("mixer", "token_kernel", "channel_kernel", "expansion")


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def no_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError(f"must not repeat a choice, but got {list(values)}")
    return values


Sizes = Annotated[
    tuple[Annotated[int, Field(gt=0)], ...], BeforeValidator(_as_list), AfterValidator(no_repeats), Field(min_length=1)
]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), AfterValidator(no_repeats), Field(min_length=1)]


class InputChoices(Section):
    """The images: fixed, not searched."""

    channels: int = Field(3, gt=0)
    resolution: int = Field(gt=0)
    classes: int = Field(gt=1)


class StemChoices(Section):
    """Choices for the two convolutions in front: width of the first, stride of both together."""

    width: Sizes = (32,)
    stride: Sizes = (2,)


class StageChoices(Section):
    """Choices for one stage. `depth` counts blocks; the rest is chosen per stage or per block."""

    depth: Sizes
    width: Sizes
    mixer: Names = ("ffn_attention",)
    token_kernel: Sizes = (7,)
    channel_kernel: Sizes = (3,)
    expansion: Sizes = (3,)

    def check(self, place: str) -> None:
        """Raises ValueError, with `place` in it, where a choice cannot be built."""
        for mixer in self.mixer:
            if mixer not in MIXERS:
                raise ValueError(f"{place}.mixer {mixer!r} is not a known mixer{did_you_mean(mixer, MIXERS)}")
            step = MIXERS[mixer].width_step
            for width in self.width:
                if width % step:
                    raise ValueError(f"{place}.width must be multiples of {step} for mixer {mixer!r}, but got {width}")
        for axis in ("token_kernel", "channel_kernel"):
            for kernel in getattr(self, axis):
                if kernel < 3 or kernel % 2 == 0:
                    raise ValueError(f"{place}.{axis} must be odd and >= 3, but got {kernel}")

    def size(self, per_block: Collection[BlockAxis]) -> int:
        """How many distinct stages there are, where the axes `per_block` are chosen for each block anew."""
        return len(self.width) * sum(self._count(depth, per_block) for depth in self.depth)

    def _count(self, depth: int, per_block: Collection[BlockAxis]) -> int:
        """Of one depth and width. A mixer without a kernel has one network for all token kernels."""
        kernels = len(self.token_kernel)
        other = 1  # choices that always have an effect
        for axis in ("channel_kernel", "expansion"):
            other *= len(getattr(self, axis)) ** (depth if axis in per_block else 1)
        with_kernel = sum(MIXERS[mixer].has_kernel for mixer in self.mixer)
        without = len(self.mixer) - with_kernel
        if "mixer" not in per_block:
            mixed = with_kernel * kernels ** (depth if "token_kernel" in per_block else 1) + without
        elif "token_kernel" in per_block:
            mixed = (with_kernel * kernels + without) ** depth
        else:  # mixers per block, one kernel per stage: it has no effect where no block uses it
            mixed = ((with_kernel + without) ** depth - without**depth) * kernels + without**depth
        return mixed * other
