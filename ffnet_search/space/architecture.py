"""One network of the FFNet family (arXiv 2406.02021, section 3), as a value: frozen, hashable, without torch.

An `Architecture` says what is computed after deployment (BN folded, branches merged). How it is parametrised while it
trains is a `Form`, which belongs to the weights and not to the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from ffnet_search.space.parts import MERGE_KERNEL, MIXERS, STEM_STRIDES, Part


@dataclass(frozen=True)
class Form:
    """How a network is parametrised while it trains; every form fuses to the same deployed network.

    `branches`: "all" = every depthwise convolution is k x k + BN beside 3 x 3 + BN (also at k = 3, so that a slot with
    elastic kernels has one form); "none" = k x k + BN alone (2 times faster to train on CPU); "reference" = as in the
    official code: two branches for k >= 5, and at k = 3 a bias without BN in the token mixer, BN in the channel mixer.
    `layer_scale`: initial value of the residual scales, or None for no scale.
    """

    branches: Literal["all", "none", "reference"] = "all"
    layer_scale: float | None = 1e-6


@dataclass(frozen=True)
class Block:
    """A token mixer and a channel mixer, each residual. Kernels are odd sides in pixels."""

    mixer: str = "ffn_attention"
    token_kernel: int = 7
    channel_kernel: int = 3
    expansion: int = 3

    def __post_init__(self) -> None:
        if self.mixer not in MIXERS:
            raise ValueError(f"mixer must be one of {', '.join(MIXERS)}, but got {self.mixer!r}")
        if not MIXERS[self.mixer].has_kernel:
            object.__setattr__(self, "token_kernel", 0)
        elif self.token_kernel < 3 or self.token_kernel % 2 == 0:
            raise ValueError(f"token_kernel must be odd and >= 3, but got {self.token_kernel}")
        if self.channel_kernel < 3 or self.channel_kernel % 2 == 0:
            raise ValueError(f"channel_kernel must be odd and >= 3, but got {self.channel_kernel}")
        if self.expansion < 1:
            raise ValueError(f"expansion must be >= 1, but got {self.expansion}")


@dataclass(frozen=True)
class Stage:
    """Blocks of one width. `multiplier`: depthwise outputs per input channel in the patch merging before the stage."""

    width: int
    blocks: tuple[Block, ...]
    multiplier: int = 2

    def __post_init__(self) -> None:
        if self.width < 1 or self.multiplier < 1 or not self.blocks:
            raise ValueError(
                "a stage must have width >= 1, multiplier >= 1 and at least one block, "
                f"but got width={self.width}, multiplier={self.multiplier}, {len(self.blocks)} blocks"
            )
        for block in self.blocks:
            step = MIXERS[block.mixer].width_step
            if self.width % step:
                raise ValueError(f"width must be a multiple of {step} for mixer {block.mixer!r}, but got {self.width}")

    @property
    def depth(self) -> int:
        return len(self.blocks)


@dataclass(frozen=True)
class Stem:
    """Two 3 x 3 convolutions, `channels -> width -> width of stage 1`, which together have stride 1, 2 or 4."""

    width: int = 64
    stride: int = 4

    def __post_init__(self) -> None:
        if self.width < 1 or self.stride not in STEM_STRIDES:
            raise ValueError(
                f"the stem must have width >= 1 and stride 1, 2 or 4, but got width={self.width}, stride={self.stride}"
            )

    @property
    def strides(self) -> tuple[int, int]:
        return STEM_STRIDES[self.stride]


@dataclass(frozen=True)
class Input:
    """What the network is applied to: square images of `resolution` pixels a side, and how many classes they have."""

    channels: int = 3
    resolution: int = 224
    classes: int = 1000

    def __post_init__(self) -> None:
        if self.channels < 1 or self.resolution < 1 or self.classes < 2:
            raise ValueError(
                "input must have channels >= 1, resolution >= 1 and classes >= 2, but got "
                f"channels={self.channels}, resolution={self.resolution}, classes={self.classes}"
            )


_part = lru_cache(maxsize=1 << 16)(Part)  # networks share their parts: making them was most of a prediction


@dataclass(frozen=True)
class Architecture:
    """One network.

    >>> arch = Architecture.preset("ffnet_1")
    >>> arch.params_m, arch.key  # doctest: +SKIP
    """

    stem: Stem
    stages: tuple[Stage, ...]
    input: Input = Input()

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("an architecture must have at least one stage")
        if self.stages[0].multiplier != 1:  # nothing is merged before the first stage: one spelling, one key
            first = replace(self.stages[0], multiplier=1)
            object.__setattr__(self, "stages", (first, *self.stages[1:]))

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The network from input to logits, in order; a part occurs as often as it is computed."""
        return tuple(self._parts())

    def _parts(self) -> Iterator[Part]:
        side, first = self.input.resolution, self.stages[0].width
        yield _part("stem", side, self.input.channels, first, self.stem.width, 3, self.stem.stride)
        for stride in self.stem.strides:
            side = -(-side // stride)
        for index, stage in enumerate(self.stages):
            w = stage.width
            if index:
                before = self.stages[index - 1].width
                yield _part("merging", side, before, w, before * stage.multiplier, MERGE_KERNEL, 2)
                side = -(-side // 2)
            for block in stage.blocks:
                yield _part("token_mixer", side, w, w, 0, block.token_kernel, mixer=block.mixer)
                yield _part("channel_mixer", side, w, w, block.expansion * w, block.channel_kernel)
        yield _part("head", side, self.stages[-1].width, self.input.classes)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits that name the architecture everywhere: cache, study, files."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def macs_m(self) -> float:
        """Millions of multiply-accumulates of the deployed form, for one image."""
        return sum(part.macs for part in self.parts) / 1e6

    @property
    def params_m(self) -> float:
        """Millions of parameters of the deployed form."""
        return sum(part.params for part in self.parts) / 1e6

    @property
    def weights_mb(self) -> float:
        """Millions of bytes of the deployed form's parameters in float32."""
        return 4 * self.params_m

    @property
    def peak_memory_mb(self) -> float:
        """Millions of bytes of all maps at the worst moment (`Part.memory`), for one image in float32."""
        return 4 * max(part.memory for part in self.parts) / 1e6

    def __str__(self) -> str:
        """One line: `stem 32/2 | 64: k7+3 e3 x2 | ...`, kernels as token + channel."""
        words = [f"stem {self.stem.width}/{self.stem.stride}"]
        for stage in self.stages:
            runs: list[list[Any]] = []
            for block in stage.blocks:
                name = f"k{block.token_kernel}" if block.mixer == "ffn_attention" else block.mixer
                name += f"{block.token_kernel}" if block.mixer == "pool" else ""
                text = f"{name}+{block.channel_kernel} e{block.expansion}"
                if runs and runs[-1][0] == text:
                    runs[-1][1] += 1
                else:
                    runs.append([text, 1])
            words.append(f"{stage.width}: " + ", ".join(f"{text} x{count}" for text, count in runs))
        return " | ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for YAML and JSON; `from_dict` is the inverse."""
        return {
            "input": dict(vars(self.input)),  # `asdict` copies deeply: most of what a key cost
            "stem": dict(vars(self.stem)),
            "stages": [
                {**vars(stage), "blocks": [dict(vars(block)) for block in stage.blocks]} for stage in self.stages
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Raises ValueError, KeyError or TypeError where `data` is not an architecture."""
        stages = tuple(
            Stage(**{**stage, "blocks": tuple(Block(**block) for block in stage["blocks"])}) for stage in data["stages"]
        )
        return cls(Stem(**data["stem"]), stages, Input(**data["input"]))

    @classmethod
    def uniform(
        cls,
        *,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        token_kernels: tuple[int, ...],
        channel_kernels: tuple[int, ...],
        expansions: tuple[int, ...],
        stem: Stem = Stem(),
        input: Input = Input(),
    ) -> Architecture:
        """One value per stage, all blocks of a stage alike: how the papers of the field write a network down."""
        stages, before = [], widths[0]
        rows = zip(depths, widths, token_kernels, channel_kernels, expansions, strict=True)
        for depth, width, token_kernel, channel_kernel, expansion in rows:
            block = Block("ffn_attention", token_kernel, channel_kernel, expansion)
            stages.append(Stage(width, (block,) * depth, multiplier=-(-width // before)))
            before = width
        return cls(stem, tuple(stages), input)

    @classmethod
    def preset(cls, name: str, *, resolution: int = 256, channels: int = 3, classes: int = 1000) -> Architecture:
        """FFNet-1..4 as published (paper, table 1; reference: models/ffnet.py). Raises ValueError for other names."""
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, but got {name!r}")
        depths, widths, channel_kernel = PRESETS[name]
        return cls.uniform(
            depths=depths,
            widths=widths,
            token_kernels=(3, 3, 7, 7),
            channel_kernels=(channel_kernel,) * 4,
            expansions=(3,) * 4,
            input=Input(channels, resolution, classes),
        )


PRESETS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    # name: depths, widths, channel kernel
    "ffnet_1": ((2, 2, 8, 2), (80, 160, 320, 640), 3),
    "ffnet_2": ((3, 3, 15, 3), (88, 176, 352, 704), 7),
    "ffnet_3": ((4, 4, 22, 5), (96, 192, 384, 768), 7),
    "ffnet_4": ((4, 4, 27, 3), (128, 256, 512, 1024), 7),
}
PRESET_FORMS: dict[str, Form] = {
    "ffnet_1": Form("reference", None),
    "ffnet_2": Form("reference", None),
    "ffnet_3": Form("reference", 1e-6),
    "ffnet_4": Form("reference", 1e-6),
}
