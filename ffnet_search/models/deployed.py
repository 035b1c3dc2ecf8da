"""The deployed form: BN folded, branches merged, scales and skips multiplied in. What is timed, exported, shipped.

Left of the training form is the same function; the reference's own fused form still computes its last BN and its layer
scales, so ours has 2 x width + (layer scales) fewer parameters than that.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ffnet_search.models.metamixer import ChannelMixer, Merging, MetaMixer, MixerBlock, Residual
from ffnet_search.models.mixers import ConvNorm, affine, as_conv, folded
from ffnet_search.space.architecture import Architecture, Form, Input, Stage, Stem
from ffnet_search.space.architecture import Block as ArchitectureBlock
from ffnet_search.space.parts import MIXERS, Part


class Deployed(nn.Module):
    """A deployed network: `parts` correspond one to one to `arch.parts`. (B, channels, H, W) -> logits (B, classes)."""

    def __init__(self, arch: Architecture, parts: list[nn.Module]) -> None:
        super().__init__()
        self.arch = arch
        self.parts = nn.Sequential(*parts)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.parts(x_BCHW))


class DeployedResidual(nn.Module):
    """`x + main(x)`; the layer scale is inside main."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, x_BCHW + self.main(x_BCHW))


class Head(nn.Module):
    """Mean over the map, then a linear layer: (B, C, H, W) -> (B, classes)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.linear(x_BCHW.mean((2, 3))))


@torch.no_grad()
def fuse(net: MetaMixer) -> Deployed:
    """The deployed form of a stand-alone network, by its running statistics; `net` is left as it is.

    Raises ValueError for a supernet: slice it first.
    """
    if net.mixers is not None:
        raise ValueError("only a stand-alone network can be fused: call slice_to(arch) on the supernet first")
    arch = net.largest
    first, second = (folded(cast(ConvNorm, net.patch_embed[name])) for name in "02")
    strides = arch.stem.strides
    parts: list[nn.Module] = [
        nn.Sequential(as_conv(*first, stride=strides[0]), nn.GELU(), as_conv(*second, stride=strides[1]))
    ]
    for index, stage in enumerate(arch.stages):
        modules = list(cast(nn.ModuleList, net.stages[index]))
        if index:
            parts.append(_merging(cast(Merging, modules.pop(0)), arch.stages[index - 1].width))
        for module, block in zip(modules, stage.blocks, strict=True):
            parts += _block(cast(MixerBlock, module), block)
    parts.append(_head(net))
    return Deployed(arch, parts).train(False)


def _merging(merging: Merging, in_width: int) -> nn.Module:
    """The skip is an identity added to the leading entries of the 1 x 1, whose BN comes first: W (s x + b) + x."""
    weight, bias = folded(merging.proj[0])
    norm = cast(nn.ModuleDict, merging.proj[1].conv)
    scale, shift = affine(cast(nn.BatchNorm2d, norm["bn"]))
    mix = cast(nn.Conv2d, norm["c"]).weight[:, :, 0, 0]
    merged = mix * scale + torch.eye(*mix.shape, device=mix.device, dtype=mix.dtype)
    return nn.Sequential(
        as_conv(weight, bias, stride=2, groups=in_width), as_conv(merged[:, :, None, None], mix @ shift)
    )


def _block(module: MixerBlock, block: ArchitectureBlock) -> list[nn.Module]:
    token = cast(Residual, module.token_mixer[0])
    channel = module.channel_mixer
    main = cast(ChannelMixer, channel.main)
    width = main.fc1.in_channels
    channel_mixer = nn.Sequential(
        as_conv(*folded(main.conv), groups=width),
        as_conv(*folded(main.fc1)),
        nn.GELU(),
        as_conv(*folded(main.fc2), scale=channel.layer_scale),
    )
    token_mixer = cast(nn.Module, token.main.deploy(block.token_kernel, token.layer_scale))  # type: ignore[operator]
    return [DeployedResidual(token_mixer), DeployedResidual(channel_mixer)]


def _head(net: MetaMixer) -> nn.Module:
    """Mean and BN commute, so the last norm goes into the linear layer."""
    scale, shift = affine(net.norm)
    linear = nn.Linear(net.head.in_features, net.head.out_features, device="meta")
    linear.weight = nn.Parameter((net.head.weight * scale).detach())
    linear.bias = nn.Parameter((net.head.bias + net.head.weight @ shift).detach())
    return Head(linear)


def deployed(arch: Architecture) -> Deployed:
    """A deployed network with random weights, for timing: latency does not depend on them."""
    return fuse(MetaMixer(arch, Form(branches="none", layer_scale=None)).train(False))


def deployed_part(part: Part) -> nn.Module:
    """One part of a deployed network with random weights: what `deployed(arch).parts` holds for it.

    Input (B, in_width, resolution, resolution); the head pools it and gives (B, out_width).
    """
    arch, index = _smallest_with(part)
    return deployed(arch).parts[index]


def _smallest_with(part: Part) -> tuple[Architecture, int]:
    """A small architecture that contains `part`, and its position there."""
    w, side = part.in_width, part.resolution
    tiny, image = ArchitectureBlock("pool", 3, 3, 1), Input(1, side, 2)
    if part.kind == "stem":
        stages: tuple[Stage, ...] = (Stage(part.out_width, (tiny,)),)
        arch = Architecture(Stem(part.hidden, part.stride), stages, Input(w, side, 2))
    elif part.kind == "merging":
        stages = (Stage(w, (tiny,)), Stage(part.out_width, (tiny,), part.hidden // w))
        arch = Architecture(Stem(1, 1), stages, image)
    elif part.kind == "head":
        arch = Architecture(Stem(1, 1), (Stage(w, (tiny,)),), Input(1, side, part.out_width))
    elif part.kind == "token_mixer":
        block = ArchitectureBlock(part.mixer, part.kernel if MIXERS[part.mixer].has_kernel else 3, 3, 1)
        arch = Architecture(Stem(1, 1), (Stage(w, (block,)),), image)
    else:
        block = ArchitectureBlock("pool", 3, part.kernel, part.hidden // w)
        arch = Architecture(Stem(1, 1), (Stage(w, (block,)),), image)
    return arch, arch.parts.index(part)


__all__ = ["Deployed", "deployed", "deployed_part", "fuse"]
