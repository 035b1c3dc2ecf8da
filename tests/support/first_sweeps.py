"""Image folders for `init`, and a machine whose speed is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ffnet_search.autoconfig.budget import Throughput
from ffnet_search.autoconfig.draft import Draft
from ffnet_search.autoconfig.image_set import ImageSet, Sample
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.files import Files
from ffnet_search.data.layout import TRAIN
from ffnet_search.data.registry import build_data


def paint(folder: Path, counts: dict[str, int], size: tuple[int, int] = (20, 17), grey: bool = False) -> Path:
    """Images of noise, one folder per class."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            levels = rng.integers(0, 256, (size[1], size[0], 1 if grey else 3), dtype=np.uint8)
            pixels = np.repeat(levels, 3, axis=2) if grey else levels
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def throughput_of(draft: Draft, batch_size: int = 64, step_s: float | None = None) -> Throughput:
    """A machine that computes 20 G MACs a second, and whose latencies follow MACs."""
    macs, alone = draft.step_macs / 20e9, draft.median.macs_m / 20e3
    ms = [arch.macs_m / 20 for arch in (draft.space.smallest, draft.space.largest)]
    return Throughput(draft, 1e-3, 3 * macs, 3 * alone, 0.02, macs / 4, 40.0, 0.06, *ms)


def compared_images(sweep: Sweep) -> int:
    """The images that a run of a sweep compares networks on."""
    data = build_data(sweep.data, sweep.seed, sweep.search_space.images)
    return sum(len(target_B) for _, target_B in data.val_dataloader())


def image_set(total: int = 1000, side: int = 64, channels: int = 3, classes: int = 4) -> ImageSet:
    """A set of as many images in each class, known by what an inspection says of it."""
    names = tuple(f"class{i}" for i in range(classes))
    counts = tuple(total // classes for _ in names)
    labels_N = np.repeat(np.arange(classes), total // classes)
    sample = Sample(side, (side, side), channels)
    files = tuple(f"{number}.png" for number in range(len(labels_N)))
    return ImageSet(Path("x"), names, counts, sample, {TRAIN: Files(files, files, labels_N)})
