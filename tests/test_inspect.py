"""The inspection of a folder of images, or of images and masks: classes, counts, shapes, colour, warnings."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from first_sweeps import image_set, paint, throughput_of
from masks import write_masks
from PIL import Image

from ffnet_search.autoconfig import image_set as image_set_module
from ffnet_search.autoconfig.budget import choose_budget
from ffnet_search.autoconfig.draft import drafts
from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.autoconfig.sweep_text import space_text, sweep_text
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.errors import SweepError


def test_an_inspection_has_classes_counts_sizes_and_colour(tmp_path: Path) -> None:
    seen = inspect(paint(tmp_path / "flat", {"b": 3, "a": 5}))
    assert (seen.classes, seen.counts, seen.tests) == (("a", "b"), (5, 3), None)
    assert (seen.sample.side, seen.sample.sides, seen.sample.channels) == (17, (17, 17), 3)
    paint(tmp_path / "split" / "train", {"a": 4, "b": 4}, grey=True)
    paint(tmp_path / "split" / "valid", {"a": 2, "b": 1}, grey=True)
    seen = inspect(tmp_path / "split")
    assert (seen.total, seen.validations, seen.tests, seen.sample.channels) == (8, 3, None, 1)
    assert "8 images of 2 classes and 3 for comparing networks, grey" in str(seen)
    assert any("networks are compared on the images in valid/" in line for line in seen.warnings)
    paint(tmp_path / "split" / "TEST", {"a": 1, "b": 1}, grey=True)
    assert "of 2 classes, 3 for comparing networks and 2 for testing, grey" in str(inspect(tmp_path / "split"))


@pytest.mark.parametrize(
    ("size", "turned", "sides"),
    [
        ((64, 64), False, 64),
        ((80, 64), False, (64, 80)),  # height and width
        ((64, 80), False, (80, 64)),
        ((64, 80), True, (64, 80)),  # by its EXIF, as phones do
        ((70, 64), False, 64),  # nearly square
        ((640, 64), False, (64, 256)),
    ],
)
def test_images_of_one_shape_keep_it(
    size: tuple[int, int], turned: bool, sides: int | tuple[int, int], tmp_path: Path
) -> None:
    folder = paint(tmp_path / "x", {"a": 6, "b": 6}, size)
    for file in folder.rglob("*.png") if turned else ():
        exif = Image.Exif()
        exif[274] = 6
        Image.open(file).save(file, exif=exif)
    for draft in drafts(inspect(folder)):
        if draft.resolution == 64:
            assert draft.sides == draft.space.images.resolution == sides
    text = "\n".join(space_text(draft, "x"))
    assert ("cut square" in text) == isinstance(sides, int)


def test_images_with_masks_keep_their_shape(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    for name in ("images", "masks"):
        paint(folder, {name: 6}, (80, 64), grey=name == "masks")
    for mask in (folder / "masks").iterdir():
        Image.fromarray(np.eye(64, 80, dtype=np.uint8)).save(mask)
    [largest, *_] = drafts(inspect(folder))
    assert largest.sides == largest.space.images.resolution == (64, 80)
    assert "images are resized whole to the resolution (height, width)" in "\n".join(space_text(largest, "x"))


def test_images_of_many_shapes_are_cut_square(tmp_path: Path) -> None:
    folder = paint(tmp_path / "x", {"a": 6}, (80, 64))
    paint(folder, {"b": 6}, (64, 80))
    masks = write_masks(tmp_path / "masks", 6)
    assert all(isinstance(draft.sides, int) for data in (folder, masks) for draft in drafts(inspect(data)))


def test_warnings_of_a_folder(tmp_path: Path) -> None:
    folder = paint(tmp_path, {"many": 44, "few": 4})
    (folder / "many" / "broken.png").write_text("not an image")
    few, uneven, broken = inspect(folder).warnings
    assert "few (4)" in few and "uneven" in uneven and "broken.png" in broken
    assert image_set().warnings == []


def test_images_are_inspected_beside_many_broken_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of those that can be read are decoded, however many of the sample cannot."""
    folder = paint(tmp_path, {"a": 6, "b": 6}, grey=True)
    for file in sorted((folder / "a").iterdir()):
        file.write_text("not an image")
    monkeypatch.setattr(image_set_module, "DECODED", 1)
    monkeypatch.setattr(random.Random, "sample", lambda self, files, count: sorted(files)[:count])
    sample = image_set_module.sample_images(folder, [str(file) for file in folder.glob("*/*")])
    assert sample.channels == 1 and len(sample.broken) == 6


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="must hold a folder per class, two at least, but holds none"):
        inspect(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(SweepError, match="must hold images in its folders a, b, but holds none"):
        inspect(tmp_path)
    (tmp_path / "a" / "x.jpg").write_text("no")
    with pytest.raises(SweepError, match="none of the sampled images .* can be read: .*x.jpg"):
        inspect(tmp_path)
    with pytest.raises(SweepError, match="there is no such folder"):
        inspect(tmp_path / "nowhere")


@pytest.mark.parametrize("split", [False, True])
def test_images_beside_masks_are_for_segmentation(split: bool, tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "data" / "train" if split else tmp_path / "data", 24)
    if split:
        write_masks(tmp_path / "data" / "val", 6, seed=1)
    seen = inspect(tmp_path / "data")
    assert (seen.task, seen.total, seen.validations, seen.sample.channels) == (
        "segmentation",
        24,
        6 if split else None,
        3,
    )
    assert seen.classes == ("0", "1", "2") and seen.counts[0] == 24 and "24 images with masks of 3 classes" in str(seen)
    for draft in drafts(seen):
        images = draft.space.images
        assert (images.task, images.outputs) == ("segmentation", 3)
        budget = choose_budget([draft], throughput_of, minutes=10, imports_s=0, latency_ms=None)
        (tmp_path / "m.yaml").write_text("\n".join(sweep_text(budget, "m", None)))
        (tmp_path / "m_space.yaml").write_text("\n".join(space_text(draft, "m")))
        sweep = Sweep.from_yaml(tmp_path / "m.yaml")
        assert sweep.task == "segmentation" and sweep.search_space.size == draft.space.size
        check_data(sweep.data, images)
    (folder / "masks" / "003.png").write_bytes(b"no image")
    with pytest.raises(SweepError, match="003.png cannot be read as an image"):
        inspect(tmp_path / "data")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((0, 0, 0), "must hold two classes at least, but no pixel has 1 .255 counts nowhere.$"),
        ((255, 255, 255), "no pixel has 0, 1 .*; where 255 marks an object, write 1"),
        ((0, 255, 255), "no pixel has 1 .*; where 255 marks an object, write 1"),
        ((0, 200, 200), "of 0 to 200 hold only 0, 200: renumber them, or name 201 classes in classes.json"),
    ],
)
def test_masks_that_nothing_can_be_learnt_from_are_refused(ids: tuple[int, ...], message: str, tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "data", 4)
    for path in (folder / "masks").iterdir():
        with Image.open(path) as mask:
            changed = np.array(ids, np.uint8)[np.asarray(mask)]
        Image.fromarray(changed).save(path)
    with pytest.raises(SweepError, match=message):
        inspect(folder)


def test_a_class_that_only_test_masks_hold_is_a_class(tmp_path: Path) -> None:
    write_masks(tmp_path / "train", 4)
    test = write_masks(tmp_path / "test", 2) / "masks" / "000.png"
    with Image.open(test) as mask:
        changed = np.array(mask)
    changed[0, 0] = 3
    Image.fromarray(changed).save(test)
    seen = inspect(tmp_path)
    assert seen.classes == ("0", "1", "2", "3") and "no sampled mask for training holds 3" in seen.warnings
