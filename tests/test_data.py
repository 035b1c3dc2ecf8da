"""Every data set keeps one contract: four splits, reproducible batches, resumable anywhere. Then what each adds."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from loopback import served
from PIL import Image
from torch import Tensor

from ffnet_search.config.schema import Augment, DataSection
from ffnet_search.data.cifar import CIFAR10, CIFAR100, download
from ffnet_search.data.dataset import split, stratified_order
from ffnet_search.data.image_folder import Pictures, centre_box, random_box, to_mode
from ffnet_search.data.registry import DATASETS, build_data, check_data
from ffnet_search.data.transforms import augment_batch
from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Input

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


COLOUR = Input(channels=3, resolution=32, outputs=10)
FOUR = Input(channels=3, resolution=16, outputs=4)
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


def test_a_batch_of_validation_has_all_classes_in_proportion(make: Callable[..., Any]) -> None:
    """The supernet is looked at with the statistics of a batch, which one class alone would spoil."""
    data = make("tree")
    whole = torch.cat([labels for _, labels in data.val_dataloader()]).bincount(minlength=len(data.classes))
    for _, labels in data.val_dataloader():
        expected = whole / whole.sum() * len(labels)
        assert (labels.bincount(minlength=len(data.classes)) - expected).abs().max() <= 1


@KIND
def test_batches_have_the_shapes_of_the_input(kind: str, make: Callable[..., Any]) -> None:
    data, input = make(kind), KINDS[kind][1]
    assert len(data.classes) == input.outputs
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batches = list(loader)
        assert len(batches) == len(loader)
        for images, labels in batches:
            assert images.dtype == torch.float32 and labels.dtype == torch.int64
            assert images.shape == (len(labels), input.channels, input.resolution, input.resolution)
            assert kind == "foreign" or images.is_contiguous(memory_format=torch.channels_last)
            assert labels.min() >= 0 and labels.max() < input.outputs
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
        data = make(kind, batch_size=8, **({"init_args": {"images": 128}} if kind == "foreign" else {}))
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
    "folder_streamed": {"batch_size": 48, "workers": 1, "augment": {"flip": True, "resized_crop": 0.3}},
    "foreign": {"init_args": {"images": 70, "noise": 0.1}},
}


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create")
def test_a_killed_training_sees_the_batches_that_it_missed(kind: str, make: Callable[..., Any], tmp_path: Path) -> None:
    build = partial(make, kind, **FITTED[kind])
    whole = fit(build(), save=tmp_path)
    steps = len(build().train_dataloader())
    assert len(whole.seen) == 3 * steps and len(set(whole.seen)) == 3 * steps
    saved = {f"step={step}": step for step in (1, steps - 1, steps, steps + 2)} | {"epoch=1": 2 * steps}
    for name, step in saved.items():
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


# Splits and augmentation


def test_every_prefix_of_a_stratified_order_holds_every_class_in_proportion() -> None:
    labels = np.repeat(np.arange(5), [1, 7, 40, 100, 352])
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(500))
    for count in range(1, 501):
        shares = np.bincount(labels[order[:count]], minlength=5) - np.bincount(labels) * count / 500
        assert np.abs(shares).max() <= 1.5
    rest, held_out = split(labels, 0.1, np.random.default_rng(0))
    assert len(held_out) == 50 and set(rest) | set(held_out) == set(range(500))


def test_the_test_split_of_digits_does_not_depend_on_the_seed(make: Callable[..., Any]) -> None:
    first, second = make("digits", seed=0), make("digits", seed=1)
    assert all_prints(first.val_dataloader()) != all_prints(second.val_dataloader())
    labels = [torch.cat([labels for _, labels in data.test_dataloader()]).tolist() for data in (first, second)]
    assert labels[0] == labels[1] and len(labels[0]) == 359


def test_digits_keep_their_17_levels(make: Callable[..., Any]) -> None:
    data = make("digits")
    mean, std = data.statistics
    levels = torch.cat([images for images, _ in data.train_dataloader()]) * std + mean
    assert torch.allclose(levels.unique().round().unique(), (torch.arange(17) * 255 / 16).round())


def test_crop_and_flip_move_whole_images() -> None:
    images = torch.arange(1.0, 1 + 64 * 2 * 6 * 6).view(64, 2, 6, 6)
    moved = augment_batch(images, Augment(crop=2, flip=True), torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    flipped = shifted = 0
    for image, whole in zip(moved, padded, strict=True):
        found = [
            (y, x, flip)
            for y in range(5)
            for x in range(5)
            for flip in (False, True)
            if torch.equal(image, whole[:, y : y + 6, x : x + 6].flip(2) if flip else whole[:, y : y + 6, x : x + 6])
        ]
        assert len(found) == 1
        flipped, shifted = flipped + found[0][2], shifted + (found[0][:2] != (2, 2))
    assert 16 < flipped < 48 and shifted > 48
    assert moved.is_contiguous(memory_format=torch.channels_last)


def test_cutout_takes_one_square_out_of_every_image() -> None:
    images = torch.ones(200, 3, 9, 9)
    cut = augment_batch(images, Augment(cutout=4), torch.Generator().manual_seed(0))
    for image in cut:
        rows, columns = (image[0] == 0).any(1).sum(), (image[0] == 0).any(0).sum()
        assert 2 <= rows <= 4 and 2 <= columns <= 4 and (image == 0).sum() == 3 * rows * columns
    assert (cut == 0).any(0).all(), "every pixel is cut out of some image"
    assert images.min() == 1, "the batch that came in is as it was"


def test_augmentation_repeats_and_can_be_off() -> None:
    images = torch.randn(8, 3, 8, 8)
    augment = Augment(crop=1, flip=True, cutout=3)
    once, again, other = (augment_batch(images, augment, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert augment_batch(images, Augment(), torch.Generator()) is images


# CIFAR


@pytest.mark.parametrize("dump", [python2, partial(pickle.dumps, protocol=2), partial(pickle.dumps, protocol=5)])
def test_cifar_pickles_of_every_age_hold_the_same_images(
    dump: Callable[[object], bytes], tmp_path: Path, patches: np.ndarray, make: Callable[..., Any]
) -> None:
    folder = write_cifar(tmp_path, patches, 10, dump)
    data = make("cifar10", path=str(folder))
    assert data.fingerprint == make("cifar10").fingerprint and data.classes[3] == "class 3"
    mean, std = (statistic[:, None, None] for statistic in data.statistics)
    images, labels = next(iter(data.test_dataloader()))
    pixels = (images * std + mean).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, patches[:16]) and labels.tolist() == [i % 10 for i in range(16)]


def test_cifar_archive_is_the_folder(tmp_path: Path, place: Path, make: Callable[..., Any]) -> None:
    with tarfile.open(tmp_path / CIFAR10.archive, "w:gz") as archive:
        archive.add(place / CIFAR10.folder, CIFAR10.folder)
    fingerprint = make("cifar10").fingerprint
    for path in (tmp_path, tmp_path / CIFAR10.archive, place):
        check_data(DataSection(name="cifar10", path=path), COLOUR)
        assert make("cifar10", path=str(path)).fingerprint == fingerprint


def test_other_content_in_the_same_layout_has_another_fingerprint(
    tmp_path: Path, patches: np.ndarray, make: Callable[..., Any]
) -> None:
    changed = patches.copy()
    changed[500, 3, 4, 1] ^= 1
    assert make("cifar10", path=str(write_cifar(tmp_path, changed, 10))).fingerprint != make("cifar10").fingerprint


class Hostile:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, np.load, getattr, bytearray])
def test_a_pickle_can_name_nothing_but_arrays(
    function: Any, tmp_path: Path, patches: np.ndarray, make: Callable[..., Any]
) -> None:
    folder = write_cifar(tmp_path, patches, 10)
    (folder / "data_batch_2").write_bytes(pickle.dumps({b"data": Hostile(function, f"touch {tmp_path}/gone")}, 2))
    with pytest.raises(SweepError, match=r"data_batch_2 is not a file of CIFAR.*only NumPy arrays are allowed"):
        make("cifar10", path=str(folder))
    assert not (tmp_path / "gone").exists()


ROWS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "data_batch_1 is not a file of CIFAR's python version"),
        (b"\x80\x02broken", "data_batch_1 is not a file of CIFAR's python version"),
        (pickle.dumps([1], 2), "must hold a dict, but holds list"),
        (python2({b"data": ROWS}), "as many integers under 'labels'"),
        (python2({b"data": ROWS, b"labels": [1, 2, 3]}), "as many integers under 'labels'"),
        (python2({b"data": ROWS, b"labels": [[1], [2, 3]]}), "as many integers under 'labels'"),
        (python2({b"data": ROWS.astype(np.float32), b"labels": [1, 2]}), "but holds float32"),
        (python2({b"data": ROWS[:, :-1], b"labels": [1, 2]}), r"uint8 \(2, 3071\)"),
        (python2({b"data": ROWS, b"labels": [1, 10]}), r"labels in 0..9, but has 1..10"),
    ],
)
def test_a_broken_cifar_file_is_named(
    content: bytes, message: str, tmp_path: Path, patches: np.ndarray, make: Callable[..., Any]
) -> None:
    folder = write_cifar(tmp_path, patches, 10)
    (folder / "data_batch_1").write_bytes(content)
    with pytest.raises(SweepError, match=message):
        make("cifar10", path=str(folder))


@pytest.fixture
def server(tmp_path: Path, place: Path) -> Iterator[tuple[str, str]]:
    """URL and md5 of CIFAR's archive on this machine."""
    folder = tmp_path / "server"
    folder.mkdir()
    with tarfile.open(folder / CIFAR10.archive, "w:gz") as archive:
        archive.add(place / CIFAR10.folder, CIFAR10.folder)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    md5 = hashlib.md5((folder / CIFAR10.archive).read_bytes(), usedforsecurity=False).hexdigest()
    with served(partial(Quiet, directory=str(folder))) as address:
        yield f"http://{address}/{CIFAR10.archive}", md5


