"""The layers of a MetaMixer, elastic in training.

`deploy` gives the deployed form of a layer at its largest size: norms folded, branches merged. `deployed_part` makes
one part of a deployed network with random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import DenseConv2d, Norm, absorbed, as_conv, dense, depthwise, folded, make_norm
from ffnet_search.models.mixers import make_mixer
from ffnet_search.space.architecture import Form
from ffnet_search.space.block import Block
from ffnet_search.space.parts import MERGE_KERNEL, STEM_STRIDES, ChannelMixerPart, MergingPart, StemPart, TokenMixerPart

PLAIN = Form(branches="bare", layer_scale=None)  # of networks that are made to be deployed


class PatchEmbedding(nn.ModuleDict):
    """The stem: two 3 x 3 convolutions + BN, GELU between them; a single one if `hidden` is 0.

    Names are those of the reference's state dict."""

    def __init__(self, channels: int, hidden: int, width: int, form: Form) -> None:
        if not hidden:
            super().__init__({"0": dense(channels, width, 3, form)})
            return
        super().__init__({"0": dense(channels, hidden, 3, form), "2": dense(hidden, width, 3, form)})

    def forward(self, x_BCHW: Tensor, hidden: int, width: int, strides: tuple[int, int]) -> Tensor:
        if not hidden:
            return cast(Tensor, self["0"](x_BCHW, width))
        hidden_BCHW = F.gelu(self["0"](x_BCHW, hidden, strides[0]))
        return cast(Tensor, self["2"](hidden_BCHW, width, strides[1]))

    def deploy(self, strides: tuple[int, int]) -> nn.Module:
        if "2" not in self:
            return as_conv(*folded(self["0"]))
        first, second = folded(self["0"]), folded(self["2"])
        return nn.Sequential(as_conv(*first, stride=strides[0]), nn.GELU(), as_conv(*second, stride=strides[1]))

    @classmethod
    def deployed_part(cls, part: StemPart) -> nn.Module:
        return cls(part.in_width, part.hidden, part.out_width, PLAIN).deploy(STEM_STRIDES[part.stride])


class ChannelMixer(nn.Module):
    """ConvNeXt-like FFN: depthwise k x k + BN -> 1 x 1 to `hidden` -> GELU -> 1 x 1 (paper, section 3.2)."""

    def __init__(self, width: int, kernel: int, hidden: int, form: Form) -> None:
        super().__init__()
        self.conv = depthwise(width, kernel, form)
        self.fc1 = DenseConv2d(width, hidden, 1)
        self.fc2 = DenseConv2d(hidden, width, 1)

    def forward(self, x_BCHW: Tensor, kernel: int, hidden: int) -> Tensor:
        hidden_BHW = F.gelu(self.fc1(self.conv(x_BCHW, kernel), hidden))
        return cast(Tensor, self.fc2(hidden_BHW, x_BCHW.shape[1]))

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        return nn.Sequential(
            as_conv(*folded(self.conv), groups=self.fc1.in_channels),
            as_conv(*folded(self.fc1)),
            nn.GELU(),
            as_conv(*folded(self.fc2), scale=layer_scale),
        )

    @classmethod
    def deployed_part(cls, part: ChannelMixerPart) -> nn.Module:
        main = cls(part.in_width, part.kernel, part.hidden, PLAIN)
        return Residual(main, part.in_width, PLAIN).deploy(part.kernel)


class Residual(nn.Module):
    """`x + layer_scale * main(x)`, the branch dropped per sample with probability `drop` (stochastic depth)."""

    def __init__(self, main: nn.Module, width: int, form: Form) -> None:
        super().__init__()
        self.main = main
        scale = form.layer_scale
        self.layer_scale = None if scale is None else nn.Parameter(torch.full((width, 1, 1), scale))

    def forward(self, x_BCHW: Tensor, *sizes: int, drop: float = 0.0) -> Tensor:
        y_BCHW = self.main(x_BCHW, *sizes)
        if self.layer_scale is not None:
            y_BCHW = y_BCHW * self.layer_scale[: x_BCHW.shape[1]]
        if drop and self.training:
            kept_B111 = torch.rand(len(x_BCHW), 1, 1, 1, device=x_BCHW.device) >= drop
            y_BCHW = y_BCHW * (kept_B111 / (1 - drop))
        return x_BCHW + y_BCHW

    def deploy(self, kernel: int) -> nn.Module:
        return DeployedResidual(self.main.deploy(kernel, self.layer_scale))  # type: ignore[operator]


