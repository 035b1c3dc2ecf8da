"""Folders as people have them: which splits are found, which files are images, what is left out and told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from image_data import FOUR, section, write_tree
from PIL import Image

from ffnet_search.atomic_write import write_text
from ffnet_search.data import mask_folder
from ffnet_search.data.dataset import split_by_name
from ffnet_search.data.image_folder import ImageFolder
from ffnet_search.data.layout import class_names, extensions, find_images, find_layout
from ffnet_search.data.photo_set import photo_folder
from ffnet_search.data.registry import build_data, check_data, data_contents, data_remarks
from ffnet_search.data.table import find_tables
from ffnet_search.errors import SweepError


def write_splits(root: Path, patches: np.ndarray, *names: str) -> Path:
    for number, name in enumerate(names):
        write_tree(root / name, patches[80 * number : 80 * (number + 1)])
    return root


def folder(path: Path, **fields: object) -> object:
    return section("image_folder", path=path, calibration=16, **fields)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("train", "val", "test"), ["train", "validation", "test"]),
        (("Train", "Test"), ["train", "test"]),
        (("training", "Valid"), ["train", "validation"]),
        (("TRAIN",), ["train"]),
    ],
)
def test_splits_are_found_in_any_spelling(
    names: tuple[str, ...], found: list[str], tmp_path: Path, patches: np.ndarray
) -> None:
    root = write_splits(tmp_path, patches, *names)
    assert list(find_layout(folder(root)).splits) == found
    check_data(folder(root), FOUR)


def test_a_folder_for_validation_compares_networks(tmp_path: Path, patches: np.ndarray) -> None:
    root = write_splits(tmp_path, patches, "train", "valid", "test")
    data = build_data(folder(root), 0, FOUR)
    compared = sum(len(labels) for _, labels in data.val_dataloader())
    tested = sum(len(labels) for _, labels in data.test_dataloader())
    assert (data.train_images, compared, tested) == (80, 80, 80)
    for file in root.glob("valid/class_0/*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(SweepError, match=r"valid/class_0/.* cannot be read|cannot be read .*valid/class_0/"):
        build_data(folder(root), 0, FOUR)


def test_without_a_folder_for_testing_a_fifth_of_train_is_held_out(tmp_path: Path, patches: np.ndarray) -> None:
    data = build_data(folder(write_splits(tmp_path, patches, "train", "valid")), 0, FOUR)
    assert sum(len(labels) for _, labels in data.val_dataloader()) == 80
    assert 5 <= 80 - data.train_images <= 28


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (("val", "valid", "train"), "one folder for validation, but holds val/ and valid/"),
        (("test",), "must hold train/ beside test/"),
    ],
)
def test_unclear_splits_are_refused(make: tuple[str, ...], message: str, tmp_path: Path, patches: np.ndarray) -> None:
    with pytest.raises(SweepError, match=message):
        find_layout(folder(write_splits(tmp_path, patches, *make)))


def test_splits_without_classes_are_no_classes(tmp_path: Path, patches: np.ndarray) -> None:
    for name in ("Train", "Test"):
        (tmp_path / name).mkdir()
        Image.fromarray(patches[0]).save(tmp_path / name / "1.png")
    with pytest.raises(SweepError, match="Train must hold one folder per class, but holds none"):
        find_layout(folder(tmp_path))
    for name in ("bus", "tram"):
        (tmp_path / name).mkdir()
    (tmp_path / "Test").rename(tmp_path / "plane")
    assert find_layout(folder(tmp_path)).train == tmp_path, "a train is a vehicle, too"


def test_a_test_folder_without_labels_is_left_out_and_told(tmp_path: Path, patches: np.ndarray) -> None:
    root = write_splits(tmp_path, patches, "train")
    (root / "test").mkdir()
    Image.fromarray(patches[0]).save(root / "test" / "1.png")
    (root / "extra").mkdir()
    assert list(find_layout(folder(root)).splits) == ["train"]
    check_data(folder(root), FOUR)
    unlabelled, beside = data_remarks(folder(root), FOUR)
    assert "test/ holds no folder per class, so it is left out" in unlabelled and "extra/" in beside


def test_what_systems_leave_in_folders_is_no_class(tmp_path: Path, patches: np.ndarray) -> None:
    root = write_tree(tmp_path, patches[:80])
    for name in ("__MACOSX/class_0", ".cache", "@eaDir", "class_0/.ipynb_checkpoints"):
        (root / name).mkdir(parents=True)
        (root / name / "._0001.png").write_bytes(b"\0\5\x16\7")
        (root / name / "0002.png").write_bytes(b"no image")
    (root / "class_1" / "._0001.png").write_bytes(b"\0\5\x16\7")
    check_data(folder(root), FOUR)
    assert build_data(folder(root), 0, FOUR).outputs == tuple(f"class_{number}" for number in range(4))


def test_what_pillow_opens_is_read_and_the_rest_is_counted(tmp_path: Path, patches: np.ndarray) -> None:
    root = write_tree(tmp_path, patches[:40])
    before = len(find_images(root).images)
    for suffix, kind in {"jfif": "JPEG", "jpe": "JPEG", "JP2": "JPEG2000", "tga": "TGA", "qoi": "QOI"}.items():
        Image.fromarray(patches[50]).save(root / "class_0" / f"more.{suffix}", format=kind)
    (root / "class_1" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "class_1" / "notes").write_text("x")
    found = find_images(root)
    assert len(found.images) == before + 5 and dict(found.others) == {".heic": 1, "without a suffix": 1}
    assert not extensions() & {".eps", ".ps", ".wmf", ".pdf", ".mpg", ".h5"}
    kinds, left_out = data_remarks(folder(root), FOUR)
    assert kinds == "images by suffix: 40 .png, 1 .jfif, 1 .jp2, 1 .jpe, 1 .qoi, 1 .tga"
    assert left_out.endswith("1 .heic, 1 without a suffix")
    build_data(folder(root), 0, FOUR)  # reads all of them


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path, patches: np.ndarray) -> None:
    root, store = write_tree(tmp_path / "mine", patches[:40]), write_tree(tmp_path / "store", patches[40:80])
    os.symlink(store / "class_0", root / "class_0" / "more pictures")
    os.symlink(root, root / "class_1" / "loop")
    os.symlink(store / "class_3", root / "class_4")
    names = find_images(root).images
    assert len(names) == 40 + 10 + 10 and "class_0/more pictures/0000.png" in names


@pytest.mark.timeout(60)
def test_folders_linked_into_each_other_are_one_sentence(tmp_path: Path) -> None:
    """Their paths are as many as the orders of the folders."""
    for one in range(12):
        (tmp_path / f"c{one}").mkdir()
        for other in range(12):
            (tmp_path / f"c{one}" / f"l{other}").symlink_to(tmp_path / f"c{other}")
    with pytest.raises(SweepError, match=r"is found by more than 100 paths of links; remove some of them$"):
        find_images(tmp_path / "c0")


def test_a_link_to_itself_is_no_folder_and_no_image(tmp_path: Path, patches: np.ndarray) -> None:
    write_tree(tmp_path, patches[:80])
    (tmp_path / "loop").symlink_to("loop")
    check_data(folder(tmp_path), FOUR)
    (tmp_path / "class_0" / "loop.png").symlink_to("loop.png")
    with pytest.raises(SweepError, match=r"loop\.png is a link that leads nowhere .*; restore or remove it$"):
        check_data(folder(tmp_path), FOUR)


def test_a_path_that_no_folder_can_have_is_said_with_its_field() -> None:
    for path in ("~nobody-of-this-name/x", "a" * 5000, "a/" + "b" * 300):
        for find in (find_layout, mask_folder.find_splits, photo_folder.find_splits, find_tables):
            with pytest.raises(SweepError, match=r"^data\.path: .* must (be|hold) .* there is no such f"):
                find(section("image_folder", path=path))


def test_an_added_image_moves_no_other(tmp_path: Path, patches: np.ndarray) -> None:
    def places(root: Path) -> dict[bytes, str]:
        source = ImageFolder().read(folder(root), FOUR)
        assert source.names is not None
        rest, held_out = split_by_name(source.names, source.train.targets_N, 0.2, "validation 0")
        found = {}
        for split, images, indices in (
            ("train", source.train, rest),
            ("validation", source.train, held_out),
            ("test", source.test, np.arange(len(source.test.targets_N))),
        ):
            found |= {pixels.tobytes(): split for pixels in images.read(indices)}
        return found

    before = places(write_tree(tmp_path / "few", patches[:120]))
    after = places(write_tree(tmp_path / "many", patches[:240]))
    assert {pixels: after[pixels] for pixels in before} == before
    assert {"train", "validation", "test"} == set(before.values()) and len(after) == 240


def test_chance_leaves_no_split_of_one_image() -> None:
    for share, count in ((0.2, 24), (0.2, 12), (0.2, 60), (0.1, 20), (0.3, 8)):
        for number in range(100):
            names = [f"{number}/{index}" for index in range(count)]
            rest, held_out = split_by_name(names, np.zeros(count, np.int64), share, "test")
            assert len(held_out) >= max(2, round(share * count) // 2) and len(rest) >= 2
    rest, held_out = split_by_name(list("abcdefgh"), np.arange(8), 0.3, "test")  # each is the only image of its class
    assert len(held_out) == 1 and len(rest) == 7


def test_contents_name_every_change(tmp_path: Path, patches: np.ndarray) -> None:
    root = write_splits(tmp_path, patches, "train", "val")
    before = data_contents(folder(root), FOUR)
    assert before["train"]["class_0"].startswith("20 files, ") and list(before) == ["train", "validation"]
    os.rename(root / "train/class_0/0000.png", root / "train/class_1/0000.png")  # a label is mended
    mended = data_contents(folder(root), FOUR)
    assert mended["train"]["class_0"].startswith("19 files, ") and mended["validation"] == before["validation"]
    Image.new("RGB", (9, 9)).save(root / "train/class_2/0002.png")
    assert data_contents(folder(root), FOUR)["train"]["class_2"] != mended["train"]["class_2"]
    assert data_contents(folder(tmp_path / "nowhere"), FOUR) == {}


@pytest.mark.parametrize("in_memory_mb", [0, 100])
def test_unreadable_images_are_left_out_where_the_sweep_says_so(
    in_memory_mb: int, tmp_path: Path, patches: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, hurt = (write_tree(tmp_path / name, patches[:120]) for name in ("whole", "hurt"))
    (hurt / "class_0/0000.png").write_bytes(b"no image")
    (hurt / "class_1/0001.png").write_bytes((hurt / "class_1/0001.png").read_bytes()[:500])
    with pytest.raises(SweepError, match="2 files cannot be read as images; .* data.unreadable: skip"):
        list(build_data(folder(hurt, in_memory_mb=in_memory_mb), 0, FOUR).train_dataloader())
    for name in ("class_0/0000.png", "class_1/0001.png"):
        (whole / name).unlink()
    sets = [build_data(folder(root, in_memory_mb=in_memory_mb, unreadable="skip"), 0, FOUR) for root in (whole, hurt)]
    assert "2 files cannot be read as images and are left out" in capsys.readouterr().err
    for loaders in ([data.test_dataloader() for data in sets], [data.train_dataloader() for data in sets]):
        for (images, labels), (same, again) in zip(*loaders, strict=True):
            assert (images == same).all() and (labels == again).all()


def test_classes_have_names_in_utf8(tmp_path: Path, patches: np.ndarray) -> None:
    """Before a run: else they stop it where its files are written, at the end."""
    root = write_splits(tmp_path, patches, "train")
    os.rename(root / "train" / sorted(os.listdir(root / "train"))[0], os.fsencode(root / "train") + b"/caf\xe9")
    with pytest.raises(SweepError, match=r"must hold classes with names in UTF-8, but holds 'caf\\udce9'; rename it"):
        check_data(folder(root), FOUR)
    (tmp_path / "classes.json").write_text('["a", "\\ud800"]')
    with pytest.raises(SweepError, match=r"classes.json must hold classes with names in UTF-8"):
        class_names(tmp_path, 2)


def test_a_name_that_is_not_in_utf8_stops_no_writing(tmp_path: Path) -> None:
    write_text(tmp_path / "card", "worst: caf\udce9.png")
    assert (tmp_path / "card").read_text(encoding="utf-8") == "worst: caf\\udce9.png"
