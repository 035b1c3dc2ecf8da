"""`check --data` refuses whatever of the data a training refuses, in every layout, by the same readers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call, user_error
from image_data import write_cifar
from masks import CONTENT as MASKS
from masks import write_masks
from photos import CONTENT as PHOTOS
from photos import write_photos
from PIL import Image
from stage_states import recorded_stages

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.cifar import Cifar10
from ffnet_search.data.dataset import OnDemand
from ffnet_search.data.look import look_at
from ffnet_search.data.registry import build_data
from ffnet_search.data.unreadable import Unreadable
from ffnet_search.errors import SweepError
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.run.check import check_content, check_sweep
from ffnet_search.run.pipeline import run_sweep

STAGES = [{"depth": [1], "width": [8], "token_kernel": [3], "expansion": [1, 2]}]
Members = list[tuple[str, bytes | str]]  # of an archive: bytes of a file, or the target of a link


def space(task: str, classes: int, **input: Any) -> dict[str, Any]:
    return {"input": {"task": task, "channels": 3, "resolution": 32, "classes": classes, **input}, "stages": STAGES}


def archive(path: Path, members: Members) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members:
            member = tarfile.TarInfo(f"{Cifar10.folder}/{name}")
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                file.addfile(member)
            else:
                member.size = len(content)
                file.addfile(member, io.BytesIO(content))


def cifar(folder: Path, patches: np.ndarray) -> Members:
    place = write_cifar(folder, patches, 10)
    return [(path.name, path.read_bytes()) for path in sorted(place.iterdir())]


def with_archive(change: Callable[[Members], Members]) -> Callable[[Path, np.ndarray], dict[str, Any]]:
    def lay(folder: Path, patches: np.ndarray) -> dict[str, Any]:
        archive(folder / "c.tar.gz", change(cifar(folder / "all", patches)))
        return {"search_space": space("classification", 10), "data": {"name": "cifar10", "path": "c.tar.gz"}}

    return lay


def cifar_folder(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    place = write_cifar(folder, patches, 10)
    (place / "test_batch").write_bytes(b"no pickle")
    return {"search_space": space("classification", 10), "data": {"name": "cifar10", "path": str(folder)}}


def images(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """All images of a class but one are for testing, and that one is skipped."""
    for name in ("a", "b"):
        for split in ("train", "val", "test"):
            (folder / split / name).mkdir(parents=True)
            Image.fromarray(patches[0]).save(folder / split / name / "0.png")
    for name in ("a", "b"):
        (folder / "val" / name / "0.png").write_bytes(b"no image")
    data = {"name": "image_folder", "path": str(folder), "unreadable": "skip"}
    return {"search_space": space("classification", 2), "data": data}


def masks(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """One mask among many has an id that is no class."""
    write_masks(folder, 101)
    mask = sorted((folder / "masks").iterdir())[1]
    with Image.open(mask) as opened:
        ids_HW = np.array(opened)
    ids_HW[0, 0] = 77
    Image.fromarray(ids_HW).save(mask)
    return {
        "task": "segmentation", "search_space": MASKS, "data": {"name": "mask_folder", "path": str(folder)}
    }  # fmt: skip


def table(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """A column that varies in one image alone, which is held out for testing."""
    for number in range(20):
        Image.fromarray(patches[number]).save(folder / f"{number}.png")
    for odd in range(20):
        rows = [f"{number}.png,{int(number == odd)}" for number in range(20)]
        (folder / "t.csv").write_text("\n".join(["file,a", *rows]))
        data = {"name": "picture_table", "path": str(folder / "t.csv")}
        content = {"task": "regression", "search_space": space("regression", 1), "data": data}
        content["search_space"]["input"]["targets"] = content["search_space"]["input"].pop("classes")
        found = Sweep.from_content({"name": "x", **content}, Path("x.yaml"))
        try:
            build_data(found.data, found.seed, found.search_space.images)
        except SweepError:
            return content
    raise AssertionError("every image is for training")


def photos(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """The reduced form of one photo has another size."""
    write_photos(folder / "HR", 12)
    (folder / "LR").mkdir()
    for path in (folder / "HR").iterdir():
        with Image.open(path) as photo:
            photo.resize((photo.width // 2, photo.height // 2)).save(folder / "LR" / path.name)
    with Image.open(folder / "LR" / "003.png") as photo:
        photo.resize((20, 20)).save(folder / "LR" / "003.png")
    data = {"name": "photo_folder", "path": str(folder), "patch": 12, "in_memory_mb": 0}
    return {"task": "super_resolution", "search_space": PHOTOS, "data": data}


def series(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    rows = [f"{hour},{hour % 7},{hour % 5},{hour % 3}" for hour in range(20)]
    (folder / "s.csv").write_text("\n".join(["date,a,b,c", *rows]))
    data = {"name": "ffnet_search.forecasting.series:Series", "init_args": {"path": str(folder / "s.csv")}}
    return {
        "search_space": {"hyperparameters": {"module.dim": [8, 16]}},
        "module": {"class_path": "ffnet_search.forecasting.forecaster:Forecaster", "init_args": {"shape": [3, 96, 96]}},
        "data": data,
        "search": {"evaluator": "train", "metrics": {"val_mse": "minimize"}, "objectives": ["val_mse"]},
    }


def batches(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """A user-supplied data module whose images have 8 pixels a side."""
    return {"search_space": space("classification", 4), "data": {"name": "user_data:MyData"}}


LAYOUTS: dict[str, tuple[Callable[[Path, np.ndarray], dict[str, Any]], str]] = {
    "an archive without members": (with_archive(lambda members: []), "but lacks data_batch_1, .*test_batch"),
    "an archive of links": (
        with_archive(lambda members: [(name, "/etc/passwd") for name, _ in members]), "but lacks data_batch_1"
    ),
    "an archive with a wrong member": (
        with_archive(lambda members: [*members[:-1], ("test_batch", b"x")]), "test_batch is not a file of CIFAR's"
    ),
    "a folder with a wrong file": (cifar_folder, "test_batch is not a file of CIFAR's"),
    "image folders": (images, "must hold an image for the split validation, but none that can be read is left"),
    "mask folders": (masks, "has the ids 77"),
    "a table": (table, "every column to learn must vary among the training images, but a does not"),
    "photos": (photos, r"003.png \(20 x 20 pixels, not"),
    "series": (series, r"must have enough rows for a window of 96 \+ 96 steps"),
    "batches": (batches, r"must give float32 images of \(3, 32, 32\)"),
}  # fmt: skip


def check_all(sweep: Sweep) -> None:
    check_sweep(sweep)
    check_content(sweep)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_training_refuses_is_refused(
    layout: str, tmp_path: Path, patches: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lay, message = LAYOUTS[layout]
    sweep = Sweep.from_content({"name": "x", **lay(tmp_path, patches)}, Path("x.yaml"))
    with pytest.raises(SweepError, match=rf"^x.yaml: .*{message}"):
        check_all(sweep)


def broken(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """The pixels of one image end early."""
    content = images(folder, patches)
    file = folder / "train" / "a" / "1.png"
    file.write_bytes((folder / "train" / "a" / "0.png").read_bytes()[:-60])
    return {**content, "data": {**content["data"], "unreadable": "refuse"}}


def broken_on_disk(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    content = broken(folder, patches)
    return {**content, "data": {**content["data"], "in_memory_mb": 0}}


def gone(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """The folder of the photos was moved away."""
    return {**photos(folder / "there", patches), "data": {"name": "photo_folder", "path": str(folder / "moved")}}


def folds(folder: Path, patches: np.ndarray) -> dict[str, Any]:
    """More folds than images."""
    write_masks(folder / "set", 8)
    data = {"name": "mask_folder", "path": str(folder / "set")}
    return {"task": "segmentation", "search_space": MASKS, "data": data, "export": {"folds": 20}}


BEFORE_PROFILE = {
    "a broken image": (broken, r"3 files cannot be read as images; .*a/1.png"),
    "one on disk": (broken_on_disk, r"3 files cannot be read as images; .*a/1.png"),
    "no folder": (gone, "moved"),
    "many folds": (folds, "export.folds must be <= the"),
    **{name: layout for name, layout in LAYOUTS.items() if name != "series"},  # of which no block is timed
}


@pytest.mark.parametrize("layout", BEFORE_PROFILE)
def test_a_run_reads_the_data_before_it_times_anything(
    layout: str, tmp_path: Path, patches: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = recorded_stages(monkeypatch)
    lay, message = BEFORE_PROFILE[layout]
    content = {"name": "x", "runs": str(tmp_path / "runs"), **lay(tmp_path, patches)}
    sweep = Sweep.from_content(content, Path("x.yaml"))
    with pytest.raises(SweepError, match=message):
        run_sweep(sweep)
    assert not ran
    if layout != "batches":
        run_sweep(sweep, stages=["profile"])  # which needs no data
        assert ran == ["profile"]


def test_the_command_reads_the_data(tmp_path: Path, patches: np.ndarray) -> None:
    members = cifar(tmp_path / "all", patches)
    text = (
        "search_space: {input: {channels: 3, resolution: 32, classes: 10}, stages: [{depth: [1], width: [8, 16], "
        "token_kernel: [3], expansion: [1]}]}\ndata: {name: cifar10, path: c.tar.gz}\n"
    )
    (tmp_path / "x.yaml").write_text(text)
    archive(tmp_path / "c.tar.gz", members)
    assert call("check", "x.yaml", "--data", cwd=tmp_path).returncode == 0
    archive(tmp_path / "c.tar.gz", members[2:])
    assert call("check", "x.yaml", cwd=tmp_path).returncode == 0
    assert "but lacks" in user_error("check", "x.yaml", "--data", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "c.tar.gz", "x.yaml"]


def test_a_module_of_a_stranger_is_not_imported_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strange.py").write_text("raise RuntimeError('imported')")
    content = {"name": "x", "search_space": space("classification", 4), "data": {"name": "strange:Data"}}
    with foreign_imports(ForeignImports.REFUSED):
        check_content(Sweep.from_content(content, Path("x.yaml")))
    assert "strange.py is not imported unasked" in capsys.readouterr().err


def test_a_look_at_many_images_ends_in_time_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    images = OnDemand(3, lambda indices: [Unreadable(f"{index}.png", "empty") for index in indices if index])
    look_at(images, seconds=0.0)
    assert "data: 0 of 3 images were opened in 0s and can be read; the others are opened in" in capsys.readouterr().err
    with pytest.raises(SweepError, match=r"2 files cannot be read as images; .*: 1.png \(empty\), 2.png \(empty\)"):
        look_at(images)