def test_download_happens_when_it_is_asked_for_and_only_once(
    server: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]
) -> None:
    url, md5 = server
    monkeypatch.setitem(DATASETS, "cifar10", replace(CIFAR10, url=url, md5=md5))
    folder = tmp_path / "new/data"
    with pytest.raises(SweepError, match=r"no such folder or file; correct data.path, or set data.download: true"):
        make("cifar10", path=str(folder))
    assert not folder.exists()
    data = make("cifar10", path=str(folder), download=True)
    assert data.fingerprint == make("cifar10").fingerprint
    assert [file.name for file in folder.iterdir()] == [CIFAR10.archive]
    monkeypatch.setitem(DATASETS, "cifar10", replace(CIFAR10, url="http://127.0.0.1:1/", md5=md5))
    assert make("cifar10", path=str(folder), download=True).fingerprint == data.fingerprint


def test_a_download_with_the_wrong_checksum_leaves_nothing(server: tuple[str, str], tmp_path: Path) -> None:
    url, md5 = server
    target = tmp_path / "data" / CIFAR10.archive
    with pytest.raises(SweepError, match=rf"must have the md5 checksum {'0' * 32}, but what arrived has {md5}"):
        download(url, "0" * 32, target)
    with pytest.raises(SweepError, match="cannot be fetched"):
        download(url + ".no", md5, target)
    assert not list(target.parent.iterdir())


