"""Every data set keeps one contract: four splits, reproducible batches, resumable anywhere. Then what each adds."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor

from ffnet_search.architecture import Input
from ffnet_search.data import DATASETS, build_data, check_data
from ffnet_search.data.augment import augment_batch
from ffnet_search.data.cifar import CIFAR10, CIFAR100, download
from ffnet_search.data.folder import centre_box, random_box, to_mode
from ffnet_search.data.source import split, stratified_order
from ffnet_search.errors import SweepError
from ffnet_search.sweep import Augment, DataSection

FOREIGN = '''
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    """Augments by drawing from torch's generator, as transforms do."""

    def __init__(self, images, labels, noise):
        self.images, self.labels, self.noise = images, labels, noise

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        return image + self.noise * torch.randn(image.shape), self.labels[index]


class MyData(LightningDataModule):
    def __init__(self, images=120, noise=0.0, workers=0):
        super().__init__()
        self.images, self.noise, self.workers = images, noise, workers

    def setup(self, stage):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(self.images + 40, 3, 8, 8, generator=generator)
        self.y = torch.arange(len(self.x)) % 4

    def loader(self, part, noise=0.0, **kwargs):
        return DataLoader(Noisy(self.x[part], self.y[part], noise), batch_size=16, num_workers=self.workers, **kwargs)

    def train_dataloader(self):
        return self.loader(slice(0, -40), self.noise, shuffle=True)

    def val_dataloader(self):
        return self.loader(slice(-40, -20))

    def test_dataloader(self):
        return self.loader(slice(-20, None))


class NoTest(LightningDataModule):
    def train_dataloader(self): ...
    def val_dataloader(self): ...
