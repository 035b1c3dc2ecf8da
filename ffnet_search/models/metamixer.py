"""MetaMixer with shared weights: `net(x, arch)` runs any sub-network, `slice_to(arch)` copies it out.

The architecture is an argument, never a state. A stand-alone FFNet is a MetaMixer whose largest architecture is
itself; its state dict then has the keys of the reference implementation (models/ffnet.py). Left out on purpose:
squeeze-excitation, pre-norm and ReLU, which no published FFNet uses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ffnet_search.models.device import in_training_layout
from ffnet_search.models.elastic import ElasticBatchNorm2d, crop, make_norm
from ffnet_search.models.heads import IMAGE, Head
from ffnet_search.models.layers import Merging, MixerBlock, PatchEmbedding, Residual
from ffnet_search.plugins import find_class
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.block import BLOCK_AXES
from ffnet_search.space.registry import task_outputs
from ffnet_search.space.search_space import SearchSpace

# Factors of initial weights in `_initialise_for_details`, chosen by experiment (docs/log/tasks.md).
DETAIL_GAIN = 17.0  # stem: 1 / the standard deviation of pixels around the mean of their 3 x 3 neighbours, in photos
BRANCH_GAIN = 0.3  # last convolution of each residual branch
HEAD_GAIN = 0.1  # convolutions of the head


class MetaMixer(nn.Module):
    """The network, with weights for `largest` and everything inside it.

    `mixers`: the names that each stage of a supernet offers; None for a stand-alone network, which has those of
    `largest`. BN keeps running statistics while a stand-alone network trains, and none in a supernet."""

    def __init__(
        self, largest: Architecture, form: Form = Form(), mixers: Sequence[Sequence[str]] | None = None
    ) -> None:
        super().__init__()
        self.largest, self.form, self.is_supernet = largest, form, mixers is not None
        widths = [stage.width for stage in largest.stages]
        self.patch_embed = PatchEmbedding(largest.input.channels, largest.stem.width, widths[0], form)
        offered = mixers or [()] * len(widths)
        self.stages = nn.ModuleList(self._stage(index, names) for index, names in enumerate(offered))
        self.norm = make_norm(widths[-1], form)
        head = find_class(task_outputs(largest.input.task).head, "head", Head)
        read = range(len(widths)) if self.is_supernet else stages_read(largest)  # which ones depends on the strides
        self.head: Head = head(largest, form, read)
        if form.branches != "bare":
            self.apply(_initialise)
        elif self.head.reads_image:  # others have torch's own weights then
            _initialise_for_details(self)
        for module in self.modules():
            if isinstance(module, ElasticBatchNorm2d):
                module.tracking = not self.is_supernet

    @classmethod
    def for_space(cls, space: SearchSpace, form: Form = Form(branches="none")) -> MetaMixer:
        """The supernet of a search space."""
        return cls(space.largest, form, [[str(name) for name in stage.choices("mixer")] for stage in space.stages])

    def _stage(self, index: int, mixers: Sequence[str]) -> nn.ModuleList:
        stage = self.largest.stages[index]
        modules: list[nn.Module] = []
        if index:
            before = self.largest.stages[index - 1].width
            modules.append(Merging(before, stage.width, stage.multiplier, self.form))
        modules += [MixerBlock(stage.width, block, mixers or (block.mixer,), self.form) for block in stage.blocks]
        return nn.ModuleList(modules)

    def forward(self, x_BCHW: Tensor, arch: Architecture | None = None, drop_path: float = 0.0) -> Tensor:
        """The output of the sub-network `arch` (default: the largest) for images (B, channels, H, W): logits (B, K) in
        classification, at the head's stride in dense tasks.

        `drop_path` is the rate of the last block; it rises linearly from 0 at the first, as in the reference."""
        trained = arch is None and torch.is_grad_enabled()
        arch = arch or self.largest
        if x_BCHW.is_cuda:  # elsewhere in the layout that they come in
            x_BCHW = in_training_layout(x_BCHW, 1e6 * arch.macs_m * len(x_BCHW) if trained else 0)
        image_BCHW = x_BCHW
        x_BCHW = self.patch_embed(x_BCHW, arch.stem.width, arch.stages[0].width, arch.stem.strides)
        blocks = sum(stage.depth for stage in arch.stages)
        rates = iter([drop_path * index / max(1, blocks - 1) for index in range(blocks)])
        maps = {IMAGE: image_BCHW} if self.head.reads_image else {}
        read, last = stages_read(arch), len(arch.stages) - 1
        for index, stage in enumerate(arch.stages):
            modules = iter(cast(nn.ModuleList, self.stages[index]))
            if index:
                x_BCHW = next(modules)(x_BCHW, stage.width)
            for block in stage.blocks:
                x_BCHW = next(modules)(x_BCHW, block, next(rates))
            if index in read:
                maps[index] = self.norm(x_BCHW) if index == last else x_BCHW
        return cast(Tensor, self.head(maps, arch))

    def slice_to(self, arch: Architecture) -> MetaMixer:
        """A stand-alone copy of the sub-network `arch`, in the same mode. Raises ValueError if `arch` is no crop."""
        self.check(arch)
        with torch.device("meta"):
            net = MetaMixer(arch, self.form)
        net.to_empty(device=next(self.parameters()).device)
        _copy_crops(self, net)
        return net.train(self.training)

    def deploy(self) -> list[nn.Module]:
        """The parts of the deployed form of a stand-alone network, by its running statistics.

        Raises ValueError for a supernet: slice it first."""
        if self.is_supernet:
            raise ValueError("only a stand-alone network can be fused: call slice_to(arch) on the supernet first")
        parts = [self.patch_embed.deploy(self.largest.stem.strides)]
        laterals = self.head.deploy_laterals(self.norm)
        for index, stage in enumerate(self.largest.stages):
            modules = iter(cast(nn.ModuleList, self.stages[index]))
            if index:
                parts.append(cast(Merging, next(modules)).deploy())
            for block in stage.blocks:
                parts += cast(MixerBlock, next(modules)).deploy(block)
            parts += [laterals[index]] if index in laterals else []
        return parts + self.head.deploy(self.norm)

    def check(self, arch: Architecture) -> None:
        """Raises ValueError, naming the first place, where `arch` is not a sub-network of this one."""
        big = self.largest
        fits = arch.input == big.input and arch.head.fits(big.head) and arch.stem.width <= big.stem.width
        if not fits or len(arch.stages) != len(big.stages):
            raise ValueError(f"the input, the stem, the head and the number of stages must fit {big}, but got {arch}")
        for index in range(len(big.stages)):
            if not self._holds(arch, index):
                raise ValueError(f"stage {index + 1} must fit inside that of {big}, but got {arch}")

    def _holds(self, arch: Architecture, index: int) -> bool:
        stage, bound = arch.stages[index], self.largest.stages[index]
        if stage.width > bound.width or stage.depth > bound.depth or stage.multiplier != bound.multiplier:
            return False
        slots = [module for module in cast(nn.ModuleList, self.stages[index]) if isinstance(module, MixerBlock)]
        return all(
            axis.fits(getattr(block, name), getattr(largest, name), slot.mixers)
            for block, largest, slot in zip(stage.blocks, bound.blocks, slots, strict=False)
            for name, axis in BLOCK_AXES.items()
        )


def stages_read(arch: Architecture) -> Collection[int]:
    """The stages, from 0 on, whose maps the head reads: those with laterals, or else the last."""
    return arch.laterals or (len(arch.stages) - 1,)


def pairs(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The children of a stand-alone network, or of a module in it, each behind its counterpart in a larger network.

    Names are the same but for token mixers: a slot of a supernet offers several, that of a stand-alone network has one.
    """
    if isinstance(ours, MixerBlock) and isinstance(theirs, MixerBlock):
        [mixer] = theirs.mixers
        yield ours.token_mixer[ours.mixers.index(mixer)], theirs.token_mixer[0]
        yield ours.channel_mixer, theirs.channel_mixer
        return
    for name, child in theirs.named_children():
        yield ours.get_submodule(name), child