# Image folders


def test_pictures_of_every_kind_become_the_same_square(tmp_path: Path) -> None:
    colour = Image.new("RGB", (40, 40), (200, 100, 50))
    grey = Image.new("L", (40, 40), 90)
    turned = Image.Exif()
    turned[0x0112] = 6  # shown after a quarter turn
    corner = Image.new("RGB", (40, 40))
    corner.paste("red", (0, 0, 20, 20))
    see_through = Image.new("RGBA", (40, 40), (9, 9, 9, 0))
    deep = Image.fromarray(np.full((40, 40), 90 * 257, np.uint16))
    for name, image, expected in (
        ("colour.png", colour, (200, 100, 50)),
        ("grey.png", grey, (90, 90, 90)),
        ("palette.png", colour.convert("P", palette=Image.Palette.ADAPTIVE), (200, 100, 50)),
        ("palette.gif", colour.convert("P", palette=Image.Palette.ADAPTIVE), (200, 100, 50)),
        ("cmyk.jpg", colour.convert("CMYK"), (200, 100, 50)),
        ("see_through.png", see_through, (255, 255, 255)),
        ("opaque.png", colour.convert("RGBA"), (200, 100, 50)),
        ("grey_alpha.png", grey.convert("LA"), (90, 90, 90)),
        ("sixteen.png", deep, (90, 90, 90)),
        ("bilevel.png", Image.new("1", (40, 40), 1), (255, 255, 255)),
    ):
        image.save(tmp_path / name)
        pixels = Pictures((str(tmp_path / name),), 16, "RGB", 1, 0.0).decode(0)
        assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, 3), (name, pixels)
        assert np.abs(pixels.astype(int) - expected).max() <= 3, name
    corner.save(tmp_path / "turned.jpg", exif=turned, quality=95)
    pixels = Pictures((str(tmp_path / "turned.jpg"),), 16, "RGB", 1, 0.0).decode(0)
    assert isinstance(pixels, np.ndarray) and pixels[2, 13, 0] > 200 > 50 > pixels[2, 2, 0]
    with pytest.raises(ValueError, match="floating-point"):
        to_mode(Image.new("F", (4, 4)), "L")


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (17, 31), (1000, 700)])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_sizes_are_cropped_in_the_middle(size: tuple[int, int], channels: int, tmp_path: Path) -> None:
    left, upper, right, lower = centre_box(*size)
    assert right - left == lower - upper == min(size) and left + right == size[0] and upper + lower == size[1]
    Image.new("RGB", size, "white").save(tmp_path / "odd.jpg")
    pictures = Pictures((str(tmp_path / "odd.jpg"),), 16, "L" if channels == 1 else "RGB", 1, 0.2)
    for key in (None, (0, 1)):
        pixels = pictures.decode(0, key)
        assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, channels) and pixels.min() > 250


