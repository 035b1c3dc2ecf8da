"""Two hundred random networks of every task: elastic, sliced, fused and exported, their outputs are equal."""

from __future__ import annotations

import random

import pytest
import torch
from networks import images, run_onnx, supernet
from task_spaces import SPACES
from torch import Tensor

from ffnet_search.models.deployed import fuse
from ffnet_search.models.heads import enlarged
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import find_task

COUNT = 200
CLEAR = 1e-4  # of logits, below which rounding decides which is larger


def networks(space: SearchSpace) -> list[Architecture]:
    """The ends of a space, and random ones; all of a smaller space."""
    rng, found = random.Random(0), dict.fromkeys((space.smallest, space.largest))
    while len(found) < min(COUNT, space.size):
        found[space.sample(rng)] = None
    return list(found)


def difference(expected: Tensor, output: Tensor) -> float:
    """The largest difference, relative where numbers are large; of labels, against logits, where these are clear."""
    if output.dtype.is_floating_point:
        same = enlarged(expected, output.shape[-2:]) if expected.ndim == 4 else expected
        return float((same - output).abs().max() / same.abs().max().clamp(min=1))
    first_BHW, second_BHW = expected.topk(2, 1).values.unbind(1)
    differs_BHW = (expected.argmax(1) != output) & (first_BHW - second_BHW > CLEAR)
    return float(differs_BHW.float().mean())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_networks_are_equal_in_every_form(name: str) -> None:
    space = SPACES[name]
    branches = "all" if "all" in find_task(name).forms else "bare"
    net, x_BCHW = supernet(space, Form(branches, 0.1)), images(space, 2)  # type: ignore[arg-type]
    for arch in networks(space):
        sliced = net.slice_to(arch)
        fused = fuse(sliced)
        output_B, deployed_B = sliced(x_BCHW), fused(x_BCHW)
        assert difference(net(x_BCHW, arch), output_B) <= 1e-5, arch
        assert difference(output_B, deployed_B) <= 2e-5, arch
        exported_B = run_onnx(fused, x_BCHW)
        assert exported_B.shape == deployed_B.shape and exported_B.dtype == deployed_B.dtype
        assert difference(output_B, exported_B) <= 1e-4, arch
