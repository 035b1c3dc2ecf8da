"""The deployed form: BN folded, branches merged, scales and skips multiplied in. The form that is timed and exported.

It computes the same function as the training form. The reference's own fused form still computes its last BN and its
layer scales, so ours has 2 x width + (layer scales) fewer parameters than that.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Collection
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor, nn

from ffnet_search.models.device import device_of
from ffnet_search.models.layers import PLAIN
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.plugins import find_class
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import LateralPart, Part

AXES = ("batch", "channels", "height", "width")


class Deployed(nn.Module):
    """(B, channels, H, W) -> the task's output, logits (B, K) in classification. `parts`: as `arch.parts`."""

    def __init__(self, arch: Architecture, parts: list[nn.Module]) -> None:
        super().__init__()
        self.arch = arch
        self.parts = nn.Sequential(*parts)
        self.laterals = [index for index, part in enumerate(arch.parts) if isinstance(part, LateralPart)]
        self.reads_image = arch.parts[-1].reads_image

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The parts in a chain; laterals read its map beside it, and the parts after the last take their sum."""
        if self.reads_image:
            image_BCHW = x_BCHW
            for part in list(self.parts)[:-1]:
                x_BCHW = part(x_BCHW)
            return cast(Tensor, self.parts[-1](x_BCHW, image_BCHW))
        if not self.laterals:
            return cast(Tensor, self.parts(x_BCHW))
        sum_BCHW: Tensor | None = None
        for index, part in enumerate(self.parts):
            if index not in self.laterals:
                x_BCHW = part(x_BCHW)
                continue
            sum_BCHW = part(x_BCHW) if sum_BCHW is None else sum_BCHW + part(x_BCHW)
            if index == self.laterals[-1]:
                x_BCHW, sum_BCHW = sum_BCHW, None  # no map is named twice, so that its memory is free in time
        return x_BCHW


class Backbone(nn.Module):
    """A deployed network without its head, for detection and segmentation: (B, channels, H, W) of any size -> one map
    per stage, (B, widths[i], ~H / strides[i], ~W / strides[i]).

    Trainable, with BN folded. It shares its weights with `net`."""

    def __init__(self, net: Deployed) -> None:
        super().__init__()
        arch = net.arch
        self.widths = tuple(stage.width for stage in arch.stages)
        self.strides = tuple(arch.strides)
        chain = [part for index, part in enumerate(net.parts.named_children()) if index not in net.laterals]
        sizes = [1 + 2 * stage.depth for stage in arch.stages]  # the stem or a patch merging, two parts per block
        ends = accumulate(sizes, initial=0)
        self.stages = nn.ModuleList(nn.Sequential(OrderedDict(chain[start:end])) for start, end in pairwise(ends))

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return maps


@torch.no_grad()
def fuse(net: MetaMixer) -> Deployed:
    """The deployed form of a stand-alone network, by its running statistics; `net` is left as it is.

    Raises ValueError for a supernet: slice it first."""
    return Deployed(net.largest, net.deploy()).train(False)


def deployed(arch: Architecture) -> Deployed:
    """A deployed network with random weights, for timing: latency does not depend on them."""
    return fuse(MetaMixer(arch, PLAIN).train(False))


@torch.no_grad()
def deployed_part(part: Part) -> nn.Module:
    """One part of a deployed network with random weights: the module that `deployed(arch).parts` holds for it.

    Input (B, in_width, resolution, resolution)."""
    module: nn.Module = find_class(part.layer, "part").deployed_part(part)
    return module.train(False)


def write_onnx(
    net: nn.Module,
    input_shape: tuple[int, ...],
    target: Path | BinaryIO,
    *,
    opset: int = 17,
    dynamic: Collection[int] = (),
    output: str = "logits",
) -> None:
    """Write a deployed `net` as ONNX for inputs (B, C, H, W), named `images`; its output is named `output`.

    `dynamic`: the dimensions, of 0 to 3, that may have another size in the written model. By the tracing exporter,
    which is deprecated: it takes a tenth of the time of the other one for the same optimised graph (both were timed on
    these networks)."""
    example = torch.zeros(input_shape, device=device_of(net))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            str(target) if isinstance(target, Path) else target,  # type: ignore[arg-type]  # it takes any file
            opset_version=opset,
            input_names=["images"],
            output_names=[output],
            dynamic_axes={
                "images": {dim: AXES[dim] for dim in dynamic},
                output: {dim: f"output_{AXES[dim]}" if dim else AXES[dim] for dim in dynamic},
            },
            dynamo=False,
        )
