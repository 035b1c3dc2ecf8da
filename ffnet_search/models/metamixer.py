"""MetaMixer with shared weights: `net(x, arch)` runs any sub-network, `slice_to(arch)` copies it out.

The architecture is an argument, never a state. A stand-alone FFNet is a MetaMixer whose largest architecture is
itself; its state dict then has the keys of the reference implementation (models/ffnet.py). Left out on purpose:
squeeze-excitation, pre-norm and ReLU, which no published FFNet uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import (
    DenseConv2d,
    DepthwiseConv2d,
    ElasticBatchNorm2d,
    ElasticLinear,
    PointwiseConv2d,
    crop,
)
from ffnet_search.models.mixers import Branches, ConvNorm, depthwise, make_mixer
from ffnet_search.space.architecture import Architecture, Block, Form, Stage
from ffnet_search.space.parts import MERGE_KERNEL, MIXERS
from ffnet_search.space.search_space import SearchSpace


class ChannelMixer(nn.Module):
    """ConvNeXt-like FFN: depthwise k x k + BN -> 1 x 1 to `hidden` -> GELU -> 1 x 1 (paper, section 3.2)."""

    def __init__(self, width: int, kernel: int, hidden: int, form: Form) -> None:
        super().__init__()
        self.conv = depthwise(width, kernel, form, norm_at_3=True)
        self.fc1 = PointwiseConv2d(width, hidden)
        self.fc2 = PointwiseConv2d(hidden, width)

    def forward(self, x_BCHW: Tensor, kernel: int, hidden: int) -> Tensor:
        hidden_BHW = F.gelu(self.fc1(self.conv(x_BCHW, kernel), hidden))
        return cast(Tensor, self.fc2(hidden_BHW, x_BCHW.shape[1]))


class Residual(nn.Module):
    """`x + layer_scale * main(x)`, the branch dropped per sample with probability `drop` (stochastic depth)."""

    def __init__(self, main: nn.Module, width: int, form: Form) -> None:
        super().__init__()
        self.main = main
        initial = form.layer_scale
        self.layer_scale = None if initial is None else nn.Parameter(torch.full((width, 1, 1), initial))

    def forward(self, x_BCHW: Tensor, *sizes: int, drop: float = 0.0) -> Tensor:
        y_BCHW = self.main(x_BCHW, *sizes)
        if self.layer_scale is not None:
            y_BCHW = y_BCHW * self.layer_scale[: x_BCHW.shape[1]]
        if drop and self.training:
            kept_B111 = torch.rand(len(x_BCHW), 1, 1, 1, device=x_BCHW.device) >= drop
            y_BCHW = y_BCHW * (kept_B111 / (1 - drop))
        return x_BCHW + y_BCHW


class MixerBlock(nn.Module):
    """A token mixer, one of those that the slot offers, then a channel mixer."""

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


class NormConv(nn.Module):
    """BN, then a 1 x 1 convolution, plus the leading channels that both sides have (reference: Conv2d_BN_skip)."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.ModuleDict(
            {"bn": ElasticBatchNorm2d(in_width), "c": PointwiseConv2d(in_width, out_width, bias=False)}
        )

    def forward(self, x_BCHW: Tensor, out: int) -> Tensor:
        y_BCHW = self.conv["c"](self.conv["bn"](x_BCHW), out)
        shared = min(out, x_BCHW.shape[1])
        if shared == out == x_BCHW.shape[1]:
            return cast(Tensor, y_BCHW + x_BCHW)
        return cast(Tensor, y_BCHW + F.pad(x_BCHW[:, :shared], (0, 0, 0, 0, 0, out - shared)))


class Merging(nn.Module):
    """Patch merging: depthwise 7 x 7 of stride 2 with `multiplier` outputs per channel, then `NormConv`.

    At out = multiplier x in it is the reference's; other widths make the 1 x 1 rectangular.
    """

    def __init__(self, in_width: int, out_width: int, multiplier: int, form: Form) -> None:
        super().__init__()
        spread: nn.Module
        if form.branches == "none":
            spread = ConvNorm(DepthwiseConv2d(in_width, MERGE_KERNEL, multiplier, 2))
        else:
            spread = Branches(in_width, MERGE_KERNEL, multiplier, 2)
        self.proj = nn.ModuleList([spread, NormConv(in_width * multiplier, out_width)])

    def forward(self, x_BCHW: Tensor, out: int) -> Tensor:
        return cast(Tensor, self.proj[1](self.proj[0](x_BCHW, MERGE_KERNEL), out))


