"""A sweep of the digits that trains, searches and retrains within seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from small_sweeps import SPACE

from ffnet_search.config.sweep import Sweep

EPOCHS = 2


def write_sweep(folder: Path, **changed: Any) -> Sweep:
    content: dict[str, Any] = {
        "search_space": SPACE,
        "runs": str(folder / "runs"),
        "data": {"batch_size": 128, "validation": 0.25, "calibration": 128},
        "train": {"epochs": 2, "learning_rate": 3e-3},
        "latency": {"rounds": 3, "calibration": 4, "noisy": True},
        "search": {"trials": 8},
        "export": {"top": 2, "retrain": {"epochs": EPOCHS, "candidates": 3, "distil": 0.5}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**content, **changed}))
    return Sweep.from_yaml(folder / "tiny.yaml")
