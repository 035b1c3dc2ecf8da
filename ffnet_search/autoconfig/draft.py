"""Search spaces for a user's images, from the largest to the cheapest to train."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from ffnet_search.autoconfig.image_set import ImageSet
from ffnet_search.config.retraining import LONGER, lengthening
from ffnet_search.config.start import OFFICIAL
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.input import Input
from ffnet_search.space.registry import DEFAULT_TASK, task_outputs
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.sides import Side

RESOLUTIONS = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
MIN_RESOLUTION = 32  # of images that have more: below it objects are hard to tell, whatever the network
ENOUGH_RESOLUTION = 224  # FFNets were published for little more
SMALL_RESOLUTION = 64  # below it the stride of published FFNets leaves little, so half of it is offered too
HEAD_WIDTHS = (16, 32, 48)  # of a head that segments
FEW_IMAGES = 3_000  # below it stronger augmentation is proposed
ANY_SHAPE = ("classification", "multilabel")  # tasks whose targets stay true where images are turned and sheared
LONGER_STEP = 8  # pixels that the longer side of images is a multiple of
SAMPLED_NETWORKS = 15  # architectures, for one of median MACs
MIN_HEAD_SIDE = 12  # pixels of its map: at fewer, edges are guesses
Choices = tuple[tuple[int, ...], ...]  # per stage


@dataclass(frozen=True)
class Size:
    """The sizes of a space's networks, worth their cost from `least_images` on. `strides`: the number of choices of the
    stem's stride."""

    name: str
    least_images: int
    stem: int
    depths: Choices
    widths: Choices
    expansions: tuple[int, ...]
    per_block: tuple[str, ...] = ()
    strides: int = 2


SMALL = Size(  # widths are multiples of 16 beyond the first stages: runtimes charge 72 channels as 80
    name="small",
    least_images=0,
    stem=16,
    depths=((1, 2), (1, 2), (1, 2, 3), (1, 2)),
    widths=((16, 24, 32), (32, 48, 64), (48, 64, 96, 128), (64, 96, 128, 160)),
    expansions=(1, 2, 3),
)
TINY = replace(
    SMALL,
    name="tiny",
    depths=((1, 2), (1, 2), (1, 2), (1, 2)),
    widths=((16, 24, 32), (24, 32, 48), (48, 64, 96), (64, 96, 128)),
    strides=1,
)
MEDIUM = Size(  # as search_spaces/ffnet_cifar.yaml
    name="medium",
    least_images=4_000,
    stem=32,
    depths=((1, 2, 3), (1, 2, 3), (2, 3, 4, 5, 6), (1, 2, 3)),
    widths=((32, 48, 64), (64, 80, 96, 112, 128), (128, 160, 192, 224, 256), (192, 256, 320, 384)),
    expansions=(2, 3, 4),
    per_block=("token_kernel", "expansion"),
)


def stage_count(resolution: int) -> int:
    """The number of stages at a resolution."""
    return 3 if resolution <= 24 else 4


