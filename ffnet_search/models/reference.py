"""Official FFNet checkpoints (release v1.0 of the reference implementation) as networks: classifiers, and FFNet-SR."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ffnet_search.errors import SweepError, one_line
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.weights_file import UNREADABLE, load_tensors, must_hold, reason_of, take_weights
from ffnet_search.space.architecture import Architecture, Form, Stage, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input

SR_STEM = "proj.weight"
SR_NAMES = (  # of FFNet-SR's tensors -> ours
    (r"proj\.", "patch_embed.0."),
    (r"conv_bef_up\.", "head.conv."),
    (r"body\.(\d+)\.token_mixer\.0\.", r"stages.0.\1.token_mixer.0.main.fc."),
    (r"body\.(\d+)\.token_mixer\.1\.", r"stages.0.\1.token_mixer.0.main.conv1."),
    (r"body\.(\d+)\.token_mixer\.3\.", r"stages.0.\1.token_mixer.0.main.conv2."),
    (r"body\.(\d+)\.channel_mixer\.0\.", r"stages.0.\1.channel_mixer.main.conv."),
    (r"body\.(\d+)\.channel_mixer\.1\.", r"stages.0.\1.channel_mixer.main.fc1."),
    (r"body\.(\d+)\.channel_mixer\.3\.", r"stages.0.\1.channel_mixer.main.fc2."),
)


def load_reference(path: str | Path, *, resolution: int = 256) -> MetaMixer:
    """The FFNet in an official checkpoint file, in evaluation mode; its architecture follows from the tensors' shapes.

    `resolution`: pixels a side of its input, which no tensor tells. Raises SweepError if the file is not such a
    checkpoint."""
    path = Path(path)
    state = read_state(path)
    try:
        if SR_STEM in state:
            arch, form, state = describe_sr(state, resolution)
        else:
            arch, form = describe(state, resolution)
        must_hold(path, arch)
        net = MetaMixer(arch, form)
        take_weights(net, state)
    except (*UNREADABLE, StopIteration) as error:
        reason = one_line(error)[:200]
        raise SweepError(
            f"{path}: must hold the weights of an FFNet, but its tensors do not fit one: {reason}"
        ) from None
    return net.eval()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint: bare, or under `state_dict`, `model` or `params`, with or without `module.`
    prefixes."""
    try:
        content = load_tensors(path)
    except UNREADABLE as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else reason_of(error)
        raise SweepError(f"{path}: is not a checkpoint that can be read safely: {reason}") from None
    for key in ("state_dict", "model", "params"):
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


def describe_sr(state: Mapping[str, Tensor], resolution: int) -> tuple[Architecture, Form, dict[str, Tensor]]:
    """Architecture, form, and the state dict in our names, of a state dict of FFNet-SR (super_resolution/ffnetsr).

    Raises KeyError for another state dict, ValueError for one with norms, which no published one has."""
    width, channels = state[SR_STEM].shape[:2]
    blocks: list[Block] = []
    renamed = {}
    while f"body.{len(blocks)}.token_mixer.0.weight" in state:
        place = f"body.{len(blocks)}"
        if state[f"{place}.token_mixer.0.weight"].ndim != 4:
            raise ValueError("it has norms")
        token_kernel, channel_kernel = (
            _kernel(state, f"{place}.{name}") for name in ("token_mixer.1", "channel_mixer.0")
        )
        blocks.append(
            Block("ffn_attention", token_kernel, channel_kernel, len(state[f"{place}.channel_mixer.1.weight"]) // width)
        )
    for name, tensor in state.items():
        for theirs, ours in SR_NAMES:
            name = re.sub(f"^{theirs}", ours, name)
        renamed[name] = tensor
    scale = math.isqrt(len(state["conv_bef_up.weight"]) // channels)
    input = Input(channels, resolution, scale, "super_resolution")
    return Architecture(Stem(0, 1), (Stage(width, tuple(blocks)),), input), Form("bare", None), renamed


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
