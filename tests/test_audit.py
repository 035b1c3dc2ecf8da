"""`check --data`: every image is opened; the same image in several splits or classes is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import call
from image_data import FOUR, section, write_tree
from PIL import Image

from ffnet_search.config.schema import DataSection
from ffnet_search.data.audit import audit_data
from ffnet_search.space.input import Input


@pytest.fixture
def root(tmp_path: Path, patches: np.ndarray) -> Path:
    for number, name in enumerate(("train", "val", "test")):
        write_tree(tmp_path / "images" / name, patches[40 * number : 40 * (number + 1)])
    return tmp_path / "images"


def test_clean_images_give_no_finding(root: Path) -> None:
    audit = audit_data(section("image_folder", path=root), 0, FOUR)
    assert (audit.images, audit.unreadable, audit.across_splits, audit.across_classes, audit.repeated) == (
        120, (), (), (), 0,
    )  # fmt: skip


def test_the_same_image_is_found_in_splits_and_classes(root: Path) -> None:
    shutil.copy(root / "train/class_0/0000.png", root / "test/class_0/again.png")
    with Image.open(root / "train/class_1/0001.png") as image:
        image.save(root / "train/class_2/other.bmp")  # another file, the same pixels
    shutil.copy(root / "val/class_3/0003.png", root / "val/class_3/twice.png")
    (root / "test/class_2/broken.png").write_bytes(b"no image")
    audit = audit_data(section("image_folder", path=root), 0, FOUR)
    ((first, second),) = audit.across_splits
    assert first.startswith("train: ") and second.endswith("test/class_0/again.png")
    ((_, other),) = audit.across_classes
    assert other.endswith("class_2/other.bmp") and audit.repeated == 1
    (broken,) = map(str, audit.unreadable)
    assert "broken.png (cannot identify" in broken
    assert len(list(audit.lines)) == 5


def test_splits_that_the_sweep_makes_are_looked_at(tmp_path: Path, patches: np.ndarray) -> None:
    """Copies under other names fall into different splits: of ten, some do."""
    root = write_tree(tmp_path / "tree", patches[:80])
    for number in range(10):
        shutil.copy(root / "class_0/0000.png", root / f"class_0/copy {number}.png")
    (group,) = audit_data(section("image_folder", path=root), 0, FOUR).across_splits
    assert len(group) == 11 and len({name.partition(":")[0] for name in group}) > 1


def test_data_without_files_have_nothing_to_look_at() -> None:
    assert audit_data(DataSection(), 0, Input(1, 8, 10)).images == 0


def test_the_command_says_it_and_refuses_what_a_run_would(root: Path, tmp_path: Path) -> None:
    text = (
        "search_space: {input: {channels: 3, resolution: 16, classes: 4}, stem: {width: [8], stride: [2]}, stages: "
        "[{depth: [1, 2], width: [8], token_kernel: [3], expansion: [1]}]}\ndata: {name: image_folder, path: images}\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    shutil.copy(root / "train/class_0/0000.png", root / "test/class_0/again.png")
    done = call("check", "mine.yaml", "--data", cwd=tmp_path)
    assert done.returncode == 0 and "1 image is in several splits" in done.stderr
    (root / "test/class_2/broken.png").write_bytes(b"no image")
    assert call("check", "mine.yaml", cwd=tmp_path).returncode == 0
    done = call("check", "mine.yaml", "--data", cwd=tmp_path)
    assert done.returncode == 2 and "mine.yaml: data.path: 1 file cannot be read as an image; remove" in done.stderr
    (tmp_path / "mine.yaml").write_text(text.replace("path: images", "path: images, unreadable: skip"))
    assert call("check", "mine.yaml", "--data", cwd=tmp_path).returncode == 0
