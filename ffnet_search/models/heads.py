"""Heads: from the maps of a MetaMixer's stages to the output of its task.

A head is a module constructed as `Head(largest, form, stages)`, which a task names by import path. `stages` are the
indices, from 0 on, of the stages whose maps any of its sub-networks reads; that of the last stage comes normalised. It
is elastic: it crops its weights to the channels of the maps. `deploy(norm)` gives the modules of its parts, with the
last norm folded.
Shape keys: B batch, C channels, H and W pixels, K outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import DenseConv2d, Norm, Unnormalised, absorbed, as_conv, dense, folded
from ffnet_search.models.layers import ChannelMixer, Residual
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.parts import (
    MIXER_EXPANSION,
    MIXER_KERNEL,
    LateralPart,
    MaskPart,
    Part,
    PooledLinearPart,
    UpsamplePart,
)
from ffnet_search.space.sides import height_and_width

IMAGE = -1  # the place of the image among the maps of the stages


class Head(nn.Module):
    """The base of heads. `reads_image`: beside the maps, it is given the image itself, under `IMAGE`."""

    reads_image: ClassVar[bool] = False

    @abstractmethod
    def forward(self, maps: Mapping[int, Tensor], arch: Architecture) -> Tensor:
        """The output of the sub-network `arch` for the maps (B, C, H, W) of the stages that its head reads."""

    def standardised(self, value_B: Tensor) -> Tensor:
        """Outputs or targets in the units of the loss: unchanged, except in a head that standardises."""
        return value_B

    def deploy_laterals(self, norm: Norm) -> Mapping[int, nn.Module]:
        """The modules of `Architecture.laterals`, of a stand-alone network."""
        return {}

    @abstractmethod
    def deploy(self, norm: Norm) -> list[nn.Module]:
        """The modules of the parts after the last stage, of a stand-alone network."""


class PooledLinear(Head, nn.Linear):
    """The mean over the last map, then a linear layer: (B, C, H, W) -> (B, K). Names are the reference's."""

    def __init__(self, largest: Architecture, form: Form, stages: Sequence[int]) -> None:
        nn.Linear.__init__(self, largest.stages[-1].width, largest.input.outputs)

    def forward(self, maps: Mapping[int, Tensor], arch: Architecture) -> Tensor:  # type: ignore[override]
        mean_BC = maps[len(arch.stages) - 1].mean((2, 3))
        return F.linear(mean_BC, self.weight[:, : mean_BC.shape[1]], self.bias)

    def deploy(self, norm: Norm) -> list[nn.Module]:
        """Mean and norm commute, so the norm goes into the linear layer."""
        weight, bias = absorbed(norm, self.weight, self.bias)
        linear = nn.Linear(self.in_features, self.out_features, device="meta")
        linear.weight = nn.Parameter(weight.detach().clone())
        linear.bias = nn.Parameter(bias.detach().clone())
        return [DeployedPooledLinear(linear)]

    @classmethod
    def deployed_part(cls, part: PooledLinearPart) -> nn.Module:
        return DeployedPooledLinear(nn.Linear(part.in_width, part.out_width))


class StandardisedLinear(PooledLinear):
    """`PooledLinear` for targets in their own units: the linear layer predicts standardised values, and two buffers,
    the mean and the standard deviation of the training targets, convert them back. The deployed form is a plain linear
    layer."""

    mean_K: Tensor
    spread_K: Tensor

    def __init__(self, largest: Architecture, form: Form, stages: Sequence[int]) -> None:
        super().__init__(largest, form, stages)
        self.register_buffer("mean_K", torch.zeros(largest.input.outputs))
        self.register_buffer("spread_K", torch.ones(largest.input.outputs))

    @torch.no_grad()
    def set_targets(self, mean_K: Tensor, spread_K: Tensor) -> None:
        """Take the mean and the spread (a standard deviation > 0) of the training targets."""
        self.mean_K.copy_(mean_K)
        self.spread_K.copy_(spread_K)

    def forward(self, maps: Mapping[int, Tensor], arch: Architecture) -> Tensor:  # type: ignore[override]
        return super().forward(maps, arch) * self.spread_K + self.mean_K

    def standardised(self, value_B: Tensor) -> Tensor:
        return (value_B - self.mean_K) / self.spread_K

    def deploy(self, norm: Norm) -> list[nn.Module]:
        [module] = super().deploy(norm)
        linear = cast(DeployedPooledLinear, module).linear
        linear.weight = nn.Parameter(linear.weight * self.spread_K[:, None])
        linear.bias = nn.Parameter(linear.bias * self.spread_K + self.mean_K)
        return [module]


