"""Sweeps whose trials train: of one small FFNet, and of a user-supplied module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import Block

NET = Architecture.uniform((1, 1), (8, 16), (Block(token_kernel=3, expansion=1),) * 2).to_dict() | {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": 8, "stride": 2},
}
DATA = {"name": "digits", "batch_size": 128, "validation": 0.25, "calibration": 256, "workers": 0}


def sweep_of(folder: Path, hyperparameters: Mapping[str, Any], name: str = "s", **more: Any) -> Sweep:
    """HPO of one small FFNet on digits, where `more` does not say otherwise."""
    content: dict[str, Any] = {
        "name": name,
        "search_space": {"architecture": NET, "hyperparameters": dict(hyperparameters)},
        "data": DATA,
        "train": {"epochs": 3, "learning_rate": 0.01, "warmup_epochs": 0},
        "search": {"evaluator": "train", "objectives": ["accuracy"], "trials": 4},
        "runs": str(folder / "runs"),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**content, **more}, sort_keys=False))
    return Sweep.from_yaml(path)


def own_sweep(folder: Path, hyperparameters: Mapping[str, Any], **more: Any) -> Sweep:
    """HPO of a network that is no FFNet, on data that are no images."""
    content: dict[str, Any] = {
        "search_space": {"hyperparameters": dict(hyperparameters)},
        "module": {"class_path": "own_network:Curve"},
        "data": {"name": "own_network:Points"},
        "train": {"epochs": 4},
        "search": {
            "evaluator": "train",
            "metrics": {"val_loss": "minimize"},
            "objectives": ["val_loss", "latency_ms"],
            "trials": 5,
        },
        "latency": {"backend": "torch", "rounds": 3},
    }
    return sweep_of(folder, {}, "own", **{**content, **more})
