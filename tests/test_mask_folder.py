"""Folders of images with masks: layouts, kinds of mask, resizing, augmentation, and mistakes in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import section
from masks import SPACE, shapes, write_masks
from PIL import Image

from ffnet_search.data.modules.image_data import CALIBRATION_PIXELS
from ffnet_search.data.registry import build_data, check_data
from ffnet_search.errors import SweepError, shortened
from ffnet_search.space.input import Input

INPUT = SPACE.images


def build(folder: Path, input: Input = INPUT, **fields: Any) -> Any:
    return build_data(section("mask_folder", path=folder, batch_size=8, workers=0, **fields), 0, input)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "data", 20)


def test_every_layout_holds_the_same_images(folder: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    shutil.copytree(folder, split / "train")
    write_masks(split / "val", 5, seed=1)
    turned = tmp_path / "turned"
    for part in ("train", "val"):
        for kind in ("images", "masks"):
            shutil.copytree(split / part / kind, turned / kind / part)
    whole, split_data, turned_data = build(folder), build(split), build(turned)
    assert whole.train_images < split_data.train_images == turned_data.train_images < 20
    assert sum(len(masks) for _, masks in split_data.val_dataloader()) == 5
    assert sum(len(masks) for _, masks in split_data.test_dataloader()) == 20 - split_data.train_images
    assert split_data.fingerprint == turned_data.fingerprint != whole.fingerprint


def test_grey_palette_bilevel_and_equal_channels_are_ids(tmp_path: Path) -> None:
    mask_HW = np.array([[0, 1], [1, 0]], np.uint8).repeat(8, 0).repeat(8, 1)
    palette = Image.fromarray(mask_HW, "P")
    palette.putpalette([0, 0, 0, 250, 128, 7])
    kinds = {
        "L": Image.fromarray(mask_HW),
        "P": palette,
        "1": Image.fromarray(mask_HW * 255).convert("1"),
        "RGB": Image.fromarray(mask_HW).convert("RGB"),
        "I;16": Image.fromarray(mask_HW.astype(np.uint16)),
    }
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
    rng = np.random.default_rng(0)
    for name, mask in kinds.items():
        mask.save(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(shapes(rng, 16, 16)[0]).save(tmp_path / "images" / f"{name}.png")
    data = build(tmp_path, Input(3, 16, 2, "segmentation"), validation=0.3)
    masks = [
        mask for loader in (data.val_dataloader(), data.test_dataloader()) for _, batch in loader for mask in batch
    ]
    assert masks and all(torch.equal(mask, torch.from_numpy(mask_HW)) for mask in masks)


def test_images_are_resized_whole_with_their_masks(tmp_path: Path) -> None:
    """A wide image is squeezed: nothing of it is cut off."""
    for number in range(6):
        mask_HW = np.zeros((16, 64), np.uint8)
        mask_HW[:, :32] = 1
        for place, pixels in (("images", mask_HW * (200 + number)), ("masks", mask_HW)):
            (tmp_path / place).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / place / f"{number}.png")
    data = build(tmp_path, Input(1, 16, 2, "segmentation"), validation=0.4)
    for images_BCHW, masks_BHW in data.test_dataloader():
        assert (masks_BHW[:, :, :8] == 1).all() and (masks_BHW[:, :, 8:] == 0).all()
        assert ((images_BCHW[:, 0] > 0) == (masks_BHW == 1)).float().mean() > 0.99


def test_streamed_images_are_those_in_memory(folder: Path) -> None:
    in_memory, streamed = build(folder), build(folder, in_memory_mb=0)
    assert in_memory.fingerprint == streamed.fingerprint
    for (_, masks), (_, same) in zip(in_memory.test_dataloader(), streamed.test_dataloader(), strict=True):
        assert torch.equal(masks, same)


def test_a_mask_moves_with_its_image_and_counts_nowhere_beyond_the_edge(folder: Path) -> None:
    """Pictures of which a channel is the mask: after augmentation it still is, where the mask counts."""
    data = build(folder, augment={"crop": 3, "flip": True, "cutout": 2})
    mask_BHW = torch.randint(1, 3, (8, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    images_BCHW, moved_BHW = data.augment((mask_BHW[:, None].float().expand(-1, 3, -1, -1), mask_BHW), 0, 0)
    beyond = moved_BHW == 255
    assert beyond.any() and not torch.equal(moved_BHW, mask_BHW) and moved_BHW.dtype == torch.uint8
    cut = ~beyond & (images_BCHW[:, 0] == 0)
    assert 0 < cut.sum() <= 8 * 4, "cutout takes pixels of images, not of masks"
    assert torch.equal(images_BCHW[:, 0][~beyond & ~cut], moved_BHW[~beyond & ~cut].float())
    halves = [data.augment((images, mask), 0, 0, rank, 2)[1] for rank, (images, mask) in enumerate(
        zip(mask_BHW[:, None].float().split(4), mask_BHW.split(4), strict=True)
    )]  # fmt: skip
    assert torch.equal(torch.cat(halves), moved_BHW)


def test_calibration_counts_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(build(folder).calibration) == build(folder).train_images
    monkeypatch.setattr("ffnet_search.data.modules.image_data.CALIBRATION_PIXELS", 5 * 16**2)
    assert len(build(folder).calibration) == 5 and CALIBRATION_PIXELS // 512**2 == 32


@pytest.mark.parametrize(
    ("name", "text"), [("classes.txt", "sky\ndisc\nbox\n"), ("classes.json", '["sky", "disc", "box"]')]
)
def test_classes_have_names(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text)
    assert build(folder).outputs == ("sky", "disc", "box")


def test_a_class_that_no_mask_holds_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(folder, Input(3, 16, 4, "segmentation"))
    assert "no mask for training holds 3" in capsys.readouterr().err


def save(folder: Path, name: str, mask: np.ndarray | Image.Image) -> None:
    (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(folder / "masks" / name)


def ids(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder / "masks" / name) as mask:
        return np.array(mask)


def binary_255(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        save(folder, path.name, (ids(folder, path.name) > 0).astype(np.uint8) * 255)


def colours(folder: Path) -> None:
    height, width = ids(folder, "003.png").shape
    save(folder, "003.png", Image.new("RGB", (width, height), (255, 0, 0)))


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "mask_missing": (lambda at: (at / "masks/004.png").unlink(), r"masks must hold a mask .* has none for .*004.png"),
    "image_missing": (lambda at: (at / "images/004.png").unlink(), r"must hold an image .* none for .*s/004.png"),
    "other_size": (lambda at: save(at, "002.png", np.zeros((9, 7), np.uint8)), r"002.png has 7 x 9 pixels, but its"),
    "wrong_ids": (lambda at: save(at, "002.png", ids(at, "002.png") * 7),
                  r"ids from 0 to 2 .*but 1 of \d+ are not: .*002.png has the ids 7"),
    "colours": (colours, r"003.png holds colours, not ids \(mode RGB\): save it as grey or with a palette"),
    "255_for_an_object": (binary_255, r"must hold two classes at least, but no pixel has 1, 2 .*255 .* write 1"),
    "broken": (lambda at: (at / "masks/001.png").write_bytes(b"no"), r"001.png cannot be read as an image"),
    "empty": (lambda at: [path.unlink() for kind in ("images", "masks") for path in (at / kind).iterdir()],
              r"images must hold images that Pillow opens, but holds none"),
    "no_masks": (lambda at: shutil.rmtree(at / "masks"), r"must hold images/ and masks/, .* but holds no such folders"),
    "lossy": (lambda at: (at / "masks/000.png").rename(at / "masks/000.jpg"), r"masks must be PNG files, .*000.jpg"),
    "twice": (lambda at: shutil.copy(at / "masks/000.png", at / "masks/000.bmp"), r"must not have the same name"),
    "names": (lambda at: (at / "classes.json").write_text("[1]"), r"classes.json must be a list of the classes' names"),
    "other_names": (lambda at: (at / "classes.json").write_text(json.dumps(["a", "b"])), r"has classes 2, but the"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str, folder: Path) -> None:
    change, message = MISTAKES[name]
    change(folder)
    with pytest.raises(SweepError, match=message):
        check_data(section("mask_folder", path=folder), INPUT)
    with pytest.raises(SweepError, match=message):
        build(folder)


def test_a_split_of_which_nothing_can_be_read_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    split = tmp_path / "split"
    shutil.copytree(folder, split / "train")
    for path in write_masks(split / "test", 2).glob("images/*"):
        path.write_bytes(b"no image")
    with pytest.raises(SweepError, match="must hold an image for the split test, but none that can be read is left"):
        build(split, unreadable="skip")


def test_many_mistakes_are_named_a_line_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (2, 3, 5):
        save(folder, f"{number:03d}.png", np.full_like(ids(folder, f"{number:03d}.png"), 7))
    with pytest.raises(SweepError, match=r"but 3 of 20 are not: \S+002.png has the ids 7 and 2 more$"):
        check_data(section("mask_folder", path=folder), INPUT)
    said = capsys.readouterr().err.splitlines()
    assert [line.split("/")[-1] for line in said] == ["003.png has the ids 7", "005.png has the ids 7"]


def test_the_mask_stays_in_a_sentence_that_names_long_paths(tmp_path: Path) -> None:
    deep = tmp_path / "of-a-project-with-a-long-name" / "of-a-part-with-a-long-name"
    folder = write_masks(deep / "data", 8)
    save(folder, "002.png", np.zeros((9, 7), np.uint8))
    with pytest.raises(SweepError) as error:
        build(folder)
    assert "002.png has 7 x 9 pixels, but its image " in shortened(f"{deep / 'sweep.yaml'}: {error.value}")


def test_a_check_reads_on_until_two_classes_are_found(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "sparse", 120)
    for number in range(120):
        save(folder, f"{number:03d}.png", ids(folder, f"{number:03d}.png") * (number == 119))
    check_data(section("mask_folder", path=folder), INPUT)
    save(folder, "119.png", ids(folder, "118.png"))
    with pytest.raises(SweepError, match="must hold two classes at least, but no pixel has 1, 2"):
        check_data(section("mask_folder", path=folder), INPUT)


def test_a_check_leaves_out_what_reading_leaves_out(folder: Path) -> None:
    (folder / "masks/001.png").write_bytes(b"no")
    check_data(section("mask_folder", path=folder, unreadable="skip"), INPUT)


def test_one_image_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"data.validation must leave 2 images for training"):
        build(write_masks(tmp_path / "one", 1))


def test_a_check_refuses_what_does_not_fit(folder: Path) -> None:
    fields = section("mask_folder", path=folder)
    check_data(fields, INPUT)
    with pytest.raises(SweepError, match="data.name must be a data set for task 'classification', but 'mask_folder'"):
        check_data(fields, Input(3, 16, 3))
    with pytest.raises(SweepError, match="resized_crop is for image_folder"):
        check_data(section("mask_folder", path=folder, augment={"resized_crop": 0.5}), INPUT)