def test_random_boxes_lie_in_the_picture_and_keep_their_share() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(60, 40, 0.25, rng) for _ in range(500)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 60 and boxes[:, 3].max() <= 40
    assert (width * height).min() >= 0.25 * 2400 - 1e-6 and (width * height).max() > 0.6 * 2400
    assert (width / height).min() >= 0.749 and (width / height).max() <= 1.334


def test_a_tree_without_test_folder_gives_a_fifth_of_every_class_away(make: Callable[..., Any]) -> None:
    labels = torch.cat([labels for _, labels in make("tree").test_dataloader()])
    assert labels.bincount().tolist() == [12, 12, 12, 12]


def test_streamed_images_are_those_in_memory(make: Callable[..., Any]) -> None:
    held, streamed = make("folder"), make("folder_streamed")
    assert held.fingerprint == streamed.fingerprint
    for (a, labels), (b, same) in zip(held.test_dataloader(), streamed.test_dataloader(), strict=True):
        (mean, std), (mean_b, std_b) = held.statistics, streamed.statistics
        pixels, pixels_b = (a.permute(0, 2, 3, 1) * std + mean), (b.permute(0, 2, 3, 1) * std_b + mean_b)
        assert torch.equal(labels, same) and torch.equal(pixels.round(), pixels_b.round())


@pytest.mark.parametrize("in_memory_mb", [0, 100])
def test_all_unreadable_files_are_named_at_once(in_memory_mb: int, tmp_path: Path, patches: np.ndarray) -> None:
    for part, first in (("train", 0), ("test", 80)):
        write_tree(tmp_path / part, patches[first : first + 80])
    broken = ["train/class_0/0000.png", "train/class_2/0042.png", "test/class_3/0003.png"]
    (tmp_path / broken[0]).write_bytes(b"")
    (tmp_path / broken[1]).write_bytes((tmp_path / broken[1]).read_bytes()[:1000])
    (tmp_path / broken[2]).write_text("no picture")
    section = DataSection(name="image_folder", path=tmp_path, in_memory_mb=in_memory_mb, calibration=2)
    with pytest.raises(SweepError, match="3 files cannot be read as pictures; remove or replace them") as raised:
        list(build_data(section, 0, FOUR).train_dataloader())
    assert all(str(tmp_path / name) in str(raised.value) for name in broken)


