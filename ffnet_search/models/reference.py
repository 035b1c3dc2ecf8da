"""Official FFNet checkpoints (release v1.0 of the reference implementation) as networks."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ffnet_search.errors import SweepError
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Form, Stage, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input

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
