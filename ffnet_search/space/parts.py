"""What a deployed network is made of, and what each piece costs: the unit of MACs, parameters, memory and latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

HEAD_DIM = 16  # channels of one attention head; heads are cut with the width, so the size must not depend on it
MERGE_KERNEL = 7  # of the depthwise convolution in patch merging (reference: PatchMerging)
STEM_STRIDES = {1: (1, 1), 2: (2, 1), 4: (2, 2)}  # of a stem's two convolutions, by the stride of both together


@dataclass(frozen=True)
class Mixer:
    """A value of the `mixer` axis: its cost in the deployed form, and the class (by import path) that computes it.

    `params(width, kernel)` counts weights and biases, `macs(width, kernel, pixels)` multiply-accumulates,
    `memory(width, kernel, pixels)` the elements of all maps that are there at the worst moment, its input included.
    `width_step` must divide the width. A mixer without a kernel ignores `token_kernel`, which is then 0.
    """

    module: str
    params: Callable[[int, int], int]
    macs: Callable[[int, int, int], int]
    memory: Callable[[int, int, int], int]
    has_kernel: bool = True
    width_step: int = 1


MIXERS: dict[str, Mixer] = {
    "ffn_attention": Mixer(
        module="ffnet_search.models.mixers:FFNAttention",
        params=lambda w, k: w * w + w + 2 * (k * k * w + w),
        macs=lambda w, k, pixels: pixels * (w * w + 2 * w * k * k),
        memory=lambda w, k, pixels: 3 * w * pixels,
    ),
    "pool": Mixer(
        module="ffnet_search.models.mixers:Pool",
        params=lambda w, k: w * w,
        macs=lambda w, k, pixels: pixels * w * w,
        memory=lambda w, k, pixels: 4 * w * pixels,
    ),
    "attention": Mixer(
        module="ffnet_search.models.mixers:Attention",
        params=lambda w, k: 4 * (w * w + w),
        macs=lambda w, k, pixels: pixels * 4 * w * w + 2 * pixels * pixels * w,
        memory=lambda w, k, pixels: 5 * w * pixels + max(2 * pixels, pixels + HEAD_DIM) * pixels * w // HEAD_DIM,
        has_kernel=False,
        width_step=HEAD_DIM,
    ),
}


@dataclass(frozen=True)
class Part:
    """A piece of a deployed network whose cost depends on nothing around it: the unit of MACs, parameters, latency.

    `resolution` is the side of the map that enters. `hidden` is the width between the two convolutions of a stem, a
    patch merging or a channel mixer. Fields that a kind does not have are 0 or "".
    """

    kind: Literal["stem", "merging", "token_mixer", "channel_mixer", "head"]
    resolution: int
    in_width: int
    out_width: int
    hidden: int = 0
    kernel: int = 0
    stride: int = 1
    mixer: str = ""

    @property
    def key(self) -> str:
        """Names the part in files, e.g. `token_mixer ffn_attention 64x16x16 k7`."""
        words = [self.kind, self.mixer, f"{self.in_width}x{self.resolution}x{self.resolution}"]
        words += [f"h{self.hidden}" if self.hidden else ""]
        words += [f"to{self.out_width}" if self.out_width != self.in_width else ""]
        words += [f"k{self.kernel}" if self.kernel else "", f"s{self.stride}" if self.stride > 1 else ""]
        return " ".join(word for word in words if word)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        pixels, w = self.resolution**2, self.out_width
        if self.kind == "stem":
            first, second = STEM_STRIDES[self.stride]
            middle = -(-self.resolution // first)
            return 9 * self.hidden * (middle**2 * self.in_width + (-(-middle // second)) ** 2 * w)
        if self.kind == "merging":
            return (-(-self.resolution // 2)) ** 2 * self.hidden * (self.kernel**2 + w)
        if self.kind == "token_mixer":
            return MIXERS[self.mixer].macs(w, self.kernel, pixels)
        if self.kind == "channel_mixer":
            return pixels * w * (self.kernel**2 + 2 * self.hidden)
        return self.in_width * w

    @property
    def params(self) -> int:
        """Weights and biases."""
        w, h = self.out_width, self.hidden
        if self.kind == "stem":
            return 9 * self.in_width * h + h + 9 * h * w + w
        if self.kind == "merging":
            return self.kernel**2 * h + h + h * w + w
        if self.kind == "token_mixer":
            return MIXERS[self.mixer].params(w, self.kernel)
        if self.kind == "channel_mixer":
            return self.kernel**2 * w + w + 2 * h * w + h + w
        return self.in_width * w + w

    @property
    def memory(self) -> int:
        """Elements of all maps that are there at the worst moment, for one image: its input, what an operator reads and
        what it writes. Operators run one after another, and a map goes when nothing needs it any more."""
        pixels, w, h = self.resolution**2, self.out_width, self.hidden
        if self.kind == "stem":  # the image is the caller's
            first, second = STEM_STRIDES[self.stride]
            middle = -(-self.resolution // first)
            return h * middle**2 + max(h * middle**2, w * (-(-middle // second)) ** 2)
        if self.kind == "merging":
            return self.in_width * pixels + (h + w) * (-(-self.resolution // 2)) ** 2
        if self.kind == "token_mixer":
            return MIXERS[self.mixer].memory(w, self.kernel, pixels)
        if self.kind == "channel_mixer":
            return pixels * 2 * (w + h)  # the depthwise output's place is kept for the result
        return self.in_width * (pixels + 1) + w
