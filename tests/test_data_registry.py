"""User errors in the `data` section: one sentence each, before anything is loaded where possible."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import COLOUR, FOUR, section, write_cifar, write_tree
from lightning import LightningModule

from ffnet_search.config.schema import DataSection, TrainSection
from ffnet_search.data.cifar import Cifar10
from ffnet_search.data.registry import build_data, check_data, data_folder, data_title
from ffnet_search.errors import SweepError
from ffnet_search.space.input import Input
from ffnet_search.training.trainer import run_trainer

# What a user gets wrong


EIGHT = Input(3, 8, 4)


@pytest.mark.parametrize(
    ("data", "input", "message"),
    [
        (
            section("digit"),
            Input(1, 8, 10),
            r"data.name must be one of digits, .*, but got 'digit'; did you mean 'digits'\?",
        ),
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
        (section("user_data.more:MyData"), FOUR, "there is no module 'user_data.more'"),
        (
            section("image_folder", augment={"turn": True}),
            Input(3, (8, 9), 4),
            "turn must be left out where .* not square",
        ),
        (
            section("digits", path="no/where"),
            Input(1, 8, 10),
            "data.path is for cifar10 or .* is 'digits'; change that",
        ),
        (section("digits", download=True), Input(1, 8, 10), "data.download is for cifar10 or cifar100, but"),
        (section("user_data:MyData", path="no/where"), FOUR, "data.path is for cifar10 or"),
        (
            section("mask_folder", augment={"transforms": ["own_transforms:Speckle"]}),
            Input(3, 8, 4, "segmentation"),
            r"data.augment.transforms.0.takes must be 'array' for task 'segmentation', .* but is 'tensor'",
        ),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_loaded(
    data: DataSection, input: Input, message: str, layouts: Path
) -> None:
    if data.path is not None:
        data = data.model_copy(update={"path": Path(str(data.path).replace("PLACE", str(layouts)))})
    for ask in (partial(check_data, data, input), partial(build_data, data, 0, input)):
        with pytest.raises(SweepError, match=message) as raised:
            ask()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "input", "message"),
    [
        (section("user_data:Nothing"), FOUR, "must name a LightningDataModule, but Nothing does not exist"),
        (section("user_data:Noisy"), FOUR, "must name a LightningDataModule, but Noisy is <class"),
        (section("user_data:NoTest"), FOUR, "must offer .* but lacks test_dataloader"),
        (section("user_data:MyData", init_args={"imagse": 3}), FOUR, "data.init_args must fit .*'imagse'"),
        (section("user_data:MyData"), FOUR, r"train_dataloader .* must give float32 images of \(3, 16, 16\)"),
        (section("digits", validation=1e-4), Input(1, 8, 10), "data.validation must leave 2 images"),
        (
            section("user_data:FloatTargets"),
            EIGHT,
            r"train_dataloader .* must give int64 labels, but gave torch.float32 \(16,",
        ),
        (section("user_data:NoPairs"), EIGHT, "must give pairs of images and int64 labels, but gave Tensor"),
        (section("user_data:WrongCalibration"), EIGHT, r"calibration .* must give float32 images of \(3, 8, 8\)"),
        (section("user_data:ThreeClasses"), EIGHT, "has classes 3, but the search space has input.classes 4; set"),
    ],
)
def test_other_mistakes_are_found_while_building(data: DataSection, input: Input, message: str, layouts: Path) -> None:
    with pytest.raises(SweepError, match=message):
        _ = build_data(data, 0, input).calibration


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
    with pytest.raises(SweepError, match=r"must hold images .* but class_1, class_3 have none"):
        check_data(section("image_folder", path=tree), FOUR)


def test_an_archive_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / "cifar.tar.gz"
    path.write_text("<html>")
    for ask in (
        partial(check_data, section("cifar10", path=path)),
        partial(build_data, section("cifar10", path=path), 0),
    ):
        with pytest.raises(SweepError, match="must be a tar archive"):
            ask(COLOUR)


def test_an_archive_that_is_cut_off_is_named(tmp_path: Path, layouts: Path) -> None:
    path = tmp_path / Cifar10.archive
    with tarfile.open(path, "w:gz") as archive:
        archive.add(layouts / Cifar10.folder, Cifar10.folder)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(SweepError, match="cannot be read .*; download it again"):
        build_data(section("cifar10", path=path), 0, COLOUR)


def test_a_check_needs_neither_torch_nor_lightning_nor_scikit_learn(layouts: Path) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from ffnet_search.space.input import Input
        from ffnet_search.data.registry import check_data
        from ffnet_search.config.schema import DataSection
        sys.path.append({str(Path(__file__).parent / "support")!r})
        check_data(DataSection(), Input(1, 8, 10))
        check_data(DataSection(name="cifar10", path=Path({str(layouts)!r})), Input(3, 32, 10))
        check_data(DataSection(name="image_folder", path=Path({str(layouts / "tree")!r})), Input(3, 16, 4))
        check_data(DataSection(name="user_data:MyData"), Input(3, 8, 4))
        print({{"torch", "lightning", "sklearn", "user_data"}} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class Seen(LightningModule):
    """Keeps the least and the greatest value of the batches that training and validation give it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[torch.Tensor]] = {"training": [], "validation": []}

    def training_step(self, batch: Any) -> torch.Tensor:
        self.seen["training"].append(batch[0])
        return 0 * self.weight

    def validation_step(self, batch: Any) -> None:
        self.seen["validation"].append(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_hooks_on_batches_apply_once_wherever_a_network_sees_them(tmp_path: Path) -> None:
    """In training, its validation, and evaluation: quality, calibration, tests."""
    data, seen = build_data(section("user_data:Hooked"), 0, EIGHT), Seen()
    run_trainer(seen, data, TrainSection(epochs=1), tmp_path, [])
    assert all(1000 <= images.min() <= images.max() <= 1001 for images in seen.seen["training"])
    whole = torch.cat([images for images, _ in data.val_dataloader()])
    assert torch.equal(torch.cat(seen.seen["validation"]).cpu(), whole)
    for images in (whole, data.calibration, torch.cat([images for images, _ in data.test_dataloader()])):
        assert images.dtype == torch.float32 and 0 <= images.min() < images.max() <= 1


def test_data_of_the_user_are_named_by_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = DataSection(name="image_folder", path=Path("."))
    assert data_folder(here) == tmp_path.name
    assert data_title(DataSection(name="picture_table", path=Path("plants/leaves.csv"))) == "leaves.csv (picture_table)"
    for one in (
        DataSection(),
        DataSection(name="cifar10", path=tmp_path),
        DataSection(name="mine:Data", path=tmp_path),
    ):
        assert data_folder(one) is None and data_title(one) == one.name
