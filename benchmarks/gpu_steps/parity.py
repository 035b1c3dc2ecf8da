"""Step `parity`: elastic, sliced and fused networks on this device, against each other, the CPU and bf16."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from gpu_steps.run import Rows, Run
from gpu_steps.stopwatch import noise


@contextmanager
def exact() -> Iterator[None]:
    """Without TF32: products of float32 are of float32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@torch.no_grad()
def measure(run: Run) -> Rows:
    """The largest differences of logits over random networks, relative to the largest logit of each."""
    space, rng, kinds = run.space, random.Random(0), ("elastic - sliced", "sliced - fused", "CPU", "bf16")
    torch.manual_seed(0)
    net = MetaMixer.for_space(space)
    for parameter in net.parameters():  # fresh layer scales and biases would hide errors
        parameter.normal_(0, 0.2 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
    x_BCHW, _ = noise(run, 16)
    net, worst = net.to(run.device), dict.fromkeys(kinds, 0.0)
    with exact():
        for _ in range(run.amounts.architectures):
            arch = space.sample(rng)
            sliced = recalibrate(net.slice_to(arch), x_BCHW)
            net.train()
            elastic_BK = net(x_BCHW, arch)
            training_BK = sliced.train()(x_BCHW)
            sliced = recalibrate(sliced, x_BCHW)
            alone_BK, fused = sliced(x_BCHW), fuse(sliced)
            fused_BK = fused(x_BCHW)
            with run.autocast():
                half_BK = fused(x_BCHW).float()
            cpu_BK = fused.cpu()(x_BCHW.cpu()).to(run.device)
            pairs = ((elastic_BK, training_BK), (alone_BK, fused_BK), (fused_BK, cpu_BK), (fused_BK, half_BK))
            for kind, (one_BK, other_BK) in zip(kinds, pairs, strict=True):
                found = float((one_BK - other_BK).abs().max() / one_BK.abs().max())
                worst[kind] = max(worst[kind], found)
    words = {"CPU": "fused here - on the CPU", "bf16": "fused fp32 - under bf16 autocast"}
    of = f"of {run.amounts.architectures} networks of {space.name}, relative to the largest logit"
    return [(f"parity, {words.get(kind, kind)}, {of}", f"{worst[kind]:.1e}") for kind in kinds]