class DeployedPooledLinear(nn.Module):
    """The mean over a map, then a linear layer: (B, C, H, W) -> (B, K)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.linear(x_BCHW.mean((2, 3))))


class SummedLaterals(Head):
    """A map per class: 1 x 1 + BN of each stage to the head's width, enlarged and summed at the finest of them, one
    channel mixer, 1 x 1 to the classes. (B, K, H, W) at the head's stride.

    `deploy` adds the end that the head of the architecture names: logits at the image's size, or labels."""

    def __init__(self, largest: Architecture, form: Form, stages: Sequence[int]) -> None:
        super().__init__()
        width = cast(int, largest.head.width)  # type: ignore[attr-defined]
        self.largest = largest
        self.laterals = nn.ModuleDict(
            {str(index): dense(largest.stages[index].width, width, 1, form) for index in stages}
        )
        mixer = ChannelMixer(width, MIXER_KERNEL, MIXER_EXPANSION * width, form)
        self.mixer = Residual(mixer, width, form)
        self.classify = DenseConv2d(width, largest.input.outputs, 1)

    def forward(self, maps: Mapping[int, Tensor], arch: Architecture) -> Tensor:
        width = cast(int, arch.head.width)  # type: ignore[attr-defined]
        sum_BCHW: Tensor | None = None
        for index, map_BCHW in maps.items():  # the finest first
            lateral_BCHW = self.laterals[str(index)](map_BCHW, width)
            sum_BCHW = lateral_BCHW if sum_BCHW is None else sum_BCHW + enlarged(lateral_BCHW, sum_BCHW.shape[-2:])
        assert sum_BCHW is not None
        return cast(Tensor, self.classify(self.mixer(sum_BCHW, MIXER_KERNEL, MIXER_EXPANSION * width)))

    def deploy_laterals(self, norm: Norm) -> Mapping[int, nn.Module]:
        """The last norm goes into the last lateral: W (s x + b) + c = (W s) x + (W b + c)."""
        modules, last = {}, len(self.largest.stages) - 1
        for index, part in self.largest.laterals.items():
            weight, bias = folded(self.laterals[str(index)])
            if index == last:
                matrix, bias = absorbed(norm, weight[:, :, 0, 0], bias)
                weight = matrix[:, :, None, None]
            modules[index] = DeployedLateral(as_conv(weight, bias), part)
        return modules

    def deploy(self, norm: Norm) -> list[nn.Module]:
        [part] = (part for part in self.largest.parts if isinstance(part, MaskPart))
        return [self.mixer.deploy(MIXER_KERNEL), DeployedMask(as_conv(*folded(self.classify)), part)]

    @classmethod
    def deployed_part(cls, part: Part) -> nn.Module:
        conv = nn.Conv2d(part.in_width, part.out_width, 1)
        if isinstance(part, LateralPart):
            lateral = DeployedLateral(conv, part)
            return lateral if part.scale == 1 else nn.Sequential(lateral, Added(part))
        assert isinstance(part, MaskPart)
        return DeployedMask(conv, part)