def test_files_that_are_not_called_pictures_are_left_alone(tmp_path: Path, patches: np.ndarray) -> None:
    write_tree(tmp_path, patches[:40])
    section = DataSection(name="image_folder", path=tmp_path)
    before = build_data(section, 0, FOUR).fingerprint
    (tmp_path / "class_0/Thumbs.db").write_text("x")
    (tmp_path / "class_0/.hidden.png").write_text("x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    assert build_data(section, 0, FOUR).fingerprint == before
    Image.fromarray(patches[50]).save(tmp_path / "class_0/new.PNG")
    assert build_data(section, 0, FOUR).fingerprint != before


# What a user gets wrong


def section(name: str, **fields: Any) -> DataSection:
    return DataSection.model_validate({"name": name} | fields)


@pytest.mark.parametrize(
    ("data", "input", "message"),
    [
        (section("digit"), Input(1, 8, 10), r"'digit' is neither a known data set .* did you mean 'digits'\?"),
        (section("digits"), COLOUR, r"'digits' has channels 1, but the search space has input.channels 3; set"),
        (section("digits"), Input(1, 9, 10), r"'digits' has resolution 8, but .* input.resolution 9"),
        (section("digits"), Input(1, 8, 11), r"'digits' has classes 10, but .* set input.classes: 10 in the search"),
        (section("digits", init_args={"a": 1}), Input(1, 8, 10), "data.init_args are for a data module by import path"),
        (section("digits", augment={"crop": 8}), Input(1, 8, 10), "data.augment.crop must be < 8"),
        (section("digits", augment={"resized_crop": 0.5}), Input(1, 8, 10), "resized_crop is for image_folder"),
        (section("cifar10"), COLOUR, "data.path must be given for cifar10"),
        (section("cifar10", path="no/where"), COLOUR, "no/where .* no such folder or file"),
        (section("cifar100", path="no/where"), COLOUR, "'cifar100' has classes 100"),
        (section("image_folder"), FOUR, "data.path must be given for image_folder"),
        (section("image_folder", path="no/where"), FOUR, "no/where must be a folder with one folder per class"),
        (section("image_folder", path="PLACE/tree"), Input(3, 16, 5), "'image_folder' has classes 4"),
        (section("image_folder", path="PLACE/tree"), Input(2, 16, 4), "1 or 3 channels"),
        (section("image_folder", path="PLACE/tree/class_0"), FOUR, "must hold a folder per class, two at least"),
        (section("no_such_package.module:MyData"), FOUR, "there is no module 'no_such_package.module'"),
        (section("my_own_data.more:MyData"), FOUR, "there is no module 'my_own_data.more'"),
        (section("my_own_data:MyData", augment={"flip": True}), FOUR, "which augments its images by itself"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_loaded(
    data: DataSection, input: Input, message: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(place)
    if data.path is not None:
        data = data.model_copy(update={"path": Path(str(data.path).replace("PLACE", str(place)))})
    for ask in (partial(check_data, data, input), partial(build_data, data, 0, input)):
        with pytest.raises(SweepError, match=message) as raised:
            ask()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "input", "message"),
    [
        (section("my_own_data:Nothing"), FOUR, "must name a LightningDataModule, but Nothing is not there"),
        (section("my_own_data:Noisy"), FOUR, "must name a LightningDataModule, but Noisy is <class"),
        (section("my_own_data:NoTest"), FOUR, "must offer .* but lacks test_dataloader"),
        (section("my_own_data:MyData", init_args={"imagse": 3}), FOUR, "data.init_args must fit .*'imagse'"),
        (section("my_own_data:MyData"), FOUR, r"val_dataloader .* must give float32 images of \(3, 16, 16\)"),
        (section("digits", validation=1e-4), Input(1, 8, 10), "data.validation must leave 2 images"),
    ],
)
def test_other_mistakes_are_found_while_building(
    data: DataSection, input: Input, message: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(place)
    with pytest.raises(SweepError, match=message):
        build_data(data, 0, input)


def test_incomplete_folders_are_named(tmp_path: Path, patches: np.ndarray) -> None:
    cifar = write_cifar(tmp_path / "a", patches, 10)
    (cifar / "data_batch_3").unlink()
    with pytest.raises(SweepError, match="but lacks data_batch_3"):
        check_data(section("cifar10", path=cifar), COLOUR)
    tree = write_tree(tmp_path / "b/train", patches[:40]).parent
    write_tree(tree / "val", patches[:40], classes=5)
    with pytest.raises(SweepError, match="but also has class_4"):
        check_data(section("image_folder", path=tree), FOUR)
    for name in ("class_1", "class_3"):
        for file in (tree / "train" / name).iterdir():
            file.unlink()
    with pytest.raises(SweepError, match=r"must hold pictures .* but class_1, class_3 have none"):
        check_data(section("image_folder", path=tree), FOUR)


def test_an_archive_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "cifar.tar.gz").write_text("<html>")
    with pytest.raises(SweepError, match="must be a tar archive"):
        check_data(section("cifar10", path=tmp_path / "cifar.tar.gz"), COLOUR)
    with pytest.raises(SweepError, match="cannot be read"):
        build_data(section("cifar10", path=tmp_path / "cifar.tar.gz"), 0, COLOUR)


def test_a_check_needs_neither_torch_nor_lightning_nor_scikit_learn(place: Path) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from ffnet_search.architecture import Input
        from ffnet_search.data import check_data
        from ffnet_search.sections import DataSection
        sys.path.append({str(place)!r})
        check_data(DataSection(), Input(1, 8, 10))
        check_data(DataSection(name="cifar10", path=Path({str(place)!r})), Input(3, 32, 10))
        check_data(DataSection(name="image_folder", path=Path({str(place / "tree")!r})), Input(3, 16, 4))
        check_data(DataSection(name="my_own_data:MyData"), Input(3, 8, 4))
        print({{"torch", "lightning", "sklearn", "my_own_data"}} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# The real images


def test_real_cifar_is_the_same_in_both_layouts(tmp_path: Path) -> None:
    """15 + 15 images of each class, as the archive has them, and decoded into the official layout."""
    folder = Path(os.environ.get("FFNET_CIFAR", Path(__file__).parents[2] / "shared/data"))
    if not (folder / "cifar10-jpeg.tar.gz").is_file():
        pytest.skip(f"no {folder}/cifar10-jpeg.tar.gz; set FFNET_CIFAR to the folder with the real CIFAR-10 images")
    taken: Counter[str] = Counter()
    with tarfile.open(folder / "cifar10-jpeg.tar.gz") as archive:
        for member in archive:
            taken[str(Path(member.name).parent)] += member.isfile()
            if member.isfile() and taken[str(Path(member.name).parent)] <= 15:
                archive.extract(member, tmp_path / "tree", filter="data")
    classes = sorted(path.name for path in (tmp_path / "tree/train").iterdir())
    official = tmp_path / CIFAR10.folder
    official.mkdir()
    for part, names in (("train", CIFAR10.train_files), ("test", (CIFAR10.test_file,))):
        files = sorted((tmp_path / "tree" / part).glob("*/*.jpg"))
        for name, share in zip(names, np.array_split(np.arange(len(files)), len(names)), strict=True):
            images = [np.asarray(Image.open(files[i]).convert("RGB")).transpose(2, 0, 1).ravel() for i in share]
            labels = [classes.index(files[i].parent.name) for i in share]
            (official / name).write_bytes(python2({b"data": np.stack(images), b"labels": labels}))
    tree = build_data(section("image_folder", path=tmp_path / "tree"), 0, COLOUR)
    cifar = build_data(section("cifar10", path=official), 0, COLOUR)
    assert tree.classes == tuple(classes) and tree.train_images == cifar.train_images == 135
    assert [batch_print(batch) for batch in tree.train_dataloader()] == [
        batch_print(batch) for batch in cifar.train_dataloader()
    ]
    assert all_prints(tree.test_dataloader()) == all_prints(cifar.test_dataloader())
    assert torch.equal(tree.calibration, cifar.calibration)
    mean, std = (statistic / 255 for statistic in tree.statistics)
    assert (mean - torch.tensor([0.4913, 0.4821, 0.4465])).abs().max() < 0.06  # as of all 50,000
    assert (std - torch.tensor([0.2452, 0.2428, 0.2606])).abs().max() < 0.06
