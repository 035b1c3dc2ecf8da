"""Image data on disk in every layout, and ways to compare what loaders give."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from masks import write_masks
from PIL import Image
from tables import write_table
from torch import Tensor

from ffnet_search.config.schema import DataSection
from ffnet_search.data.cifar import Cifar10, Cifar100
from ffnet_search.space.input import Input

COLOUR = Input(3, 32, 10)
FOUR = Input(3, 16, 4)
KINDS: dict[str, tuple[dict[str, Any], Input, int]] = {
    # name: data section, input, images in all
    "digits": ({"name": "digits", "validation": 0.25}, Input(1, 8, 10), 1797),
    "cifar10": ({"name": "cifar10", "path": "cifar-10-batches-py"}, COLOUR, 1200),
    "cifar100": ({"name": "cifar100", "path": "."}, Input(3, 32, 100), 1200),
    "folder": ({"name": "image_folder", "path": "folder"}, FOUR, 300),
    "folder_wide": ({"name": "image_folder", "path": "folder"}, Input(3, (12, 20), 4), 300),
    "folder_grey": ({"name": "image_folder", "path": "folder"}, Input(1, 16, 4), 300),
    "folder_streamed": ({"name": "image_folder", "path": "folder", "in_memory_mb": 0}, FOUR, 300),
    "tree": ({"name": "image_folder", "path": "tree", "workers": 0, "in_memory_mb": 0}, FOUR, 240),
    "masks": ({"name": "mask_folder", "path": "masks"}, Input(3, 16, 3, "segmentation"), 120),
    "numbers": ({"name": "picture_table", "path": "numbers"}, Input(3, 16, 2, "regression"), 120),
    "labels": ({"name": "picture_table", "path": "labels/table.csv"}, Input(3, 16, 3, "multilabel"), 120),
    "user": ({"name": "user_data:MyData"}, Input(3, 8, 4), 160),
}


def section(name: str, **fields: Any) -> DataSection:
    return DataSection.model_validate({"name": name} | fields)


def photo_patches() -> np.ndarray:
    """1,200 different 32 x 32 patches of scikit-learn's two photographs: uint8 (N, 32, 32, 3)."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    corners = [(rng.integers(427 - 32), rng.integers(640 - 32)) for _ in range(1300)]
    patches = np.stack([photos[i % 2][y : y + 32, x : x + 32] for i, (y, x) in enumerate(corners)])
    _, first = np.unique(patches.reshape(len(patches), -1), axis=0, return_index=True)
    return patches[np.sort(first)[:1200]]


def python2(content: object) -> bytes:
    """A pickle as Python 2 wrote the official files: str for bytes, and NumPy's function under its old name."""
    return pickle.PROTO + b"\x02" + _python2(content) + pickle.STOP


def _python2(value: Any) -> bytes:
    if value is None:
        return pickle.NONE
    if isinstance(value, bool):
        return pickle.NEWTRUE if value else pickle.NEWFALSE
    if isinstance(value, int):
        return pickle.BININT + value.to_bytes(4, "little", signed=True)
    if isinstance(value, str | bytes):
        text = value.encode() if isinstance(value, str) else value
        return pickle.BINSTRING + len(text).to_bytes(4, "little") + text
    if isinstance(value, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_python2, value)) + pickle.APPENDS
    if isinstance(value, tuple):
        return pickle.MARK + b"".join(map(_python2, value)) + pickle.TUPLE
    if isinstance(value, dict):
        items = b"".join(_python2(key) + _python2(item) for key, item in value.items())
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    if callable(value):
        module = value.__module__.replace("numpy._core", "numpy.core")
        return pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode()
    function, arguments, state = value.__reduce__()  # an array, or its dtype
    return _python2(function) + _python2(arguments) + pickle.REDUCE + _python2(state) + pickle.BUILD


def write_cifar(folder: Path, pixels: np.ndarray, classes: int, dump: Callable[[object], bytes] = python2) -> Path:
    """The official layout, with a sixth of the images as the test split."""
    cifar = {10: Cifar10, 100: Cifar100}[classes]
    rows = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    labels = [i % classes for i in range(len(pixels))]
    place = folder / cifar.folder
    place.mkdir(parents=True)
    test = len(rows) // 6
    bounds = np.linspace(test, len(rows), len(cifar.train_files) + 1).astype(int)
    for name, start, end in zip((cifar.test_file, *cifar.train_files), (0, *bounds), (test, *bounds[1:]), strict=False):
        content = {b"data": np.ascontiguousarray(rows[start:end]), cifar.label_key: labels[start:end]}
        (place / name).write_bytes(dump(content | {b"batch_label": name.encode()}))
    names = [f"class {label}".encode() for label in range(classes)]
    (place / cifar.meta_file).write_bytes(dump({cifar.names_key: names}))
    return place


def write_tree(root: Path, pixels: np.ndarray, classes: int = 4) -> Path:
    """A folder per class, with PNG files."""
    for index, image in enumerate(pixels):
        folder = root / f"class_{index % classes}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:04d}.png")
    return root


def write_layouts(root: Path, patches: np.ndarray) -> Path:
    """Every layout of `KINDS`."""
    write_cifar(root, patches, 10)
    write_cifar(root, patches, 100)
    write_tree(root / "folder/train", patches[:240])
    write_tree(root / "folder/test", patches[240:300])
    write_tree(root / "tree", patches[:240])
    write_masks(root / "masks/train", 90)
    write_masks(root / "masks/test", 30, seed=1)
    write_table(root / "numbers", "regression", 120)
    write_table(root / "labels", "multilabel", 120, tests=30)
    return root


def prints(images_BCHW: Tensor) -> list[str]:
    """A hash per image."""
    return [hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest() for image in images_BCHW]


def batch_print(batch: tuple[Tensor, Tensor]) -> str:
    images, labels = batch
    return hashlib.sha256("".join([*prints(images), str(labels.tolist())]).encode()).hexdigest()[:8]


def all_prints(loader: Any) -> list[str]:
    return [print_ for images, _ in loader for print_ in prints(images)]


def whole_train(data: Any) -> set[str]:
    """The train split, from as many epochs as needed: an epoch leaves out the images that do not fill a batch."""
    seen: set[str] = set()
    loader = data.train_dataloader()
    for epoch in range(200):
        loader.set_epoch(epoch)
        seen |= set(all_prints(loader))
        if len(seen) >= data.train_images:
            break
    return seen
