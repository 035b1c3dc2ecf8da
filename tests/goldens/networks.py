"""Networks with seeded weights: their logits in every form, and the first steps of a training."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import torch
from goldens.sweeps import DIGITS, DIGITS_SPACE, TINY_SPACE, write_sweep
from lightning import Trainer
from torch import Tensor, nn

from ffnet_search import Architecture, Candidate, Evaluator, MetaMixer, SearchSpace, Supernet, Sweep, fuse
from ffnet_search.data.registry import build_data
from ffnet_search.space.architecture import Form
from ffnet_search.space.input import Input


def seed_weights(net: nn.Module) -> None:
    """Set every tensor by its name, independent of the order of creation; no value makes folding a no-op."""
    for name, tensor in net.state_dict().items():
        rng = torch.Generator().manual_seed(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
        if name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.2, generator=rng)
        elif tensor.ndim == 1 or name.endswith("layer_scale"):
            tensor.uniform_(0.5, 1.5, generator=rng)
        elif tensor.ndim > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=rng)


def seeded_images(arch: Architecture, count: int) -> Tensor:
    shape, rng = arch.input, torch.Generator().manual_seed(1)
    return torch.randn(count, shape.channels, shape.resolution, shape.resolution, generator=rng)


def tensors(net: nn.Module) -> dict[str, Any]:
    """The number of tensors, and a digest of their names and shapes, which checkpoints depend on."""
    shapes = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in net.state_dict().items())
    return {"count": len(shapes), "digest": hashlib.sha256("\n".join(shapes).encode()).hexdigest()[:16]}


@torch.no_grad()
def logits(folder: Path) -> Any:
    """Logits of sub-networks of a supernet: elastic, sliced, fused."""
    found: dict[str, Any] = {}
    space = SearchSpace.from_yaml(DIGITS_SPACE)
    rng = random.Random(7)
    chosen = {"smallest": space.smallest, "largest": space.largest}
    chosen |= {f"sample {number}": space.sample(rng) for number in range(4)}
    for branches in ("none", "all"):
        net = MetaMixer.for_space(space, Form(branches, 0.1)).eval()
        seed_weights(net)
        found[f"supernet, branches {branches}"] = {"tensors": tensors(net)}
        for name, arch in chosen.items():
            x_BCHW, alone = seeded_images(arch, 2), net.slice_to(arch)
            found[f"supernet, branches {branches}"][name] = {
                "key": arch.key,
                "elastic": net(x_BCHW, arch).tolist(),
                "sliced": alone(x_BCHW).tolist(),
                "fused": fuse(alone)(x_BCHW).tolist(),
            }
    for name, scale in (("ffnet_1", None), ("ffnet_3", 1e-6)):
        arch = Architecture.preset(name, Input(1, 32, 5))
        net = MetaMixer(arch, Form("reference", scale)).eval()
        found[name] = {"tensors": tensors(net)}
        if name == "ffnet_1":
            seed_weights(net)
            x_BCHW = seeded_images(arch, 1)
            found[name] |= {"alone": net(x_BCHW).tolist(), "fused": fuse(net)(x_BCHW).tolist()}
    return found


def training(folder: Path) -> Any:
    """The first training steps of a supernet on the real digits, and the metrics of its networks afterwards."""
    found = {}
    sgd = {"optimizer": "sgd", "learning_rate": 0.05, "warmup_epochs": 0, "mixup": 0.2, "drop_path": 0.2}
    recipes: list[tuple[str, int, dict[str, Any]]] = [
        ("adamw", 1, {"optimizer": "adamw", "learning_rate": 2e-3}),
        ("muon", 1, {"learning_rate": 2e-3}),
        ("sgd", 2, {"branches": "all", **sgd}),
    ]
    for name, steps, recipe in recipes:
        content = {"search_space": TINY_SPACE, "seed": 3, "train": recipe}
        sweep = Sweep.from_yaml(write_sweep(folder, {**content, "data": {**DIGITS, "augment": {"crop": 1}}}))
        space = sweep.search_space
        data = build_data(sweep.data, sweep.seed, space.images)
        supernet = Supernet(space, sweep.train, seed=sweep.seed)
        seed_weights(supernet.net)
        trainer = Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            limit_train_batches=steps,
            logger=False,
            max_epochs=1,
            num_sanity_val_steps=0,
        )
        trainer.fit(supernet, datamodule=data)
        evaluate = Evaluator(supernet.net, data)
        chosen = (space.smallest, space.largest, space.sample(random.Random(1)))
        found[name] = {
            "logged": {metric: float(value) for metric, value in sorted(trainer.callback_metrics.items())},
            "mean_of_weights": {
                weight: float(tensor.detach().double().abs().mean())
                for weight, tensor in sorted(supernet.net.named_parameters())
            },
            "evaluated": {arch.key: dict(evaluate(Candidate(arch, {}).configuration).metrics) for arch in chosen},
            "calibrated": {arch.key: calibrated_logits(evaluate, arch) for arch in chosen},
        }
    return found


@torch.no_grad()
def calibrated_logits(evaluate: Evaluator, arch: Architecture) -> list[float]:
    """The sums of absolute logits, per class: finer than an accuracy."""
    net = evaluate.calibrated(arch)
    images_BCHW = seeded_images(arch, 8).to(evaluate.device)
    return net(images_BCHW).double().abs().sum(0).tolist()  # type: ignore[no-any-return]
