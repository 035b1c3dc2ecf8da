"""Parts of a deployed network: the unit of MACs, parameters, memory and latency. One class per kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ffnet_search.space.mixers import Costs, find_mixer
from ffnet_search.space.sides import Side, grown, growth, pixels, shrunk, spelled

MERGE_KERNEL = 7  # of the depthwise convolution in patch merging (reference: PatchMerging)
MIXER_KERNEL, MIXER_EXPANSION = 3, 2  # of the channel mixer in a head of summed laterals
Family = tuple[str, str, int, int, int]
STEM_STRIDES = {1: (1, 1), 2: (2, 1), 4: (2, 2)}  # of a stem's two convolutions, by the stride of both together


@dataclass(frozen=True)
class Part(ABC):
    """A piece of a deployed network whose cost depends on nothing around it.

    `resolution` is the side of the map that enters, or (height, width), in pixels. A subclass adds the fields that it
    has; the others keep the values given here. Parts of equal fields are one entry of a latency table."""

    kind: ClassVar[str]  # the first word of its key
    layer: ClassVar[str]  # import path of a class whose `deployed_part(part)` makes one with random weights
    reads_image: ClassVar[bool] = False  # beside the map that enters
    resolution: Side
    in_width: int
    out_width: int
    hidden = 0  # width between two convolutions
    kernel = 0
    stride = 1
    scale = 1  # by which the side grows
    mixer = ""

    @property
    @abstractmethod
    def costs(self) -> Costs:
        """As `Costs` defines them; operators run one after another, and a map is freed after its last use."""

    @property
    def out_resolution(self) -> Side:
        """The side, in pixels, of the map that leaves."""
        return shrunk(self.resolution, self.stride)

    @property
    def pixels(self) -> int:
        """The pixels of the map that enters."""
        return pixels(self.resolution)

    @property
    def out_pixels(self) -> int:
        """The pixels of the map that leaves."""
        return pixels(self.out_resolution)

    @property
    def key(self) -> str:
        """The name of the part in files, e.g. `token_mixer ffn_attention 64x16x16 k7`."""
        words = [self.kind, self.mixer, f"{self.in_width}x{spelled(self.resolution, 'x')}"]
        words += [f"h{self.hidden}" if self.hidden else ""]
        words += [f"to{self.out_width}" if self.out_width != self.in_width else ""]
        words += [f"k{self.kernel}" if self.kernel else "", f"s{self.stride}" if self.stride > 1 else ""]
        words += [f"up{_side(self.out_resolution)}" if self.scale > 1 else ""]
        return " ".join(word for word in words if word)

    @property
    def family(self) -> Family:
        """All that is no size: kind, mixer, kernel, stride and scale. Latency is interpolated inside a family."""
        return self.kind, self.mixer, self.kernel, self.stride, self.scale


@dataclass(frozen=True)
class StemPart(Part):
    """Two 3 x 3 convolutions with `hidden` channels between them, or one where that is 0. The image is the caller's
    memory."""

    kind = "stem"
    layer = "ffnet_search.models.layers:PatchEmbedding"
    hidden: int
    stride: int
    kernel = 3

    @cached_property
    def costs(self) -> Costs:
        first, second = STEM_STRIDES[self.stride]
        side = shrunk(self.resolution, first)
        middle, out = pixels(side), pixels(shrunk(side, second))
        h, w = self.hidden, self.out_width
        if not h:
            return Costs(params=9 * self.in_width * w + w, macs=9 * out * self.in_width * w, memory=out * w)
        return Costs(
            params=9 * self.in_width * h + h + 9 * h * w + w,
            macs=9 * h * (middle * self.in_width + out * w),
            memory=h * middle + max(h * middle, w * out),
        )


@dataclass(frozen=True)
class MergingPart(Part):
    """Patch merging: depthwise convolution of stride 2 to `hidden` channels, then 1 x 1."""

    kind = "merging"
    layer = "ffnet_search.models.layers:Merging"
    hidden: int
    kernel = MERGE_KERNEL
    stride = 2

    @cached_property
    def costs(self) -> Costs:
        out = self.out_pixels
        h, w = self.hidden, self.out_width
        return Costs(
            params=self.kernel**2 * h + h + h * w + w,
            macs=out * h * (self.kernel**2 + w),
            memory=self.in_width * self.pixels + (h + w) * out,
        )


@dataclass(frozen=True)
class TokenMixerPart(Part):
    """A token mixer with its skip; its costs are the mixer's."""

    kind = "token_mixer"
    layer = "ffnet_search.models.layers:MixerBlock"
    mixer: str
    kernel: int

    @cached_property
    def costs(self) -> Costs:
        return find_mixer(self.mixer).costs(self.out_width, self.kernel, self.pixels)