def stem_strides(resolution: int, largest: int = 8) -> list[int]:
    """The strides of a stem with which the last stage has 2 to `largest` pixels a side."""
    last = 2 ** (stage_count(resolution) - 1)
    return [stride for stride in (1, 2, 4) if 2 <= resolution // (stride * last) <= largest]


def isotropic_stage(size: Size) -> dict[str, Any]:
    """The only stage of networks that keep the resolution of the image."""
    depths, widths = list(size.depths[0]), list(size.widths[0])
    return {"depth": depths, "width": widths, "token_kernel": [3, 5], "expansion": list(size.expansions)}


@dataclass(frozen=True)
class Draft:
    """A candidate for the user's search space: a resolution and a size."""

    images: ImageSet
    resolution: int
    size: Size
    stride: int | None = None  # of the stem, where it has no choice

    stem_words: ClassVar[str] = "a larger stride is faster and sees less"
    stages_words: ClassVar[str] = "each at half the resolution of the one before"

    @property
    def input_words(self) -> str:
        """Words on the input, in the search space's file."""
        is_wide = isinstance(self.sides, tuple)
        if self.images.is_whole:
            return f"images are resized whole to the resolution{' (height, width)' if is_wide else ''}"
        return (
            f"images are cut {'to this shape (height, width)' if is_wide else 'square'} and resized to the resolution"
        )

    @property
    def sides(self) -> Side:
        """The size of the images that networks are measured on: a square, or of the shape that most images have, whose
        shorter side is the resolution."""
        ratio = self.images.sample.ratio
        longer = LONGER_STEP * round(self.resolution * max(ratio, 1 / ratio) / LONGER_STEP)
        if longer <= self.resolution:
            return self.resolution
        return (self.resolution, longer) if ratio > 1 else (longer, self.resolution)

    @property
    def training_lines(self) -> list[str]:
        """Lines of the sweep's section `data` on what networks train on."""
        crop = max(1, self.resolution // 8)
        return [
            "augment:",
            f"  crop: {crop}  # pixels to shift by",
            "  flip: true  # false where left and right matter",
        ]

    @property
    def stronger_lines(self) -> list[str]:
        """Lines on more augmentation, where images are so few that a network would learn them by heart."""
        images = self.images
        if images.total >= FEW_IMAGES or self.resolution < MIN_RESOLUTION:
            return []
        few, lines = f"{images.total:,} images are few", []
        if images.task in ANY_SHAPE:
            lines.append(f"randaugment: 1  # operations on each image, turns and colours among them: {few}")
        if images.sample.channels == 3:
            lines.append(f"jitter: 0.2  # of brightness, contrast and saturation: {few}; 0 where colours are the label")
        return lines

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace.model_validate(self.content)

    @property
    def content(self) -> dict[str, Any]:
        """The search space as it is written to its file."""
        size, count = self.size, stage_count(self.resolution)
        strides = [self.stride] if self.stride else stem_strides(self.resolution)[-size.strides :]
        mixers = {count - 2: ["ffn_attention", "pool"], count - 1: ["ffn_attention", "pool", "attention"]}
        stages = []
        for number in range(count):
            pixels = self.resolution // (strides[0] * 2**number)  # side of the stage's map, at most
            kernels = [kernel for kernel in (3, 5, 7) if kernel <= max(3, pixels)]
            depths, widths = size.depths[number - count], size.widths[number - count]
            stage: dict[str, Any] = {"depth": list(depths), "width": list(widths)}
            if number in mixers:
                stage["mixer"] = mixers[number]
            stage["token_kernel"] = kernels
            stage["channel_kernel"] = [kernel for kernel in kernels if kernel != 5] if number < count - 1 else [3]
            stages.append({**stage, "expansion": list(size.expansions)})
        content = self.around(strides, count)
        if size.per_block:
            content["per_block"] = list(size.per_block)
        return {**content, "stages": stages}

    def around(self, strides: Sequence[int], count: int) -> dict[str, Any]:
        """Input, stem of these strides and, of a task that has axes for it, the head of `count` stages."""
        task = task_outputs(self.images.task)
        images: dict[str, Any] = {
            "channels": self.images.sample.channels,
            "resolution": list(self.sides) if isinstance(self.sides, tuple) else self.resolution,
            task.outputs_word: len(self.images.classes),
        }
        content: dict[str, Any] = {"input": images, "stem": {"width": [self.size.stem], "stride": list(strides)}}
        if self.images.task != DEFAULT_TASK:
            images["task"] = self.images.task
        if task.head_choices.axes():
            content["head"] = {"width": list(HEAD_WIDTHS), "stride": self._head_strides(strides, count)}
        return content

    def _head_strides(self, stem: Sequence[int], count: int) -> list[int]:
        """The two finest strides that the stages have at every stride of the stem, with maps of enough pixels: a head
        that is too coarse limits the quality of every network (docs/log/tasks.md)."""
        common = sorted(set.intersection(*({stride * 2**number for number in range(count)} for stride in stem)))
        fine = [stride for stride in common if self.resolution // stride >= MIN_HEAD_SIDE]
        return fine[:2] or common[:1]

    @cached_property
    def median(self) -> Architecture:
        """A network of median MACs."""
        rng = random.Random(0)
        drawn = sorted((self.space.sample(rng) for _ in range(SAMPLED_NETWORKS)), key=lambda arch: arch.macs_m)
        return drawn[SAMPLED_NETWORKS // 2]

    @property
    def retrain_factor(self) -> float:
        """The factor of the epochs of a retraining that the median network has, as `export.retrain` does by default."""
        return min(LONGER, lengthening(self.median.macs_m, self.space.largest.macs_m))

    @property
    def step_macs(self) -> float:
        """Multiply-accumulates of the networks of a training step, for one image; rather too many."""
        space = self.space
        return 1e6 * (2 * space.largest.macs_m + 2 * space.smallest.macs_m)  # sampled ones lie between


@dataclass(frozen=True)
class PretrainedDraft(Draft):
    """A candidate that holds the network of an official checkpoint, and smaller ones inside it.

    No mixers but the network's: there are weights for none."""

    weights: str = field(kw_only=True)  # of the checkpoint, which training starts from

    @property
    def content(self) -> dict[str, Any]:
        network = Architecture.preset(OFFICIAL[self.weights], Input(self.images.sample.channels, self.resolution))
        stages = []
        for number, stage in enumerate(network.stages):
            block = stage.blocks[0]
            kernels = {"token_kernel": block.token_kernel, "channel_kernel": block.channel_kernel}
            stages.append(
                {
                    "depth": list(self.size.depths[number]),
                    "width": list(self.size.widths[number]),
                    **{name: sorted({3, kernel}) for name, kernel in kernels.items()},
                    "expansion": list(self.size.expansions),
                }
            )
        strides = [4] if self.resolution >= SMALL_RESOLUTION else [2, 4]
        return {**self.around(strides, len(stages)), "stages": stages}


def checkpoint_size(weights: str) -> Size:
    """The sizes of an official checkpoint's network and of smaller ones inside it, down to half its depth and width."""
    network = Architecture.preset(OFFICIAL[weights])
    depths = [tuple(sorted({-(-stage.depth // 2), -(-3 * stage.depth // 4), stage.depth})) for stage in network.stages]
    widths = [
        tuple(sorted({*(16 * round(share * stage.width / 16) for share in (0.5, 0.75)), stage.width}))
        for stage in network.stages
    ]
    return Size(weights, 0, network.stem.width, tuple(depths), tuple(widths), expansions=(2, 3))


def drafts(images: ImageSet, weights: str | None = None) -> list[Draft]:
    """The drafts for some images, from the one that uses every pixel to the cheapest; of an official checkpoint's
    network where `weights` names one."""
    fitting = [side for side in RESOLUTIONS if side <= min(images.sample.side, ENOUGH_RESOLUTION)] or [RESOLUTIONS[0]]
    resolutions = [side for side in fitting if side >= MIN_RESOLUTION] or fitting[-1:]
    if weights is not None:
        size = checkpoint_size(weights)
        pretrained = [PretrainedDraft(images, resolution, size, weights=weights) for resolution in resolutions]
        return sorted(pretrained, key=lambda draft: -draft.step_macs)
    sizes = [size for size in (TINY, SMALL, MEDIUM) if images.total >= size.least_images]
    candidates = [
        Draft(images, resolution, size, stride)
        for resolution in resolutions
        for size in sizes
        for stride in _fixed_strides(images, resolution)
    ]
    # Of two that cost about the same, the one with the higher resolution.
    return sorted(candidates, key=lambda draft: (-round(4 * math.log(draft.step_macs)), -draft.resolution))


def _fixed_strides(images: ImageSet, resolution: int) -> list[int | None]:
    """The stem strides for which separate drafts are made; None: the stride is a searched choice. A head with a stride
    reads the stages from that stride on, so a finer stem is a draft of its own, for longer runs."""
    if "stride" not in task_outputs(images.task).head_choices.axes():
        return [None]
    return [stride for stride in stem_strides(resolution, 16) if stride > 1 or resolution <= SMALL_RESOLUTION]