'''


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as Python 2 wrote str, and NumPy's function under its old name, as in the official files."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        short = len(value) < 256
        size = bytes([len(value)]) if short else len(value).to_bytes(4, "little")
        self.write((pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + size + value)
        self.memoize(value)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if getattr(obj, "__module__", "").startswith("numpy._core."):
            self.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch[bytes] = save_bytes


def python2(content: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(content)
    return file.getvalue()


@pytest.fixture(scope="session")
def patches() -> np.ndarray:
    """1,200 different 32 x 32 patches of scikit-learn's two photographs: uint8 (N, 32, 32, 3)."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    photos = load_sample_images().images
    corners = [(rng.integers(427 - 32), rng.integers(640 - 32)) for _ in range(1300)]
    found = np.stack([photos[i % 2][y : y + 32, x : x + 32] for i, (y, x) in enumerate(corners)])
    _, first = np.unique(found.reshape(len(found), -1), axis=0, return_index=True)
    return found[np.sort(first)[:1200]]


def write_cifar(folder: Path, pixels: np.ndarray, classes: int, dump: Callable[[object], bytes] = python2) -> Path:
    """The official layout, with a sixth of the images as the test split."""
    cifar = {10: CIFAR10, 100: CIFAR100}[classes]
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
    for index, image in enumerate(pixels):
        folder = root / f"class_{index % classes}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:04d}.png")
    return root


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, patches: np.ndarray) -> Path:
    """Every layout with something in it."""
    root = tmp_path_factory.mktemp("data")
    write_cifar(root, patches, 10)
    write_cifar(root, patches, 100)
    write_tree(root / "folder/train", patches[:240])
    write_tree(root / "folder/test", patches[240:300])
    write_tree(root / "tree", patches[:240])
    (root / "my_own_data.py").write_text(FOREIGN)
    return root


COLOUR = Input(channels=3, resolution=32, classes=10)
FOUR = Input(channels=3, resolution=16, classes=4)
KINDS: dict[str, tuple[dict[str, Any], Input, int]] = {
    # name: data section, input, images in all
    "digits": ({"name": "digits", "validation": 0.25}, Input(1, 8, 10), 1797),
    "cifar10": ({"name": "cifar10", "path": "cifar-10-batches-py"}, COLOUR, 1200),
    "cifar100": ({"name": "cifar100", "path": "."}, Input(3, 32, 100), 1200),
    "folder": ({"name": "image_folder", "path": "folder"}, FOUR, 300),
    "folder_grey": ({"name": "image_folder", "path": "folder"}, Input(1, 16, 4), 300),
    "folder_streamed": ({"name": "image_folder", "path": "folder", "in_memory_mb": 0}, FOUR, 300),
    "tree": ({"name": "image_folder", "path": "tree", "workers": 0, "in_memory_mb": 0}, FOUR, 240),
    "foreign": ({"name": "my_own_data:MyData"}, Input(3, 8, 4), 160),
}
KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def make(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.syspath_prepend(place)

    def make(kind: str, seed: int = 0, **changes: Any) -> Any:
        section, input, _ = KINDS[kind]
        section = {"batch_size": 16, "calibration": 64} | section | changes
        if "path" in section:
            section["path"] = place / section["path"]
        return build_data(DataSection.model_validate(section), seed, input)

    return make


def prints(images_BCHW: Tensor) -> list[str]:
    """What tells one image from another."""
    return [hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest() for image in images_BCHW]


def batch_print(batch: tuple[Tensor, Tensor]) -> str:
    images, labels = batch
    return hashlib.sha256("".join([*prints(images), str(labels.tolist())]).encode()).hexdigest()[:8]


def all_prints(loader: Any) -> list[str]:
    return [print_ for images, _ in loader for print_ in prints(images)]


def whole_train(data: Any) -> set[str]:
    """The train split, from as many epochs as it takes: what does not fill a batch is left out of an epoch."""
    found: set[str] = set()
    loader = data.train_dataloader()
    for epoch in range(200):
        loader.set_epoch(epoch)
        found |= set(all_prints(loader))
        if len(found) >= data.train_images:
            break
    return found


# The contract


@KIND
def test_splits_are_disjoint_and_hold_everything(kind: str, make: Callable[..., Any]) -> None:
    data = make(kind)
    train, validation, test = (
        whole_train(data), all_prints(data.val_dataloader()), all_prints(data.test_dataloader()),
    )  # fmt: skip
    assert len(train) == data.train_images
    assert not train & set(validation) and not train & set(test) and not set(validation) & set(test)
    assert len(train) + len(validation) + len(test) == KINDS[kind][2]


@KIND
def test_batches_have_the_shapes_of_the_input(kind: str, make: Callable[..., Any]) -> None:
    data, input = make(kind), KINDS[kind][1]
    assert len(data.classes) == input.classes
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batches = list(loader)
        assert len(batches) == len(loader)
        for images, labels in batches:
            assert images.dtype == torch.float32 and labels.dtype == torch.int64
            assert images.shape == (len(labels), input.channels, input.resolution, input.resolution)
            assert kind == "foreign" or images.is_contiguous(memory_format=torch.channels_last)
            assert labels.min() >= 0 and labels.max() < input.classes
    assert all(len(labels) == 16 for _, labels in list(data.train_dataloader())[:-1])


@KIND
def test_images_are_normalised(kind: str, make: Callable[..., Any]) -> None:
    images = torch.cat([images for images, _ in make(kind).train_dataloader()])
    streamed = kind in ("folder_streamed", "tree", "foreign")  # normalised by the calibration images
    near = 0.2 if streamed else 0.05
    assert images.mean((0, 2, 3)).abs().max() < near
    assert (images.std((0, 2, 3)) - 1).abs().max() < near


@KIND
def test_fingerprint_names_the_content_and_its_split(kind: str, make: Callable[..., Any]) -> None:
    fingerprint = make(kind).fingerprint
    assert len(fingerprint) == 64
    assert make(kind).fingerprint == fingerprint == make(kind, batch_size=8).fingerprint
    if kind != "foreign":
        assert make(kind, seed=1).fingerprint != fingerprint
        assert make(kind, validation=0.3).fingerprint != fingerprint


@KIND
def test_order_is_a_function_of_seed_and_epoch(kind: str, make: Callable[..., Any]) -> None:
    def epochs(seed: int) -> list[list[str]]:
        loader = make(kind, seed).train_dataloader()
        found = []
        for epoch in range(2):
            loader.set_epoch(epoch)
            found.append(all_prints(loader))
        return found

    first, again, other = epochs(0), epochs(0), epochs(1)
    assert first == again
    assert first[0] != first[1] and first[0] != other[0]
    assert len(set(first[0])) == len(first[0])


@KIND
@pytest.mark.parametrize("seen", [0, 1, 3])
def test_an_epoch_goes_on_where_it_was_left(kind: str, seen: int, make: Callable[..., Any]) -> None:
    whole = make(kind).train_dataloader()
    whole.set_epoch(2)
    expected = [prints(images) for images, _ in whole]
    left = make(kind).train_dataloader()
    left.set_epoch(2)
    for _, _ in zip(range(seen), left, strict=False):
        pass
    state = left.state_dict() if seen else {"epoch": 2, "batch": 0}
    resumed = make(kind).train_dataloader()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state == {"epoch": 2, "batch": seen}
    assert [prints(images) for images, _ in resumed] == expected[seen:]
    assert len(resumed) == len(expected)
    resumed.set_epoch(2)
    assert [prints(images) for images, _ in resumed] == expected, "only the first iteration begins in the middle"


@KIND
def test_calibration_is_a_part_of_train_without_augmentation(kind: str, make: Callable[..., Any]) -> None:
    foreign = kind == "foreign"
    data = make(kind) if foreign else make(kind, augment={"crop": 2, "flip": True, "cutout": 4})
    assert data.calibration.shape[0] == 64 and data.calibration.dtype == torch.float32
    assert set(prints(data.calibration)) <= whole_train(data)
    assert foreign or len(make(kind, calibration=10_000).calibration) == data.train_images


@KIND
def test_processes_share_every_batch(kind: str, make: Callable[..., Any]) -> None:
    def rank(rank: int, size: int) -> list[str]:
        data = make(kind, batch_size=8, **({"args": {"images": 128}} if kind == "foreign" else {}))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=size)
        return all_prints(data.train_dataloader())

    alone, first, second = rank(0, 1), rank(0, 2), rank(1, 2)
    assert len(first) == len(second) and not set(first) & set(second)
    assert len(first) + len(second) > len(alone) - 16  # but for what does not fill a last batch


class Recorder(LightningModule):
    """Trains nothing; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, str]] = []
        self.validated: list[str] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch_print(batch)))
        torch.rand(3)  # a training run draws numbers too
        return (self.weight * batch[0].mean()).sum()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.validated += prints(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: Any, checkpoint: Path | None = None, save: Path | None = None, epochs: int = 3) -> Recorder:
    """Saves after every step, and again at the end of every epoch, after validation."""
    recorder = Recorder()
    each_step = ModelCheckpoint(save, "{step}", every_n_train_steps=1, save_top_k=-1)
    each_epoch = ModelCheckpoint(save, "{epoch}", every_n_epochs=1, save_top_k=-1)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=save is not None,
        callbacks=[each_step, each_epoch] if save else [],
    )
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint)
    return recorder


FITTED = {
    "digits": {"batch_size": 256, "augment": {"crop": 1, "flip": True, "cutout": 2}},
    "folder_streamed": {"batch_size": 48, "augment": {"flip": True, "resized_crop": 0.3}},
    "foreign": {"args": {"images": 70, "noise": 0.1}},
}


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create")
def test_a_killed_training_sees_the_batches_that_it_missed(kind: str, make: Callable[..., Any], tmp_path: Path) -> None:
    build = partial(make, kind, **FITTED[kind])
    whole = fit(build(), save=tmp_path)
    steps = len(build().train_dataloader())
    assert len(whole.seen) == 3 * steps and len(set(whole.seen)) == 3 * steps
    saved = {f"step={step}": step for step in (1, steps - 1, steps, steps + 2, 2 * steps, 3 * steps - 1)}
    for name, step in (saved | {"epoch=0": steps, "epoch=1": 2 * steps}).items():
        resumed = fit(build(), tmp_path / f"{name}.ckpt")
        assert resumed.seen == whole.seen[step:], f"resumed from {name}, {steps} steps an epoch"


def test_training_batches_alone_are_augmented(make: Callable[..., Any]) -> None:
    data = make("digits", batch_size=256, augment={"crop": 1, "flip": True})
    recorder = fit(data, epochs=1)
    assert set(recorder.validated) == set(all_prints(data.val_dataloader()))
    plain = list(data.train_dataloader())
    augmented = [(data.augment(images, 0, index), labels) for index, (images, labels) in enumerate(plain)]
    assert [seen for _, seen in recorder.seen] == [batch_print(batch) for batch in augmented]
    assert not {batch_print(batch) for batch in augmented} & {batch_print(batch) for batch in plain}
