"""Official FFNet checkpoints (release v1.0 of the reference implementation): as a network, or as a supernet's start."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ffnet_search.errors import SweepError
from ffnet_search.models.elastic import Branches, ConvNorm, crop, folded
from ffnet_search.models.layers import Residual
from ffnet_search.models.metamixer import MetaMixer, crops, pairs
from ffnet_search.space.architecture import Architecture, Form, Input, Stage, Stem
from ffnet_search.space.block import Block

# Errors of torch's safe unpickler, depending on which byte of a file is wrong.
UNREADABLE = (
    OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip


def load_reference(path: str | Path, *, resolution: int = 256) -> MetaMixer:
    """The FFNet in an official checkpoint file, in evaluation mode; its architecture follows from the tensors' shapes.

    Raises SweepError where the file is not such a checkpoint."""
    path = Path(path)
    state = read_state(path)
    try:
        arch, form = describe(state, resolution)
        net = MetaMixer(arch, form)
        net.load_state_dict(dict(state))
    except (*UNREADABLE, StopIteration) as error:
        reason = " ".join(str(error).split())[:200]
        raise SweepError(
            f"{path}: must hold the weights of an FFNet, but its tensors do not fit one: {reason}"
        ) from None
    return net.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint: bare, or under `state_dict` or `model`, with or without `module.` prefixes."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:200]
        raise SweepError(f"{path}: is not a checkpoint that can be read safely: {reason}") from None
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise SweepError(f"{path}: must hold a state dict of tensors, but holds {type(content).__name__}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def describe(state: Mapping[str, Tensor], resolution: int) -> tuple[Architecture, Form]:
    """Architecture and form of a state dict of the reference. Raises KeyError for another state dict."""
    stages: list[Stage] = []
    while any(name.startswith(f"stages.{len(stages)}.") for name in state):
        stages.append(_describe_stage(state, len(stages), stages[-1].width if stages else 0))
    stem = Stem(state["patch_embed.0.c.weight"].shape[0], 4)
    input = Input(state["patch_embed.0.c.weight"].shape[1], resolution, state["head.weight"].shape[0])
    scales = [tensor for name, tensor in state.items() if name.endswith("layer_scale")]
    return Architecture(stem, tuple(stages), input), Form("reference", 1e-6 if scales else None)


def _describe_stage(state: Mapping[str, Tensor], index: int, before: int) -> Stage:
    blocks: list[Block] = []
    position = 1 if index else 0
    while f"stages.{index}.{position}.channel_mixer.main.fc1.weight" in state:
        place = f"stages.{index}.{position}"
        hidden, width = state[f"{place}.channel_mixer.main.fc1.weight"].shape[:2]
        token_kernel = _kernel(state, f"{place}.token_mixer.0.main.conv1")
        channel_kernel = _kernel(state, f"{place}.channel_mixer.main.conv")
        blocks.append(Block("ffn_attention", token_kernel, channel_kernel, hidden // width))
        position += 1
    width = state[f"stages.{index}.{position - 1}.channel_mixer.main.fc1.weight"].shape[1]
    spread = state[f"stages.{index}.0.proj.0.conv.c.weight"].shape[0] if index else 0
    return Stage(width, tuple(blocks), multiplier=spread // before if index else 1)


def _kernel(state: Mapping[str, Tensor], place: str) -> int:
    names = (f"{place}.weight", f"{place}.c.weight", f"{place}.conv.c.weight")
    return next(state[name].shape[-1] for name in names if name in state)


@torch.no_grad()
def start_from(supernet: MetaMixer, net: MetaMixer) -> None:
    """Paste a stand-alone `net` into `supernet`, so that the supernet computes it exactly (by running statistics).

    A tensor goes to the leading channels and the centre of the kernel; a depthwise convolution whose form differs is
    folded first. Raises ValueError where `net` is not inside `supernet`, or has layer scales and `supernet` has none.
    """
    supernet.check(net.largest)
    if net.form.layer_scale is not None and supernet.form.layer_scale is None:
        raise ValueError("the checkpoint has layer scales, so train.layer_scale must be set, but got null")
    _paste(supernet, net)


def _paste(here: nn.Module, module: nn.Module) -> None:
    if isinstance(here, ConvNorm | Branches):
        _paste_conv(here, module)
        return
    if isinstance(module, Residual) and isinstance(here, Residual) and here.layer_scale is not None:
        width = next(norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)).num_features
        here.layer_scale[:width] = 1.0 if module.layer_scale is None else module.layer_scale
    else:
        _paste_tensors(here, module)
    for pair in pairs(here, module):
        _paste(*pair)


def _paste_tensors(here: nn.Module, module: nn.Module) -> None:
    for cropped, tensor in crops(here, module):
        cropped.copy_(tensor)


def _paste_conv(here: nn.Module, module: nn.Module) -> None:
    if type(here) is type(module):
        for ours, theirs in zip(here.modules(), module.modules(), strict=True):
            _paste_tensors(ours, theirs)
        return
    weight, bias = folded(module)
    if isinstance(here, Branches):
        _silence(here.conv1.bn, len(bias))
        here = here.conv
    conv_norm = cast(ConvNorm, here)
    crop(conv_norm.c.weight, tuple(weight.shape)).copy_(weight)
    norm, width = conv_norm.bn, len(bias)
    _silence(norm, width)
    norm.weight[:width] = (1 + norm.eps) ** 0.5
    norm.bias[:width] = bias


def _silence(norm: nn.BatchNorm2d, width: int) -> None:
    """Set the leading channels to `0 * x + 0`, over statistics of mean 0 and variance 1."""
    assert norm.running_mean is not None and norm.running_var is not None
    for tensor, value in ((norm.weight, 0.0), (norm.bias, 0.0), (norm.running_mean, 0.0), (norm.running_var, 1.0)):
        tensor[:width] = value
