"""Images with a CSV for tests: discs and boxes to count, to measure and to name; a tiny search space and a sweep."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ffnet_search.config.sweep import Sweep
from ffnet_search.space.search_space import SearchSpace

SIDE = 16
COLUMNS = {  # by task
    "classification": ("commonest",),
    "multilabel": ("disc", "box", "ring"),
    "regression": ("discs", "area [px]"),
}
WORDS = {"classification": "classes", "multilabel": "labels", "regression": "targets"}
COLOURS = {"disc": (210, 80, 60), "box": (80, 190, 90), "ring": (90, 110, 220)}


def content(task: str) -> dict[str, Any]:
    """A search space for a task."""
    outputs = 3 if task == "classification" else len(COLUMNS[task])
    return {
        "input": {"task": task, "channels": 3, "resolution": SIDE, WORDS[task]: outputs},
        "stem": {"width": [8], "stride": [1, 2]},
        "stages": [
            {"depth": [1], "width": [8, 12], "token_kernel": [3], "expansion": [1, 2]},
            {"depth": [1, 2], "width": [8, 16], "mixer": ["ffn_attention", "pool"], "token_kernel": 3, "expansion": 2},
        ],
    }


def space(task: str) -> SearchSpace:
    return SearchSpace.model_validate(content(task))


def shapes(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, dict[str, Any]]:
    """An image, uint8 (H, W, 3), of some discs, boxes and rings on noise, and what is true of it."""
    y_HW, x_HW = np.mgrid[:height, :width]
    image_HWC, area = rng.normal(70, 20, (height, width, 3)), 0
    counts = dict(zip(COLOURS, rng.integers(0, (4, 3, 3)).tolist(), strict=True))
    for kind, count in counts.items():
        for _ in range(count):
            radius = min(height, width) * rng.uniform(0.1, 0.2)
            away_HW = np.abs([y_HW - rng.uniform(0, height), x_HW - rng.uniform(0, width)])
            far_HW = away_HW.max(0) if kind == "box" else np.hypot(*away_HW)
            inside_HW = far_HW < radius if kind != "ring" else (far_HW < radius) & (far_HW > 0.6 * radius)
            image_HWC[inside_HW] = COLOURS[kind]
            area += int(inside_HW.sum())
    truth = {kind: int(count > 0) for kind, count in counts.items()}
    truth |= {"discs": counts["disc"], "area [px]": area, "commonest": max(counts, key=lambda kind: counts[kind])}
    return image_HWC.clip(0, 255).astype(np.uint8), truth


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Iterable[str], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), extrasaction="ignore", delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_table(root: Path, task: str, count: int, seed: int = 0, tests: int = 0) -> Path:
    """`root/table.csv` and the images that it names, of several sizes; the last `tests` are of the test split."""
    rng, rows = np.random.default_rng(seed), []
    (root / "shapes").mkdir(parents=True)
    for number in range(count):
        image_HWC, truth = shapes(rng, *(int(side) for side in rng.integers(20, 30, 2)))
        file = f"shapes/{number:03d}.png"
        Image.fromarray(image_HWC).save(root / file)
        rows.append({"file": file, "split": "test" if number >= count - tests else "train", **truth})
    split = ["split"] if tests else []
    return write_rows(root / "table.csv", rows, ["file", *COLUMNS[task], *split])


def table_sweep(runs: Path, table: Path, task: str, **sections: Any) -> Sweep:
    """A sweep on a table of `write_table`, which trains within seconds."""
    fields = {
        "name": task,
        "runs": str(runs),
        "task": task,
        "search_space": content(task),
        "data": {"name": "picture_table", "path": str(table), "batch_size": 8, "calibration": 32},
        "train": {"epochs": 3, "learning_rate": 3e-3, "warmup_epochs": 0.5},
        "latency": {"noisy": True, "rounds": 3},
    }
    return Sweep.model_validate(fields | sections)
