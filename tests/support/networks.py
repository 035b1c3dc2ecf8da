"""Networks for tests: random ones whose every folded constant matters, and the tiny ones of the reference."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from ffnet_search.config.sweep import Sweep
from ffnet_search.models.deployed import write_onnx
from ffnet_search.models.elastic import ElasticBatchNorm2d
from ffnet_search.models.heads import StandardisedLinear
from ffnet_search.models.layers import Residual
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Form, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace

REPO = Path(__file__).parents[2]
REFERENCE = REPO.parent / "shared" / "reference"
SPACES = {path.stem: path for path in sorted((REPO / "search_spaces").glob("*.yaml"))}
TASKS = ("segment", "regress", "multilabel", "super_resolution")  # sweeps of other tasks than classification


PRESET_FORMS: dict[str, Form] = {
    "ffnet_1": Form("reference", None),
    "ffnet_2": Form("reference", None),
    "ffnet_3": Form("reference", 1e-6),
    "ffnet_4": Form("reference", 1e-6),
}
SIZES = ("kernel_sizes1", "kernel_sizes", "expansion_ratios")  # of a reference's blocks, per stage


def space(name: str) -> SearchSpace:
    """A shipped search space by its name, or that of a shipped sweep."""
    if name in TASKS:
        return Sweep.from_yaml(REPO / f"sweeps/{name}.yaml").search_space
    return SearchSpace.from_yaml(SPACES[name])


def randomise(net: nn.Module, seed: int = 0) -> None:
    """Random weights, BN statistics and layer scales: with fresh ones (identities) folding errors are invisible."""
    rng = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, ElasticBatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=rng)
            module.running_var.uniform_(0.5, 2, generator=rng)
            module.weight.data.uniform_(0.5, 1.5, generator=rng)
            module.bias.data.normal_(0, 0.2, generator=rng)
        elif isinstance(module, Residual) and module.layer_scale is not None:
            module.layer_scale.data.uniform_(0.1, 0.5, generator=rng)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            if isinstance(module, StandardisedLinear):
                module.mean_K.normal_(0, 30, generator=rng)
                module.spread_K.uniform_(0.5, 20, generator=rng)
            module.weight.data.normal_(0, module.weight[0].numel() ** -0.5, generator=rng)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.2, generator=rng)


def supernet(space: SearchSpace, form: Form = Form("none", 0.1), seed: int = 0) -> MetaMixer:
    """A supernet in evaluation mode with random weights (made without the slow initialisation)."""
    with torch.device("meta"):
        net = MetaMixer.for_space(space, form)
    net.to_empty(device="cpu")
    randomise(net, seed)
    return net.eval()


def images(space: SearchSpace, count: int = 2, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, *space.images.shape, generator=rng)


def tiny_reference(name: str) -> tuple[Architecture, Form, dict[str, Tensor], Tensor, Tensor]:
    """Architecture, form, state dict, images and logits of a tiny network that the reference implementation made."""
    path = REFERENCE / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"the reference network {path.name} is not beside this repository")
    content = np.load(path)
    config = json.loads(str(content["config"]))
    arch = Architecture.uniform(
        config["depth"],
        config["embed_dim"],
        [Block("ffn_attention", *sizes) for sizes in zip(*(config[key] for key in SIZES), strict=True)],
        stem=Stem(config["in_dim"], 4),
        input=Input(3, content["input"].shape[-1], config["num_classes"]),
    )
    form = Form("reference", 1e-6 if config.get("use_layer_scale") else None)
    state = {
        key.removeprefix("state_dict/"): torch.from_numpy(content[key])
        for key in content.files
        if key.startswith("state_dict/")
    }
    return arch, form, state, torch.from_numpy(content["input"]), torch.from_numpy(content["logits"])


def load_tiny(name: str) -> tuple[MetaMixer, Tensor, Tensor]:
    arch, form, state, input_BCHW, logits_BK = tiny_reference(name)
    net = MetaMixer(arch, form)
    net.load_state_dict(state)
    return net.eval(), input_BCHW, logits_BK


def run_onnx(net: nn.Module, x_BCHW: Tensor) -> Tensor:
    """The output of `net`, exported, in ONNX Runtime."""
    buffer = io.BytesIO()
    write_onnx(net, tuple(x_BCHW.shape), buffer, dynamic=[0])
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": x_BCHW.numpy()})[0])
