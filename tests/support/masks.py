"""Segmentation for tests: images of shapes with masks, made from a seed, in the layouts that people have, and a tiny
search space with a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ffnet_search.config.sweep import Sweep
from ffnet_search.space.search_space import SearchSpace

CLASSES = ("background", "disc", "box")
SIDE = 16
CONTENT: dict[str, Any] = {
    "input": {"task": "segmentation", "channels": 3, "resolution": SIDE, "classes": len(CLASSES)},
    "stem": {"width": [8], "stride": [1, 2]},
    "head": {"width": [8, 12], "stride": [2, 4], "output": ["logits", "labels"]},
    "stages": [
        {"depth": [1], "width": [8, 12], "token_kernel": [3], "expansion": [1, 2]},
        {"depth": [1, 2], "width": [8, 16], "mixer": ["ffn_attention", "pool"], "token_kernel": [3], "expansion": [2]},
        {"depth": [1], "width": [16, 24], "token_kernel": [3], "expansion": [1]},
    ],
}
SPACE = SearchSpace.model_validate(CONTENT)
WIDE = SearchSpace.model_validate({**CONTENT, "input": {**CONTENT["input"], "resolution": [12, 20]}})


def shapes(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A image, uint8 (H, W, 3), with a disc or a box or both, and its mask of class ids, uint8 (H, W)."""
    y_HW, x_HW = np.mgrid[:height, :width]
    mask_HW = np.zeros((height, width), np.uint8)
    size = min(height, width)
    for label in rng.permutation([1, 2])[: rng.integers(1, 3)]:
        radius = size * rng.uniform(0.15, 0.3)
        y, x = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
        away_HW = np.abs([y_HW - y, x_HW - x])
        inside = np.hypot(*away_HW) < radius if label == 1 else away_HW.max(0) < radius
        mask_HW[inside] = label
    colours = np.array([[60, 60, 90], [200, 80, 60], [80, 190, 90]])
    noise = rng.normal(0, 25, (height, width, 3))
    return (colours[mask_HW] + noise).clip(0, 255).astype(np.uint8), mask_HW


def write_masks(root: Path, count: int, seed: int = 0, wider: int = 0) -> Path:
    """`root/images` and `root/masks`, of several sizes, `wider` by so many pixels than high."""
    rng = np.random.default_rng(seed)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        height, width = (int(side) for side in rng.integers(20, 36, 2))
        image_HWC, mask_HW = shapes(rng, height, height + wider if wider else width)
        Image.fromarray(image_HWC).save(root / "images" / f"{number:03d}.png")
        Image.fromarray(mask_HW).save(root / "masks" / f"{number:03d}.png")
    return root


def mask_sweep(runs: Path, folder: Path, **sections: Any) -> Sweep:
    """A sweep on a folder of `write_masks`, which trains within seconds."""
    content = {
        "name": "masks",
        "runs": str(runs),
        "task": "segmentation",
        "search_space": CONTENT,
        "data": {"name": "mask_folder", "path": str(folder), "batch_size": 8, "calibration": 32},
        "train": {"epochs": 3, "learning_rate": 3e-3, "warmup_epochs": 0.5},
        "latency": {"noisy": True, "rounds": 3},
    }
    return Sweep.model_validate(content | sections)
