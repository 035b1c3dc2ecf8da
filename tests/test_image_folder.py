"""Image folders: every kind of image, crops, unreadable files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import FOUR, write_tree
from PIL import Image

from ffnet_search.config.schema import DataSection
from ffnet_search.data import decoder
from ffnet_search.data.decoder import Decoder, random_box
from ffnet_search.data.image_file import centre_box, to_mode
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError

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
        pixels = Decoder((str(tmp_path / name),), (16, 16), "RGB", 1).decode(0)
        assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, 3), (name, pixels)
        assert np.abs(pixels.astype(int) - expected).max() <= 3, name
    corner.save(tmp_path / "turned.jpg", exif=turned, quality=95)
    pixels = Decoder((str(tmp_path / "turned.jpg"),), (16, 16), "RGB", 1).decode(0)
    assert isinstance(pixels, np.ndarray) and pixels[2, 13, 0] > 200 > 50 > pixels[2, 2, 0]
    with pytest.raises(ValueError, match="floating-point"):
        to_mode(Image.new("F", (4, 4)), "L")


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (17, 31), (1000, 700)])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_sizes_are_cropped_in_the_middle(size: tuple[int, int], channels: int, tmp_path: Path) -> None:
    left, upper, right, lower = centre_box(*size)
    assert right - left == lower - upper == min(size) and left + right == size[0] and upper + lower == size[1]
    Image.new("RGB", size, "white").save(tmp_path / "odd.jpg")
    whole = Decoder((str(tmp_path / "odd.jpg"),), (16, 16), "L" if channels == 1 else "RGB", 1, 0.2)
    for key in (None, (0, 1)):
        pixels = replace(whole, key=key).decode(0)
        assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, channels) and pixels.min() > 250


def test_random_boxes_lie_in_the_picture_and_keep_their_share() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(60, 40, 0.25, rng) for _ in range(500)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 60 and boxes[:, 3].max() <= 40
    assert (width * height).min() >= 0.25 * 2400 - 1e-6 and (width * height).max() > 0.6 * 2400
    assert (width / height).min() >= 0.749 and (width / height).max() <= 1.334


def test_a_tree_without_test_folder_gives_a_fifth_of_every_class_away(make_data: Callable[..., Any]) -> None:
    labels = torch.cat([labels for _, labels in make_data("tree").test_dataloader()])
    assert labels.bincount().sub(12).abs().max() <= 8 and labels.bincount().min() > 3  # each image by its name alone


def test_streamed_images_are_those_in_memory(make_data: Callable[..., Any]) -> None:
    held, streamed = make_data("folder"), make_data("folder_streamed")
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
    images = DataSection(name="image_folder", path=tmp_path, in_memory_mb=in_memory_mb, calibration=2)
    with pytest.raises(SweepError, match="3 files cannot be read as images; remove or replace them") as raised:
        list(build_data(images, 0, FOUR).train_dataloader())
    assert all(str(tmp_path / name) in str(raised.value) for name in broken)


def test_files_that_are_not_called_pictures_are_left_alone(tmp_path: Path, patches: np.ndarray) -> None:
    write_tree(tmp_path, patches[:40])
    images = DataSection(name="image_folder", path=tmp_path)
    before = build_data(images, 0, FOUR).fingerprint
    (tmp_path / "class_0/Thumbs.db").write_text("x")
    (tmp_path / "class_0/.hidden.png").write_text("x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    assert build_data(images, 0, FOUR).fingerprint == before
    Image.fromarray(patches[50]).save(tmp_path / "class_0/new.PNG")
    assert build_data(images, 0, FOUR).fingerprint != before


@pytest.mark.parametrize(("files", "shown"), [(7, False), (8, True)])
def test_a_bar_is_shown_from_some_number_of_files_on(
    files: int, shown: bool, tmp_path: Path, patches: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(decoder, "BAR_FROM", 8)
    tree = write_tree(tmp_path, patches[:files])
    paths = tuple(str(path) for path in sorted(tree.rglob("*.png")))
    assert len(Decoder(paths, (16, 16), "RGB", 1).read(range(files))) == files
    assert ("decode images: 8/8 files" in capsys.readouterr().err) == shown


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to a core")
def test_a_process_of_one_core_streams_without_a_warning(make_data: Callable[..., Any]) -> None:
    cores = os.sched_getaffinity(0)
    two = [images for images, _ in make_data("folder_streamed", workers=2).val_dataloader()]
    try:
        os.sched_setaffinity(0, {min(cores)})
        one = [images for images, _ in make_data("folder_streamed", workers=2).val_dataloader()]
    finally:
        os.sched_setaffinity(0, cores)
    assert all(map(torch.equal, one, two)) and len(one) == len(two)


def test_batches_that_shared_memory_cannot_hold_come_by_a_pipe(
    make_data: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has 64 MB of it: workers would wait for room for ever."""
    by_memory = [images for images, _ in make_data("folder_streamed", workers=2).val_dataloader()]
    monkeypatch.setattr(decoder, "_shared_memory", lambda: 1000)
    by_pipe = [images for images, _ in make_data("folder_streamed", workers=2).val_dataloader()]
    assert all(map(torch.equal, by_memory, by_pipe)) and len(by_memory) == len(by_pipe)
