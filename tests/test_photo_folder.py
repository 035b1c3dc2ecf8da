"""Folders of photos: layouts, patches that repeat, whole photos in evaluation, and mistakes in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from image_data import batch_print, section
from photos import SPACE, write_photos
from PIL import Image

from ffnet_search.data.registry import build_data, check_data
from ffnet_search.errors import SweepError
from ffnet_search.space.input import Input

INPUT = SPACE.images


def fields(folder: Path, **changes: Any) -> Any:
    given = {"path": folder, "batch_size": 8, "workers": 0, "patch": 12, "patches": 3, "validation": 0.25}
    return section("photo_folder", **(given | changes))


def build(folder: Path, input: Input = INPUT, seed: int = 0, **changes: Any) -> Any:
    return build_data(fields(folder, **changes), seed, input)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "data", 15)


def epoch(data: Any, number: int = 0) -> list[str]:
    loader = data.train_dataloader()
    loader.set_epoch(number)
    return [batch_print((low, high.float())) for low, high in loader]


def test_every_layout_holds_the_same_photos(folder: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    for split, members in (("train", names[:9]), ("val", names[9:12]), ("test", names[12:])):
        for place in (tmp_path / "split" / split, tmp_path / "pairs" / "HR" / split, tmp_path / "each" / split / "hr"):
            place.mkdir(parents=True)
            for name in members:
                shutil.copy(folder / name, place)
    for high in [*(tmp_path / "pairs" / "HR").rglob("*.png"), *(tmp_path / "each").rglob("*.png")]:
        with Image.open(high) as image:
            size = image.width // 2, image.height // 2
            low = image.crop((0, 0, 2 * size[0], 2 * size[1])).resize(size, Image.Resampling.BICUBIC)
        target = Path(*("LR" if part == "HR" else "lr" if part == "hr" else part for part in high.parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        low.save(target.with_name(f"{high.stem}x2.png"))
    whole, split, pairs, each = (
        build(place) for place in (folder, *(tmp_path / n for n in ("split", "pairs", "each")))
    )
    held_out = sum(len(low) for loader in (whole.val_dataloader(), whole.test_dataloader()) for low, _ in loader)
    assert whole.train_images == 3 * (15 - held_out) and split.train_images == 3 * 9
    assert epoch(split) == epoch(pairs) == epoch(each) != epoch(whole)
    for data in (split, pairs, each):
        assert sum(len(low) for low, _ in data.val_dataloader()) == 3
        assert sum(len(low) for low, _ in data.test_dataloader()) == 3
    assert whole.outputs == () and whole.calibration.shape[1:] == (3, 12, 16)


def test_a_patch_is_the_same_place_of_both(folder: Path) -> None:
    """Mirrored and turned alike: the patch of the photo, reduced, is near that of the reduced photo."""
    for augment in ({}, {"flip": True, "turn": True}):
        for low_BChw, high_BCHW in build(folder, augment=augment).train_dataloader():
            assert low_BChw.shape == (8, 3, 12, 12) and high_BCHW.shape == (8, 3, 24, 24)
            assert low_BChw.dtype == torch.float32 and high_BCHW.dtype == torch.uint8
            assert low_BChw.min() >= 0 and low_BChw.max() <= 1
            reduced = torch.nn.functional.avg_pool2d(high_BCHW.float() / 255, 2)
            assert (reduced - low_BChw).abs().mean() < 0.04
    assert epoch(build(folder, augment={"flip": True})) != epoch(build(folder)) != epoch(build(folder, seed=1))


def test_whole_photos_are_reduced_bicubically_in_batches_of_one_size(folder: Path) -> None:
    data, seen = build(folder), 0
    for low_BChw, high_BCHW in data.test_dataloader():
        assert high_BCHW.shape[2:] == (2 * low_BChw.shape[2], 2 * low_BChw.shape[3])
        for low_Chw, high_CHW in zip(low_BChw, high_BCHW, strict=True):
            image = Image.fromarray(high_CHW.permute(1, 2, 0).numpy())
            expected = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
            assert np.array_equal((low_Chw * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(expected))
            seen += 1
    assert seen > 1


def test_of_large_photos_the_middle_is_evaluated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffnet_search.data.photo_set.photo_data.EVALUATED_PIXELS", 100)
    data = build(folder)
    assert all(low.shape[2] * low.shape[3] <= 100 for low, _ in data.test_dataloader())


def test_batches_repeat_resume_and_are_shared(folder: Path) -> None:
    data, other = build(folder), build(folder, in_memory_mb=0)
    assert epoch(data, 2) == epoch(other, 2) != epoch(data, 1)
    left = build(folder).train_dataloader()
    left.set_epoch(2)
    next(iter(left))
    resumed = build(folder).train_dataloader()
    resumed.load_state_dict(left.state_dict())
    assert [batch_print((low, high.float())) for low, high in resumed] == epoch(data, 2)[1:]
    assert data.fingerprint == other.fingerprint == build(folder, batch_size=4).fingerprint
    assert (
        len(
            {
                data.fingerprint,
                build(folder, seed=1).fingerprint,
                build(folder, Input(3, 12, 3, INPUT.task), patch=8).fingerprint,
            }
        )
        == 3
    )
    halves = []
    for rank in range(2):
        ranked = build(folder)
        ranked.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        halves.append([low for low, _ in ranked.train_dataloader()])
    alone = [low for low, _ in build(folder).train_dataloader()]
    for whole, first, second in zip(alone, *halves, strict=True):
        assert torch.equal(whole, torch.cat([first, second]))


def test_fewer_patches_than_ranks_are_one_sentence(folder: Path) -> None:
    remake(folder, 3)
    data = build(folder, patches=1, validation=0.5)
    data.trainer = SimpleNamespace(global_rank=0, world_size=2)
    with pytest.raises(SweepError, match="train.devices must be <= the 1 image of training, but 2 devices share each"):
        data.train_dataloader()


def test_a_split_of_which_nothing_can_be_read_is_one_sentence(folder: Path) -> None:
    for split, keep in (("train", 4), ("val", 1), ("test", 1)):
        (folder / split).mkdir()
        for path in sorted(folder.glob("*.png"))[:keep]:
            path.rename(folder / split / path.name)
    for path in (folder / "test").iterdir():
        path.write_bytes(b"no photo")
    with pytest.raises(SweepError, match="must hold an image for the split test, but none that can be read is left"):
        build(folder, unreadable="skip")


def test_grey_and_other_scales(folder: Path) -> None:
    for channels, scale in ((1, 2), (3, 3), (3, 4)):
        data = build(folder, Input(channels, 8, scale, INPUT.task), patch=8)
        for low, high in data.train_dataloader():
            assert low.shape[1:] == (channels, 8, 8) and high.shape[1:] == (channels, 8 * scale, 8 * scale)


def remake(folder: Path, keep: int) -> None:
    for path in sorted(folder.iterdir())[keep:]:
        path.unlink()


def pairs_of_other_sizes(folder: Path) -> None:
    (folder / "HR").mkdir()
    for path in folder.glob("*.png"):
        path.rename(folder / "HR" / path.name)
    shutil.copytree(folder / "HR", folder / "LR")


def a_pair_is_missing(folder: Path) -> None:
    pairs_of_other_sizes(folder)
    (folder / "LR" / "003.png").unlink()


def two_of_a_name(folder: Path) -> None:
    pairs_of_other_sizes(folder)
    shutil.copy(folder / "LR" / "001.png", folder / "LR" / "000.jpg")


MISTAKES: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "none": (lambda at: remake(at, 0), {}, r"data must hold photos that Pillow opens, but holds none"),
    "one": (lambda at: remake(at, 1), {}, r"must hold 3 photos at least, .* but holds 1"),
    "small": (
        lambda at: Image.new("RGB", (20, 40)).save(at / "000.png"), {},
        r"photos must have 24 pixels a side at least \(data.patch 12, at scale 2\), .*000.png \(20 x 40\)",
    ),
    "broken": (lambda at: (at / "002.png").write_bytes(b"no photo"), {}, r"1 file cannot be read as an .*002.png"),
    "sizes": (pairs_of_other_sizes, {}, r"LR/000.png \(3\d x 3\d pixels, not 1\d x 1\d\)"),
    "two of a name": (two_of_a_name, {}, r"LR/000.png and .*LR/000.jpg must not have the same name; remove or rename"),
    "missing": (a_pair_is_missing, {}, r"LR must hold the reduced form of each photo .* none for .*HR/003.png"),
    "crop": (lambda at: None, {"augment": {"crop": 2}}, r"data.augment.crop must be left out .* use flip and turn"),
    "jitter": (lambda at: None, {"augment": {"jitter": 0.2}}, r"data.augment.jitter must be left out .* use flip"),
    "split": (lambda at: remake(at, 5), {"validation": 0.01}, r"data.validation must leave a photo .* holds out 0"),
    "no folder": (lambda at: None, {"path": "nowhere"}, r"nowhere must be a folder with your photos, but there is no"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str, folder: Path) -> None:
    hurt, changes, message = MISTAKES[mistake]
    hurt(folder)
    with pytest.raises(SweepError, match=message):
        build(folder, **changes)


def test_patches_are_for_photos() -> None:
    with pytest.raises(SweepError, match=r"data.patch is for photo_folder, but data.name is 'digits'"):
        check_data(section("digits", patch=8), Input(1, 8, 10))


def test_a_user_supplied_data_module_gives_photos_of_any_size() -> None:
    data = build_data(section("user_data:MyPhotos"), 0, Input(3, (12, 16), 2, INPUT.task))
    low, high = next(iter(data.train_dataloader()))
    assert low.shape[2:] == (6, 6) and high.shape[2:] == (12, 12)
    with pytest.raises(SweepError, match=r"train_dataloader of user_data:MyPhotos must give uint8 images of scale"):
        build_data(section("user_data:MyPhotos"), 0, Input(3, (12, 16), 3, INPUT.task))