class DeployedResidual(nn.Module):
    """`x + main(x)`."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, x_BCHW + self.main(x_BCHW))


class MixerBlock(nn.Module):
    """A token mixer, one of `mixers`, which the slot offers, then a channel mixer."""

    def __init__(self, width: int, largest: Block, mixers: Sequence[str], form: Form) -> None:
        super().__init__()
        self.mixers = tuple(mixers)
        self.token_mixer = nn.ModuleList(
            Residual(make_mixer(name, width, largest.token_kernel, form), width, form) for name in mixers
        )
        channel_mixer = ChannelMixer(width, largest.channel_kernel, largest.expansion * width, form)
        self.channel_mixer = Residual(channel_mixer, width, form)

    def forward(self, x_BCHW: Tensor, block: Block, drop: float) -> Tensor:
        token_mixer = self.token_mixer[self.mixers.index(block.mixer)]
        x_BCHW = token_mixer(x_BCHW, block.token_kernel, drop=drop)
        hidden = block.expansion * x_BCHW.shape[1]
        return cast(Tensor, self.channel_mixer(x_BCHW, block.channel_kernel, hidden, drop=drop))

    def deploy(self, block: Block) -> list[nn.Module]:
        """The two parts of a stand-alone network's block."""
        token_mixer = cast(Residual, self.token_mixer[0])
        return [token_mixer.deploy(block.token_kernel), self.channel_mixer.deploy(block.channel_kernel)]

    @classmethod
    def deployed_part(cls, part: TokenMixerPart) -> nn.Module:
        main = make_mixer(part.mixer, part.in_width, part.kernel, PLAIN)
        return Residual(main, part.in_width, PLAIN).deploy(part.kernel)


class NormConv(nn.Module):
    """BN, then a 1 x 1 convolution, plus the leading channels that both sides have (reference: Conv2d_BN_skip)."""

    def __init__(self, in_width: int, out_width: int, form: Form) -> None:
        super().__init__()
        norm, conv = make_norm(in_width, form), DenseConv2d(in_width, out_width, 1, bias=False)
        self.conv = nn.ModuleDict({"bn": norm, "c": conv})

    def forward(self, x_BCHW: Tensor, out: int) -> Tensor:
        y_BCHW = self.conv["c"](self.conv["bn"](x_BCHW), out)
        shared = min(out, x_BCHW.shape[1])
        if shared == out == x_BCHW.shape[1]:
            return cast(Tensor, y_BCHW + x_BCHW)
        return cast(Tensor, y_BCHW + F.pad(x_BCHW[:, :shared], (0, 0, 0, 0, 0, out - shared)))


class Merging(nn.Module):
    """Patch merging: depthwise 7 x 7 of stride 2 with `multiplier` outputs per channel, then `NormConv`.

    At out = multiplier x in it is the reference's; other widths make the 1 x 1 rectangular."""

    def __init__(self, in_width: int, out_width: int, multiplier: int, form: Form) -> None:
        super().__init__()
        self.in_width = in_width
        spread = depthwise(in_width, MERGE_KERNEL, form, multiplier=multiplier, stride=2)
        self.proj = nn.ModuleList([spread, NormConv(in_width * multiplier, out_width, form)])

    def forward(self, x_BCHW: Tensor, out: int) -> Tensor:
        return cast(Tensor, self.proj[1](self.proj[0](x_BCHW, MERGE_KERNEL), out))

    def deploy(self) -> nn.Module:
        """Two convolutions. The skip is an identity added to the leading entries of the 1 x 1, whose norm comes first:
        W (s x + b) + x."""
        weight, bias = folded(self.proj[0])
        norm = cast(nn.ModuleDict, self.proj[1].conv)
        mix = cast(nn.Conv2d, norm["c"]).weight[:, :, 0, 0]
        mix, shift = absorbed(cast(Norm, norm["bn"]), mix, mix.new_zeros(len(mix)))
        merged = mix + torch.eye(*mix.shape, device=mix.device, dtype=mix.dtype)
        return nn.Sequential(
            as_conv(weight, bias, stride=2, groups=self.in_width), as_conv(merged[:, :, None, None], shift)
        )

    @classmethod
    def deployed_part(cls, part: MergingPart) -> nn.Module:
        return cls(part.in_width, part.out_width, part.hidden // part.in_width, PLAIN).deploy()