@dataclass(frozen=True)
class ChannelMixerPart(Part):
    """A channel mixer with its skip: depthwise convolution, 1 x 1 to `hidden` channels, GELU, 1 x 1."""

    kind = "channel_mixer"
    layer = "ffnet_search.models.layers:ChannelMixer"
    hidden: int
    kernel: int

    @cached_property
    def costs(self) -> Costs:
        pixels, h, w = self.pixels, self.hidden, self.out_width
        return Costs(
            params=self.kernel**2 * w + w + 2 * h * w + h + w,
            macs=pixels * w * (self.kernel**2 + 2 * h),
            memory=pixels * 2 * (w + h),  # the depthwise convolution's output keeps its place for the result
        )


@dataclass(frozen=True)
class PooledLinearPart(Part):
    """The mean over the map, then a linear layer."""

    kind = "head"
    layer = "ffnet_search.models.heads:PooledLinear"

    @cached_property
    def costs(self) -> Costs:
        macs = self.in_width * self.out_width
        memory = self.in_width * (self.pixels + 1) + self.out_width
        return Costs(params=macs + self.out_width, macs=macs, memory=memory)


@dataclass(frozen=True)
class LateralPart(Part):
    """A head reads a stage: 1 x 1 to the head's width, enlarged (bilinear) to the head's side, added to what it has.

    Never bicubic: on ONNX Runtime that costs 2.6 times a whole trunk. The map that enters stays for the next stage."""

    kind = "lateral"
    layer = "ffnet_search.models.heads:SummedLaterals"
    side: Side  # of the head's map, in pixels

    @property
    def scale(self) -> int:  # type: ignore[override]
        return growth(self.resolution, self.side)

    @property
    def out_resolution(self) -> Side:
        return self.side

    @property
    def held(self) -> int:
        """Elements of what the head has, which stay in memory until the last stage."""
        return self.out_width * pixels(self.side)

    @cached_property
    def costs(self) -> Costs:
        pixels, enlarged = self.pixels, self.held if self.scale > 1 else 0
        return Costs(
            params=self.in_width * self.out_width + self.out_width,
            macs=pixels * self.in_width * self.out_width,  # as all counts: convolutions, no enlarging
            memory=pixels * self.in_width + max(pixels * self.out_width + enlarged, 2 * enlarged),
        )


@dataclass(frozen=True)
class Beside(Part):
    """A part while `held` elements of a head stay in memory: for costs alone, the same part with more memory."""

    kind = "beside"
    layer = ""
    part: Part
    held: int

    @classmethod
    def of(cls, part: Part, held: int) -> Part:
        return cls(part.resolution, part.in_width, part.out_width, part, held) if held else part

    @property
    def key(self) -> str:
        return self.part.key

    @cached_property
    def costs(self) -> Costs:
        return self.part.costs._replace(memory=self.part.costs.memory + self.held)


@dataclass(frozen=True)
class MaskPart(Part):
    """1 x 1 to a value per class and pixel, `resolution` pixels a side; then one of two ends.

    `side`: logits, enlarged (bilinear) to that side. 0: the class of the largest value."""

    kind = "mask"
    layer = "ffnet_search.models.heads:SummedLaterals"
    side: Side

    @property
    def scale(self) -> int:  # type: ignore[override]
        return growth(self.resolution, self.side) if self.side else 1

    @property
    def mixer(self) -> str:  # type: ignore[override]
        return "logits" if self.side else "labels"

    @property
    def out_resolution(self) -> Side:
        return self.side or self.resolution

    @cached_property
    def costs(self) -> Costs:
        before = self.pixels
        after = self.out_width * self.out_pixels if self.scale > 1 else before
        return Costs(
            params=self.in_width * self.out_width + self.out_width,
            macs=before * self.in_width * self.out_width,
            memory=before * self.out_width + max(before * self.in_width, after),
        )


@dataclass(frozen=True)
class UpsamplePart(Part):
    """3 x 3 to `scale`^2 values for each channel and pixel, which become pixels (pixel shuffle), added to the image,
    enlarged by repetition (reference: FFNet-SR). The image is the caller's memory."""

    kind = "upsample"
    layer = "ffnet_search.models.heads:PixelShuffle"
    reads_image = True
    scale: int
    kernel = 3

    @property
    def out_resolution(self) -> Side:
        return grown(self.resolution, self.scale)

    @cached_property
    def costs(self) -> Costs:
        values = self.out_width * self.scale**2  # for a pixel of the map
        return Costs(
            params=values * (9 * self.in_width + 1),
            macs=self.pixels * 9 * self.in_width * values,
            memory=self.pixels * max(self.in_width + values, 3 * values),
        )


def _side(side: Side) -> str:
    """`32`, of a rectangle `32x48`."""
    return str(side) if isinstance(side, int) else spelled(side, "x")
