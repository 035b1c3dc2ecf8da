"""Parts of a deployed network: the unit of MACs, parameters, memory and latency, a small class a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ffnet_search.space.mixers import Mixer, find_mixer

MERGE_KERNEL = 7  # of the depthwise convolution in patch merging (reference: PatchMerging)
STEM_STRIDES = {1: (1, 1), 2: (2, 1), 4: (2, 2)}  # of a stem's two convolutions, by the stride of both together


class Part(ABC):
    """A piece of a deployed network whose cost depends on nothing around it.

    A subclass is a frozen dataclass that declares the fields it has; the others keep the values given here. Two parts
    of equal fields are one entry of a latency table.
    """

    kind: ClassVar[str]  # the first word of its key
    layer: ClassVar[str]  # import path of a class whose `deployed_part(part)` makes one with random weights
    resolution: int  # side, in pixels, of the map that enters
    in_width: int
    out_width: int
    hidden: int = 0  # width between two convolutions
    kernel: int = 0
    stride: int = 1
    mixer: str = ""

    @property
    def key(self) -> str:
        """The name of the part in files, e.g. `token_mixer ffn_attention 64x16x16 k7`."""
        words = [self.kind, self.mixer, f"{self.in_width}x{self.resolution}x{self.resolution}"]
        words += [f"h{self.hidden}" if self.hidden else ""]
        words += [f"to{self.out_width}" if self.out_width != self.in_width else ""]
        words += [f"k{self.kernel}" if self.kernel else "", f"s{self.stride}" if self.stride > 1 else ""]
        return " ".join(word for word in words if word)

    @property
    def family(self) -> tuple[str, str, int, int]:
        """All that is no size: kind, mixer, kernel and stride. Latency is interpolated inside a family."""
        return self.kind, self.mixer, self.kernel, self.stride

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates for one image."""

    @property
    @abstractmethod
    def params(self) -> int:
        """Weights and biases."""

    @property
    @abstractmethod
    def memory(self) -> int:
        """Elements of all maps of one image at the worst moment: the part's input, what an operator reads and what it
        writes. Operators run one after another, and a map is freed after its last use."""


@dataclass(frozen=True)
class StemPart(Part):
    """Two 3 x 3 convolutions with `hidden` channels between them."""

    kind = "stem"
    layer = "ffnet_search.models.layers:PatchEmbedding"
    resolution: int
    in_width: int
    out_width: int
    hidden: int
    stride: int
    kernel = 3

    @property
    def _pixels(self) -> tuple[int, int]:
        """Pixels of the maps after the first and the second convolution."""
        first, second = STEM_STRIDES[self.stride]
        middle = -(-self.resolution // first)
        out = -(-middle // second)
        return middle**2, out**2

    @property
    def macs(self) -> int:
        middle, out = self._pixels
        return 9 * self.hidden * (middle * self.in_width + out * self.out_width)

    @property
    def params(self) -> int:
        return 9 * self.in_width * self.hidden + self.hidden + 9 * self.hidden * self.out_width + self.out_width

    @property
    def memory(self) -> int:
        """The image is the caller's."""
        middle, out = self._pixels
        return self.hidden * middle + max(self.hidden * middle, self.out_width * out)


@dataclass(frozen=True)
class MergingPart(Part):
    """Patch merging: depthwise convolution of stride 2 to `hidden` channels, then 1 x 1."""

    kind = "merging"
    layer = "ffnet_search.models.layers:Merging"
    resolution: int
    in_width: int
    out_width: int
    hidden: int
    kernel = MERGE_KERNEL
    stride = 2

    @property
    def _out_pixels(self) -> int:
        return (-(-self.resolution // 2)) ** 2

    @property
    def macs(self) -> int:
        return self._out_pixels * self.hidden * (self.kernel**2 + self.out_width)

    @property
    def params(self) -> int:
        return self.kernel**2 * self.hidden + self.hidden + self.hidden * self.out_width + self.out_width

    @property
    def memory(self) -> int:
        return self.in_width * self.resolution**2 + (self.hidden + self.out_width) * self._out_pixels


@dataclass(frozen=True)
class TokenMixerPart(Part):
    """A token mixer with its skip; its costs are the mixer's."""

    kind = "token_mixer"
    layer = "ffnet_search.models.layers:MixerBlock"
    resolution: int
    in_width: int
    out_width: int
    mixer: str
    kernel: int

    @property
    def _mixer(self) -> type[Mixer]:
        return find_mixer(self.mixer)

    @property
    def macs(self) -> int:
        return self._mixer.macs(self.out_width, self.kernel, self.resolution**2)

    @property
    def params(self) -> int:
        return self._mixer.params(self.out_width, self.kernel)

    @property
    def memory(self) -> int:
        return self._mixer.memory(self.out_width, self.kernel, self.resolution**2)


@dataclass(frozen=True)
class ChannelMixerPart(Part):
    """A channel mixer with its skip: depthwise convolution, 1 x 1 to `hidden` channels, GELU, 1 x 1."""

    kind = "channel_mixer"
    layer = "ffnet_search.models.layers:ChannelMixer"
    resolution: int
    in_width: int
    out_width: int
    hidden: int
    kernel: int

    @property
    def macs(self) -> int:
        return self.resolution**2 * self.out_width * (self.kernel**2 + 2 * self.hidden)

    @property
    def params(self) -> int:
        width = self.out_width
        return self.kernel**2 * width + width + 2 * self.hidden * width + self.hidden + width

    @property
    def memory(self) -> int:
        """The depthwise convolution's output keeps its place for the result."""
        return self.resolution**2 * 2 * (self.out_width + self.hidden)


@dataclass(frozen=True)
class PooledLinearPart(Part):
    """The mean over the map, then a linear layer."""

    kind = "head"
    layer = "ffnet_search.models.heads:PooledLinear"
    resolution: int
    in_width: int
    out_width: int

    @property
    def macs(self) -> int:
        return self.in_width * self.out_width

    @property
    def params(self) -> int:
        return self.in_width * self.out_width + self.out_width

    @property
    def memory(self) -> int:
        return self.in_width * (self.resolution**2 + 1) + self.out_width
