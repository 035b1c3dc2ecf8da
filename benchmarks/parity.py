"""Elastic = sliced = fused = exported, on random architectures of each shipped space: the largest differences.

    python benchmarks/parity.py [--count 200] [--space ffnet_cifar regress ...]

Of the shipped search spaces, and of the sweeps of other tasks; photos are 24 x 36 pixels, and logits of masks are
compared at the size of the image. Weights, BN statistics and
layer scales are random, since identities hide errors. Differences are of logits or numbers, fp32; sliced against fused
also relative to the largest.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from pathlib import Path

import onnxruntime
import torch

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "tests" / "support"))

from networks import SPACES, TASKS, images, space, supernet  # noqa: E402

from ffnet_search.models.deployed import fuse, write_onnx  # noqa: E402
from ffnet_search.models.heads import enlarged  # noqa: E402
from ffnet_search.progress import progress  # noqa: E402
from ffnet_search.space.architecture import Form  # noqa: E402
from ffnet_search.tasks.base import task_of  # noqa: E402


@torch.no_grad()
def differences(name: str, branches: str, count: int) -> list[float]:
    """Largest of each kind over `count` architectures, and the largest logit."""
    chosen = space(name)
    net = supernet(chosen, Form(branches, 0.1))  # type: ignore[arg-type]
    x_BCHW, rng = images(chosen, 2), random.Random(0)
    if task_of(chosen.images).any_size:
        x_BCHW = x_BCHW[..., :24, :36].contiguous()
    worst = [0.0] * 5
    with progress(f"{name}, branches {branches}", count, "architectures") as bar:
        for _ in range(count):
            arch = chosen.sample(rng)
            elastic_BK = net(x_BCHW, arch)
            sliced = net.slice_to(arch)
            sliced_BK = sliced(x_BCHW)
            fused = fuse(sliced)
            fused_BK = fused(x_BCHW)
            if fused_BK.shape != sliced_BK.shape:
                elastic_BK, sliced_BK = (enlarged(one, fused_BK.shape[-2:]) for one in (elastic_BK, sliced_BK))
            model = io.BytesIO()
            write_onnx(fused, tuple(x_BCHW.shape), model)
            session = onnxruntime.InferenceSession(model.getvalue(), providers=["CPUExecutionProvider"])
            exported_BK = torch.from_numpy(session.run(None, {"images": x_BCHW.numpy()})[0])
            largest = float(sliced_BK.abs().max())
            folding = float((sliced_BK - fused_BK).abs().max())
            found = [float((elastic_BK - sliced_BK).abs().max()), folding, folding / largest]
            found += [float((fused_BK - exported_BK).abs().max()), largest]
            worst = [max(pair) for pair in zip(worst, found, strict=True)]
            bar.advance()
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--space", nargs="+", choices=[*SPACES, *TASKS], default=[*SPACES, *TASKS])
    arguments = parser.parse_args()
    rows = [
        "| space | branches | elastic - sliced | sliced - fused | relative | fused - ONNX Runtime | largest logit |"
    ]
    rows.append("|---|---|---|---|---|---|---|")
    for name in arguments.space:
        forms = task_of(space(name).images).forms
        for branches in ("none", "all") if len(forms) > 1 else forms:
            worst = differences(name, branches, arguments.count)
            print(f"| {name} | {branches} | " + " | ".join(f"{value:.1e}" for value in worst) + " |", flush=True)


if __name__ == "__main__":
    main()
