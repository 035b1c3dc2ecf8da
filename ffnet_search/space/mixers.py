"""Token mixers without torch: what each costs once deployed, and how it is written and drawn.

A mixer is a class here, with its row in `MIXERS`, and the network that it names, in `models/mixers.py`. A user-supplied
mixer is one subclass of `models.mixers.TokenMixer` that is both, named in a sweep by its import path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import ClassVar, NamedTuple

from ffnet_search.errors import SweepError
from ffnet_search.plugins import Registry, find_class

HEAD_DIM = 16  # channels of one attention head; heads are cut with the width, so the size must not depend on it

MIXERS: Registry = {
    "ffn_attention": "ffnet_search.space.mixers:FFNAttention",
    "pool": "ffnet_search.space.mixers:Pool",
    "attention": "ffnet_search.space.mixers:Attention",
}


class Costs(NamedTuple):
    """Costs of a deployed part: weights and biases, multiply-accumulates for one image, and the elements of all its
    maps at the worst moment, the input included."""

    params: int
    macs: int
    memory: int


class Mixer(ABC):
    """A value of the `mixer` axis. White text on `colour` must be easy to read."""

    network: ClassVar[str]  # import path of the subclass of `models.mixers.TokenMixer` that computes it
    has_kernel: ClassVar[bool] = True  # else it ignores its kernel, which is then 0
    width_step: ClassVar[int] = 1  # divides every width
    symbol: ClassVar[str] = ""  # in the one line of an architecture, before the kernel; by default the class's name
    label: ClassVar[str] = ""  # in drawings; by default the class's name
    colour: ClassVar[str] = "#8a4fbf"

    @staticmethod
    @abstractmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        """The costs of the deployed form on a map of so many channels and pixels."""

    @classmethod
    def short(cls, kernel: int) -> str:
        """The mixer with its kernel in one word: `k7`, `pool3`, `attention`."""
        return f"{cls.symbol or cls.__name__.lower()}{kernel or ''}"

    @classmethod
    def title(cls) -> str:
        """The name in drawings."""
        return cls.label or cls.__name__


@lru_cache
def find_mixer(name: str, field: str = "mixer") -> type[Mixer]:
    """The mixer of a registered name or an import path. Raises ValueError, in one sentence, where there is none."""
    try:
        return find_class(name, field, Mixer, MIXERS, wanted="TokenMixer")
    except SweepError as error:
        raise ValueError(str(error)) from None


class FFNAttention(Mixer):
    """1 x 1, depthwise k x k, GELU, depthwise k x k (paper, section 3.2)."""

    network = "ffnet_search.models.mixers:FFNAttention"
    symbol, label, colour = "k", "FFN attention", "#2f6fd0"

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        return Costs(
            params=width * width + width + 2 * (kernel * kernel * width + width),
            macs=pixels * (width * width + 2 * width * kernel * kernel),
            memory=3 * width * pixels,
        )


class Pool(Mixer):
    """1 x 1, then the mean of k x k neighbours minus identity."""

    network = "ffnet_search.models.mixers:Pool"
    label, colour = "pool", "#1a8a66"

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        return Costs(params=width * width, macs=pixels * width * width, memory=4 * width * pixels)


class Attention(Mixer):
    """Self-attention over all pixels: four 1 x 1, and the products of each head."""

    network = "ffnet_search.models.mixers:Attention"
    has_kernel, width_step = False, HEAD_DIM
    label, colour = "attention", "#b4560f"

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        scores = max(2 * pixels, pixels + HEAD_DIM) * pixels * width // HEAD_DIM
        return Costs(
            params=4 * (width * width + width),
            macs=pixels * 4 * width * width + 2 * pixels * pixels * width,
            memory=5 * width * pixels + scores,
        )