class MetaMixer(nn.Module):
    """The network, with weights for `largest` and everything inside it.

    `mixers`: the names that each stage offers, by default those of `largest`. `tracking`: whether BN keeps running
    statistics while it trains, as a stand-alone network should and a supernet must not.

    >>> net = MetaMixer.for_space(space)  # doctest: +SKIP
    >>> logits_BK = net(x_BCHW, space.smallest)  # doctest: +SKIP
    """

    def __init__(
        self,
        largest: Architecture,
        form: Form = Form(),
        mixers: Sequence[Sequence[str]] | None = None,
        *,
        tracking: bool = True,
    ) -> None:
        super().__init__()
        self.largest, self.form = largest, form
        self.mixers = None if mixers is None else tuple(tuple(names) for names in mixers)
        self.patch_embed = nn.ModuleDict(
            {
                "0": ConvNorm(DenseConv2d(largest.input.channels, largest.stem.width)),
                "2": ConvNorm(DenseConv2d(largest.stem.width, largest.stages[0].width)),
            }
        )
        self.stages = nn.ModuleList(self._stage(index) for index in range(len(largest.stages)))
        self.norm = ElasticBatchNorm2d(largest.stages[-1].width)
        self.head = ElasticLinear(largest.stages[-1].width, largest.input.classes)
        self.apply(_initialise)
        for module in self.modules():
            if isinstance(module, ElasticBatchNorm2d):
                module.tracking = tracking

    @classmethod
    def for_space(cls, space: SearchSpace, form: Form = Form(branches="none")) -> MetaMixer:
        """The supernet of a search space."""
        return cls(space.largest, form, [stage.mixer for stage in space.stages], tracking=False)

    def _stage(self, index: int) -> nn.ModuleList:
        stage = self.largest.stages[index]
        modules: list[nn.Module] = []
        if index:
            before = self.largest.stages[index - 1].width
            modules.append(Merging(before, stage.width, stage.multiplier, self.form))
        for block in stage.blocks:
            names = (block.mixer,) if self.mixers is None else self.mixers[index]
            modules.append(MixerBlock(stage.width, block, names, self.form))
        return nn.ModuleList(modules)

    def forward(self, x_BCHW: Tensor, arch: Architecture | None = None, drop_path: float = 0.0) -> Tensor:
        """Logits (B, classes) of the sub-network `arch` (default: the largest) for images (B, channels, H, W).

        `drop_path` is the rate of the last block; it rises linearly from 0 at the first, as in the reference.
        """
        arch = arch or self.largest
        first, second = arch.stem.strides
        x_BCHW = F.gelu(self._embed("0", x_BCHW, arch.stem.width, first))
        x_BCHW = self._embed("2", x_BCHW, arch.stages[0].width, second)
        blocks = sum(stage.depth for stage in arch.stages)
        rates = iter([drop_path * index / max(1, blocks - 1) for index in range(blocks)])
        for index, stage in enumerate(arch.stages):
            modules = iter(cast(nn.ModuleList, self.stages[index]))
            if index:
                x_BCHW = next(modules)(x_BCHW, stage.width)
            for block in stage.blocks:
                x_BCHW = next(modules)(x_BCHW, block, next(rates))
        return cast(Tensor, self.head(self.norm(x_BCHW).mean((2, 3))))

    def _embed(self, name: str, x_BCHW: Tensor, out: int, stride: int) -> Tensor:
        embed = cast(ConvNorm, self.patch_embed[name])
        return cast(Tensor, embed(x_BCHW, out, stride))

    def slice_to(self, arch: Architecture) -> MetaMixer:
        """A stand-alone copy of the sub-network `arch`, in the same mode. Raises ValueError where `arch` is no crop."""
        self.check(arch)
        with torch.device("meta"):
            net = MetaMixer(arch, self.form)
        source = self.state_dict()
        state = {
            name: crop(source[self.name_here(name, arch)], tuple(tensor.shape))
            .detach()
            .clone(memory_format=torch.contiguous_format)
            for name, tensor in net.state_dict().items()
        }
        net.load_state_dict(state, assign=True)
        for parameter in net.parameters():
            parameter.requires_grad_(True)
        return net.train(self.training)

    def name_here(self, name: str, arch: Architecture) -> str:
        """The name in this network of a tensor or module of a stand-alone `arch`, whose slots hold one mixer each."""
        words = name.split(".")
        if words[0] == "stages" and words[3:4] == ["token_mixer"] and len(words) > 4:
            stage, position = int(words[1]), int(words[2])
            block = cast(MixerBlock, self.stages[stage][position])  # type: ignore[index]
            mixer = arch.stages[stage].blocks[position - (stage > 0)].mixer
            words[4] = str(block.mixers.index(mixer))
        return ".".join(words)

    def check(self, arch: Architecture) -> None:
        """Raises ValueError, naming the first place, where `arch` is not a sub-network of this one."""
        big = self.largest
        if arch.input != big.input or len(arch.stages) != len(big.stages) or arch.stem.width > big.stem.width:
            raise ValueError(f"the input, the stem and the number of stages must fit {big}, but got {arch}")
        for index, (stage, bound) in enumerate(zip(arch.stages, big.stages, strict=True)):
            offered = [self.mixers[index] if self.mixers else (block.mixer,) for block in bound.blocks]
            if not _fits(stage, bound, offered):
                raise ValueError(f"stage {index + 1} must fit inside that of {big}, but got {arch}")


def _fits(stage: Stage, bound: Stage, offered: Sequence[Sequence[str]]) -> bool:
    if stage.width > bound.width or stage.depth > bound.depth or stage.multiplier != bound.multiplier:
        return False
    return all(
        block.mixer in names
        and (block.token_kernel <= largest.token_kernel or not MIXERS[largest.mixer].has_kernel)
        and block.channel_kernel <= largest.channel_kernel
        and block.expansion <= largest.expansion
        for block, largest, names in zip(stage.blocks, bound.blocks, offered, strict=False)
    )


def _initialise(module: nn.Module) -> None:
    """As the reference: truncated normal of deviation 0.02 for all weights, biases 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
