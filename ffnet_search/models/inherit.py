"""Initialise a network from the weights of another one, with other outputs, channels, resolution, widths or depths.

The weights that both have are copied to where a crop would take them: blocks and stages from the first on, the leading
channels, the centre of a kernel. The rest keeps its initial values, except for the margin of a larger kernel, which is
0, so that the function is the same for every kernel. Not copied: token mixers that the other network lacks, the patch
merging of another multiplier, and the head if the outputs differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from ffnet_search.models.elastic import (
    Branches,
    ConvNorm,
    DenseConv2d,
    DepthwiseConv2d,
    ElasticBatchNorm2d,
    crop,
    folded,
)
from ffnet_search.models.layers import MixerBlock, Residual
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Form, Stage
from ffnet_search.space.block import BLOCK_AXES, Block

CONVOLUTIONS = (ConvNorm, Branches, DepthwiseConv2d)
MEASURED = 256  # images, at most, for the statistics of new norms


@torch.no_grad()
def inherit(ours: MetaMixer, theirs: MetaMixer, images_NCHW: Tensor | None = None) -> None:
    """Start `ours` from the weights of `theirs`: a stand-alone network by its running statistics, or a supernet.

    A convolution that has no norm in `theirs` gets one that changes nothing in evaluation. Training images,
    `images_NCHW`, set its statistics, so that it changes little in training, where the batch normalises. Raises
    ValueError if the forms of training do not allow it."""
    refuse_forms(ours.form, theirs)
    new_norms: list[ElasticBatchNorm2d] = []
    _inherit_stem(ours, theirs, new_norms)
    for index, (here, there) in enumerate(zip(ours.stages, theirs.stages, strict=False)):
        merges = ours.largest.stages[index].multiplier == theirs.largest.stages[index].multiplier
        modules = zip(cast(nn.ModuleList, here), cast(nn.ModuleList, there), strict=False)
        for our_module, their_module in modules:
            if merges or isinstance(our_module, MixerBlock):
                _inherit(our_module, their_module, new_norms)
    if len(ours.stages) == len(theirs.stages):
        _inherit(ours.norm, theirs.norm, new_norms)
        mine, other = ours.largest.input, theirs.largest.input
        if (mine.task, mine.outputs) == (other.task, other.outputs):
            _inherit(ours.head, theirs.head, new_norms)
    if new_norms and images_NCHW is not None:
        _measure(ours, _common(ours, theirs), new_norms, images_NCHW[:MEASURED])


def refuse_forms(form: Form, theirs: MetaMixer) -> None:
    """Raise ValueError if a network of `form` cannot start from `theirs`."""
    if (form.branches == "bare") != (theirs.form.branches == "bare"):
        raise ValueError(
            f"the weights were trained with train.branches {theirs.form.branches!r}, so it must be "
            f"{'the same' if theirs.form.branches == 'bare' else 'another one'}, but got {form.branches!r}: 'bare' has "
            "no batch norm"
        )
    if theirs.form.layer_scale is not None and form.layer_scale is None:
        raise ValueError("the weights have layer scales, so train.layer_scale must be set, but got null")
    if theirs.is_supernet and form.branches not in (theirs.form.branches, "all"):
        raise ValueError(
            f"the weights are of a supernet with train.branches {theirs.form.branches!r}, which cannot be merged, so "
            f"train.branches must be the same or 'all', but got {form.branches!r}"
        )


def _inherit_stem(ours: MetaMixer, theirs: MetaMixer, new_norms: list[ElasticBatchNorm2d]) -> None:
    if ("2" in ours.patch_embed) != ("2" in theirs.patch_embed):  # one convolution, and two
        return
    here, there = (net.patch_embed["0"] for net in (ours, theirs))
    mine, other = (one.c if isinstance(one, ConvNorm) else cast(DenseConv2d, one) for one in (here, there))
    _paste(mine.weight, over_channels(other.weight, ours.largest.input.channels))
    if isinstance(here, ConvNorm):
        _inherit(here.bn, cast(ConvNorm, there).bn, new_norms)
    elif mine.bias is not None and other.bias is not None:
        _paste(mine.bias, other.bias)
    if "2" in ours.patch_embed:
        _inherit(ours.patch_embed["2"], theirs.patch_embed["2"], new_norms)


def over_channels(weight_OIkk: Tensor, channels: int) -> Tensor:
    """The weight of a convolution for images of another number of channels, (O, channels, k, k): summed or repeated.

    An image whose channels are all equal gets the same answer."""
    theirs = weight_OIkk.shape[1]
    if channels <= theirs:
        index = torch.arange(theirs, device=weight_OIkk.device) % channels
        shape = (len(weight_OIkk), channels, *weight_OIkk.shape[2:])
        return weight_OIkk.new_zeros(shape).index_add_(1, index, weight_OIkk)
    index = torch.arange(channels, device=weight_OIkk.device) % theirs
    shares = torch.bincount(index, minlength=theirs)[index]
    return weight_OIkk[:, index] / shares[:, None, None]


def _inherit(here: nn.Module, there: nn.Module, new_norms: list[ElasticBatchNorm2d]) -> None:
    if isinstance(here, MixerBlock) and isinstance(there, MixerBlock):
        for name in here.mixers:
            if name in there.mixers:
                ours, theirs = (block.token_mixer[block.mixers.index(name)] for block in (here, there))
                _inherit(ours, theirs, new_norms)
        _inherit(here.channel_mixer, there.channel_mixer, new_norms)
        return
    if isinstance(here, CONVOLUTIONS) and type(here) is not type(there):
        _inherit_folded(here, there, new_norms)
        return
    _inherit_tensors(here, there)
    children = dict(there.named_children())
    for name, child in here.named_children():
        if name in children:
            _inherit(child, children[name], new_norms)


def _inherit_tensors(here: nn.Module, there: nn.Module) -> None:
    """The tensors of a module without those of its children."""
    if isinstance(here, Residual) and isinstance(there, Residual) and there.layer_scale is None:
        if here.layer_scale is not None:
            here.layer_scale[: _width(there)] = 1.0
        return
    theirs = dict(there.named_parameters(recurse=False)) | dict(there.named_buffers(recurse=False))
    for name, tensor in [*here.named_parameters(recurse=False), *here.named_buffers(recurse=False)]:
        if name in theirs:
            _paste(tensor, theirs[name])


def _width(residual: Residual) -> int:
    return next(conv for conv in residual.modules() if isinstance(conv, nn.Conv2d)).in_channels


def _paste(ours: Tensor, theirs: Tensor) -> None:
    """Copy the crop that both tensors have; the margin of a larger kernel is set to 0."""
    shared = tuple(map(min, ours.shape, theirs.shape))
    if ours.ndim == 4 and ours.shape[2:] != shared[2:]:
        crop(ours, (*shared[:2], *ours.shape[2:])).zero_()
    crop(ours, shared).copy_(crop(theirs, shared))


def _inherit_folded(here: nn.Module, there: nn.Module, new_norms: list[ElasticBatchNorm2d]) -> None:
    """Copy a convolution of another form, by the one plain convolution that it is with its norm and branches merged."""
    if isinstance(here, Branches):
        _inherit(here.conv, there, new_norms)
        _reset(here.conv1.bn, _channels(there), 0.0)
    elif isinstance(here, ConvNorm):
        weight, bias = folded(there)
        _paste(here.c.weight, weight)
        _reset(here.bn, len(bias), (1 + here.bn.eps) ** 0.5)
        _paste(here.bn.bias, bias)
        new_norms.append(here.bn)
    else:
        weight, bias = folded(there)
        _paste(cast(Tensor, here.weight), weight)
        _paste(cast(Tensor, here.bias), bias)


def _channels(convolution: nn.Module) -> int:
    return next(one for one in convolution.modules() if isinstance(one, nn.Conv2d)).out_channels


def _reset(norm: nn.BatchNorm2d, width: int, weight: float) -> None:
    """Set the leading channels to `weight * x`, but for `eps`, over statistics of mean 0 and variance 1."""
    assert norm.running_mean is not None and norm.running_var is not None
    for tensor, value in ((norm.weight, weight), (norm.bias, 0.0), (norm.running_mean, 0.0), (norm.running_var, 1.0)):
        tensor[:width] = value


def _common(ours: MetaMixer, theirs: MetaMixer) -> Architecture:
    """The largest architecture that both contain, as a crop of `ours`."""
    stages = []
    for modules, mine, other in zip(ours.stages, ours.largest.stages, theirs.largest.stages, strict=False):
        slots = [one for one in cast(nn.ModuleList, modules) if isinstance(one, MixerBlock)]
        blocks = tuple(
            _common_block(ours_one, theirs_one, slot.mixers)
            for ours_one, theirs_one, slot in zip(mine.blocks, other.blocks, slots, strict=False)
        )
        stages.append(Stage(min(mine.width, other.width), blocks, mine.multiplier))
    width = min(ours.largest.stem.width, theirs.largest.stem.width)
    return Architecture(replace(ours.largest.stem, width=width), tuple(stages), ours.largest.input, ours.largest.head)


def _common_block(mine: Block, other: Block, mixers: tuple[str, ...]) -> Block:
    sizes = {name: (getattr(mine, name), getattr(other, name)) for name in BLOCK_AXES if name != "mixer"}
    shared = {name: min(pair) or max(pair) for name, pair in sizes.items()}  # 0: the mixer has none
    return Block(other.mixer if other.mixer in mixers else mixers[0], **shared)


def _measure(net: MetaMixer, arch: Architecture, norms: list[ElasticBatchNorm2d], images_NCHW: Tensor) -> None:
    """Give each of `norms`, which add a bias, the statistics of its input, and the weight that cancels them."""

    def measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x_BCHW, norm = inputs[0], cast(ElasticBatchNorm2d, module)
        width = x_BCHW.shape[1]
        variance_C, mean_C = torch.var_mean(x_BCHW, (0, 2, 3), correction=0)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean[:width], norm.running_var[:width] = mean_C, variance_C
        norm.weight[:width] = (variance_C + norm.eps).sqrt()
        norm.bias[:width] += mean_C

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    mode = net.training
    try:
        net.eval()(images_NCHW.to(next(net.parameters()).device), arch)
    finally:
        net.train(mode)
        for hook in hooks:
            hook.remove()
