"""CIFAR in both layouts, pickles of every age and hostile ones, downloads."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import COLOUR, python2, section, write_cifar
from loopback import served
from PIL import Image

from ffnet_search.data.cifar import Cifar10
from ffnet_search.data.registry import build_data, check_data
from ffnet_search.errors import SweepError

# CIFAR


@pytest.mark.parametrize("dump", [python2, partial(pickle.dumps, protocol=2), partial(pickle.dumps, protocol=5)])
def test_cifar_pickles_of_every_age_hold_the_same_images(
    dump: Callable[[object], bytes], tmp_path: Path, patches: np.ndarray, make_data: Callable[..., Any]
) -> None:
    folder = write_cifar(tmp_path, patches, 10, dump)
    data = make_data("cifar10", path=str(folder))
    assert data.fingerprint == make_data("cifar10").fingerprint and data.outputs[3] == "class 3"
    mean, std = (statistic[:, None, None] for statistic in data.statistics)
    images, labels = next(iter(data.test_dataloader()))
    pixels = (images * std + mean).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, patches[:16]) and labels.tolist() == [i % 10 for i in range(16)]


def test_cifar_archive_is_the_folder(tmp_path: Path, layouts: Path, make_data: Callable[..., Any]) -> None:
    with tarfile.open(tmp_path / Cifar10.archive, "w:gz") as archive:
        archive.add(layouts / Cifar10.folder, Cifar10.folder)
    fingerprint = make_data("cifar10").fingerprint
    for path in (tmp_path, tmp_path / Cifar10.archive, layouts):
        check_data(section("cifar10", path=path), COLOUR)
        assert make_data("cifar10", path=str(path)).fingerprint == fingerprint


def test_other_content_in_the_same_layout_has_another_fingerprint(
    tmp_path: Path, patches: np.ndarray, make_data: Callable[..., Any]
) -> None:
    changed = patches.copy()
    changed[500, 3, 4, 1] ^= 1
    assert (
        make_data("cifar10", path=str(write_cifar(tmp_path, changed, 10))).fingerprint
        != make_data("cifar10").fingerprint
    )


class Hostile:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, np.load, getattr, bytearray])
def test_a_pickle_can_name_nothing_but_arrays(
    function: Any, tmp_path: Path, patches: np.ndarray, make_data: Callable[..., Any]
) -> None:
    folder = write_cifar(tmp_path, patches, 10)
    (folder / "data_batch_2").write_bytes(pickle.dumps({b"data": Hostile(function, f"touch {tmp_path}/gone")}, 2))
    with pytest.raises(SweepError, match=r"data_batch_2 is not a file of CIFAR.*only NumPy arrays are allowed"):
        make_data("cifar10", path=str(folder))
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
    content: bytes, message: str, tmp_path: Path, patches: np.ndarray, make_data: Callable[..., Any]
) -> None:
    folder = write_cifar(tmp_path, patches, 10)
    (folder / "data_batch_1").write_bytes(content)
    with pytest.raises(SweepError, match=message):
        make_data("cifar10", path=str(folder))


@pytest.fixture
def server(tmp_path: Path, layouts: Path) -> Iterator[tuple[str, str]]:
    """URL and md5 of CIFAR's archive on this machine."""
    folder = tmp_path / "server"
    folder.mkdir()
    with tarfile.open(folder / Cifar10.archive, "w:gz") as archive:
        archive.add(layouts / Cifar10.folder, Cifar10.folder)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    md5 = hashlib.md5((folder / Cifar10.archive).read_bytes(), usedforsecurity=False).hexdigest()
    with served(partial(Quiet, directory=str(folder))) as address:
        yield f"http://{address}/{Cifar10.archive}", md5


def test_download_happens_when_it_is_asked_for_and_only_once(
    server: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_data: Callable[..., Any]
) -> None:
    url, md5 = server
    monkeypatch.setattr(Cifar10, "url", url)
    monkeypatch.setattr(Cifar10, "md5", md5)
    folder = tmp_path / "new/data"
    with pytest.raises(
        SweepError, match=r"no such folder or file exists; correct data.path, or set data.download: true"
    ):
        make_data("cifar10", path=str(folder))
    assert not folder.exists()
    data = make_data("cifar10", path=str(folder), download=True)
    assert data.fingerprint == make_data("cifar10").fingerprint
    assert [file.name for file in folder.iterdir()] == [Cifar10.archive]
    monkeypatch.setattr(Cifar10, "url", "http://127.0.0.1:1/")
    assert make_data("cifar10", path=str(folder), download=True).fingerprint == data.fingerprint


# The real images


def levels(data: Any, loader: Any) -> list[tuple[bytes, int]]:
    """Each image of a loader in the levels of its file, and its label."""
    mean, std = (statistic[:, None, None] for statistic in data.statistics)
    return [
        ((image * std + mean).round().byte().numpy().tobytes(), int(label))
        for images, labels in loader
        for image, label in zip(images, labels, strict=True)
    ]


def learnt_from(data: Any) -> set[tuple[bytes, int]]:
    """All images of training and of search validation: an epoch leaves out those that do not fill a batch."""
    seen, loader = set(levels(data, data.val_dataloader())), data.train_dataloader()
    held_out = len(seen)
    for epoch in range(200):
        loader.set_epoch(epoch)
        seen |= set(levels(data, loader))
        if len(seen) == held_out + data.train_images:
            break
    return seen


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
    official = tmp_path / Cifar10.folder
    official.mkdir()
    for part, names in (("train", Cifar10.train_files), ("test", (Cifar10.test_file,))):
        files = sorted((tmp_path / "tree" / part).glob("*/*.jpg"))
        for name, share in zip(names, np.array_split(np.arange(len(files)), len(names)), strict=True):
            images = [np.asarray(Image.open(files[i]).convert("RGB")).transpose(2, 0, 1).ravel() for i in share]
            labels = [classes.index(files[i].parent.name) for i in share]
            (official / name).write_bytes(python2({b"data": np.stack(images), b"labels": labels}))
    tree = build_data(section("image_folder", path=tmp_path / "tree"), 0, COLOUR)
    cifar = build_data(section("cifar10", path=official), 0, COLOUR)
    assert tree.outputs == tuple(classes) and 100 < tree.train_images < 150 and cifar.train_images == 135
    assert learnt_from(tree) == learnt_from(cifar) and len(learnt_from(tree)) == 150  # each layout splits in its way
    assert levels(tree, tree.test_dataloader()) == levels(cifar, cifar.test_dataloader())
    mean, std = (statistic / 255 for statistic in tree.statistics)
    assert (mean - torch.tensor([0.4913, 0.4821, 0.4465])).abs().max() < 0.06  # as of all 50,000
    assert (std - torch.tensor([0.2452, 0.2428, 0.2606])).abs().max() < 0.06