def crops(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """The tensors of `theirs`, without those of its children, each behind the crop of `ours` that it corresponds to."""
    small = dict(theirs.named_parameters(recurse=False)) | dict(theirs.named_buffers(recurse=False))
    for name, tensor in small.items():
        yield crop(getattr(ours, name), tuple(tensor.shape)), tensor


@torch.no_grad()
def _copy_crops(ours: nn.Module, theirs: nn.Module) -> None:
    for cropped, tensor in crops(ours, theirs):
        tensor.copy_(cropped)
    for pair in pairs(ours, theirs):
        _copy_crops(*pair)


def _initialise(module: nn.Module) -> None:
    """Initialise as the reference does: a truncated normal of standard deviation 0.02 for weights, 0 for biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def _initialise_for_details(net: MetaMixer) -> None:
    """Initialise a network without batch norm whose head adds the image itself: what is left to learn is details.

    With torch's own weights, which the reference keeps, training found no more than a linear filter does
    (docs/log/tasks.md): levels of 0 to 1 hardly differ from their mean, each convolution makes that smaller by 1.7, and
    GELU is linear in small differences. So filters of the stem have no mean and are larger as details are smaller, the
    others keep the spread of their input, and what is added, to a block's input or to the image, starts small."""
    for conv in _convolutions(net):
        nn.init.kaiming_uniform_(conv.weight, nonlinearity="linear")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    stem = _convolutions(net.patch_embed)[0]
    stem.weight.sub_(stem.weight.mean((2, 3), keepdim=True)).mul_(DETAIL_GAIN)
    for block in net.modules():
        for last in _convolutions(block)[-1:] if isinstance(block, Residual) else []:
            last.weight.mul_(BRANCH_GAIN)
    for conv in _convolutions(net.head):
        conv.weight.mul_(HEAD_GAIN)


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [one for one in module.modules() if isinstance(one, nn.Conv2d)]