class DeployedLateral(nn.Module):
    """1 x 1, then enlarged to the head's side: (B, C, H, W) -> (B, C', H', W')."""

    def __init__(self, conv: nn.Conv2d, part: LateralPart) -> None:
        super().__init__()
        self.conv = conv
        self.size = height_and_width(part.side) if part.scale > 1 else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.conv(x_BCHW)
        return enlarged(y_BCHW, self.size) if self.size else y_BCHW


class Added(nn.Module):
    """Adds a random map in place of the running sum, for timing a lateral alone."""

    def __init__(self, part: LateralPart) -> None:
        super().__init__()
        self.sum_1CHW = nn.Buffer(torch.randn(1, part.out_width, *height_and_width(part.side)))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.sum_1CHW


class DeployedMask(nn.Module):
    """1 x 1 to the classes, then logits float32 (B, K, H', W'), enlarged, or labels int32 (B, H, W)."""

    def __init__(self, conv: nn.Conv2d, part: MaskPart) -> None:
        super().__init__()
        self.conv = conv
        self.size = height_and_width(part.side) if part.side else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BKHW: Tensor = self.conv(x_BCHW)
        return enlarged(y_BKHW, self.size) if self.size else y_BKHW.argmax(1).to(torch.int32)


class PixelShuffle(Head):
    """A photo `scale` times as large: 3 x 3 to scale^2 values for each channel and pixel, which become its pixels,
    added to the image enlarged by repetition. (B, C, H, W) -> (B, channels, scale H, scale W).

    A norm before a padded 3 x 3 convolution cannot be folded into it, so it needs the form "bare"."""

    reads_image = True

    def __init__(self, largest: Architecture, form: Form, stages: Sequence[int]) -> None:
        super().__init__()
        self.scale = largest.input.outputs
        self.conv = DenseConv2d(largest.stages[-1].width, largest.input.channels * self.scale**2, 3)

    def forward(self, maps: Mapping[int, Tensor], arch: Architecture) -> Tensor:
        values_BCHW = self.conv(maps[len(arch.stages) - 1])
        return F.pixel_shuffle(values_BCHW, self.scale) + repeated(maps[IMAGE], self.scale)

    def deploy(self, norm: Norm) -> list[nn.Module]:
        if not isinstance(norm, Unnormalised):
            raise ValueError("a head that shuffles pixels must be of the form 'bare' to be deployed")
        return [DeployedPixelShuffle(as_conv(*folded(self.conv)), self.scale)]

    @classmethod
    def deployed_part(cls, part: UpsamplePart) -> nn.Module:
        conv = nn.Conv2d(part.in_width, part.out_width * part.scale**2, 3, padding=1)
        return ImageOfMap(DeployedPixelShuffle(conv, part.scale), part.out_width)


class DeployedPixelShuffle(nn.Module):
    """A map and the image -> the photo `scale` times as large."""

    def __init__(self, conv: nn.Conv2d, scale: int) -> None:
        super().__init__()
        self.conv, self.scale = conv, scale

    def forward(self, x_BCHW: Tensor, image_BCHW: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x_BCHW), self.scale) + repeated(image_BCHW, self.scale)


class ImageOfMap(nn.Module):
    """Runs the end of a network with the first channel of its map, repeated, as the image: for timing it alone."""

    def __init__(self, end: nn.Module, channels: int) -> None:
        super().__init__()
        self.end, self.channels = end, channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        image_BCHW = x_BCHW[:, :1].expand(-1, self.channels, -1, -1)
        return cast(Tensor, self.end(x_BCHW, image_BCHW))


def repeated(x_BCHW: Tensor, scale: int) -> Tensor:
    """The map, `scale` times as large in each direction, by repetition."""
    return F.interpolate(x_BCHW, scale_factor=float(scale), mode="nearest")


def enlarged(x_BCHW: Tensor, size: Any) -> Tensor:
    """`x_BCHW`, bilinear, at another size; the same where it has that size already."""
    if tuple(x_BCHW.shape[-2:]) == tuple(size):
        return x_BCHW
    return F.interpolate(x_BCHW, size=tuple(size), mode="bilinear", align_corners=False)
