"""Super-resolution for tests: photos of stripes and discs, made from a seed, of several sizes, a tiny search space and
a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ffnet_search.config.sweep import Sweep
from ffnet_search.space.search_space import SearchSpace

CONTENT: dict[str, Any] = {
    "input": {"task": "super_resolution", "channels": 3, "resolution": [12, 16], "scale": 2},
    "stem": {"width": [0], "stride": [1]},
    "stages": [{"depth": [1, 2], "width": [8, 12], "token_kernel": [3, 5], "expansion": [1, 2]}],
}
SPACE = SearchSpace.model_validate(CONTENT)


def photo(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A photo, uint8 (H, W, 3), of slanted stripes and a disc, with sharp edges and little noise."""
    y_HW, x_HW = np.mgrid[:height, :width]
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 9)
    stripes_HW = np.sin((x_HW * np.cos(angle) + y_HW * np.sin(angle)) * 2 * np.pi / period) > 0
    disc_HW = np.hypot(y_HW - rng.uniform(0, height), x_HW - rng.uniform(0, width)) < min(height, width) / 3
    colours = rng.uniform(30, 220, (3, 3))
    return (colours[stripes_HW + 1 * disc_HW] + rng.normal(0, 2, (height, width, 3))).clip(0, 255).astype(np.uint8)


def write_photos(root: Path, count: int, seed: int = 0) -> Path:
    """`root/000.png` and more, of several sizes from 32 pixels on."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    for number in range(count):
        height, width = (int(side) for side in rng.integers(16, 19, 2) * 2 + rng.integers(0, 2, 2))
        Image.fromarray(photo(rng, height, width)).save(root / f"{number:03d}.png")
    return root


def photo_sweep(runs: Path, folder: Path, **sections: Any) -> Sweep:
    """A sweep on a folder of `write_photos`, which trains within seconds."""
    content = {
        "name": "photos",
        "runs": str(runs),
        "task": "super_resolution",
        "search_space": CONTENT,
        "data": {"name": "photo_folder", "path": str(folder), "batch_size": 8, "patch": 12, "patches": 4, "workers": 0},
        "train": {"epochs": 3, "learning_rate": 3e-3, "warmup_epochs": 0.5},
        "latency": {"noisy": True, "rounds": 3},
    }
    return Sweep.from_content(content | sections, Path("photos.yaml"))
