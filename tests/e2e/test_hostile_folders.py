"""Folders that cannot be learnt from, through the commands of the user: `check --data`, `train` and `init` each say one
sentence about them, and leave nothing half done. `run` is as `train`, but measures latency before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from command_line import call
from masks import CONTENT as MASKS
from masks import write_masks
from photos import CONTENT as PHOTOS
from photos import write_photos
from PIL import Image


class Hostile(NamedTuple):
    """What is wrong with a folder, and what each command says of it."""

    change: Callable[[Path], object]
    said: str
    at_init: str = ""  # where it differs


def mask(folder: Path) -> Path:
    return folder / "masks" / "003.png"


def changed_mask(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with Image.open(mask(folder)) as opened:
        ids_HW = np.array(opened)
    Image.fromarray(change(ids_HW)).save(mask(folder))


def wrong_id(ids_HW: np.ndarray) -> np.ndarray:
    ids_HW[0, 0] = 77
    return ids_HW


def only_background(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        with Image.open(path) as opened:
            Image.new("L", opened.size).save(path)


def one_left(*folders: str) -> Callable[[Path], object]:
    return lambda at: [path.unlink() for name in folders for path in sorted((at / name).glob("*.png"))[1:]]


HOSTILE: dict[str, Hostile] = {
    "mask missing": Hostile(lambda at: mask(at).unlink(), "003.png"),
    "other size": Hostile(lambda at: Image.new("L", (5, 5)).save(mask(at)), "003.png has 5 x 5 pixels"),
    "wrong id": Hostile(lambda at: changed_mask(at, wrong_id), "003.png has the ids 77", "hold only 0, 1, 2, 77"),
    "RGB mask": Hostile(
        lambda at: changed_mask(at, lambda ids_HW: np.stack([ids_HW * 9, ids_HW, ids_HW], 2)), "holds colours, not ids"
    ),
    "empty classes": Hostile(only_background, "two classes at least"),
    "one picture": Hostile(one_left("images", "masks"), "must leave"),
    "one photo": Hostile(one_left("."), "3 photos at least"),
    "small photo": Hostile(lambda at: Image.new("RGB", (6, 6)).save(at / "000.png"), "000.png (6 x 6)"),
}


def refusal(*words: object, cwd: Path) -> str:
    """The one error of a command, its last line; what it has done before may be told above."""
    done = call(*words, cwd=cwd)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("ffnet-search: ") == 1 and "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", HOSTILE)
def test_each_command_says_one_sentence(name: str, tmp_path: Path) -> None:
    change, said, at_init = HOSTILE[name]
    photos = "photo" in name
    folder = write_photos(tmp_path / "data", 8) if photos else write_masks(tmp_path / "data", 8)
    change(folder)
    content: dict[str, Any] = {
        "runs": str(tmp_path / "runs"),
        "task": "super_resolution" if photos else "segmentation",
        "search_space": PHOTOS if photos else MASKS,
        "data": {"name": "photo_folder", "patch": 12} if photos else {"name": "mask_folder"},
    }
    content["data"]["path"] = str(folder)
    sweep = tmp_path / "hostile.yaml"
    sweep.write_text(yaml.safe_dump(content))
    assert said in refusal("check", sweep, "--data", cwd=tmp_path)
    assert said in refusal("train", sweep, cwd=tmp_path)
    assert not list(tmp_path.glob("runs/*/supernet.ckpt"))
    task = ["--task", "super_resolution"] if photos else []
    assert (at_init or said) in refusal("init", "--data", folder, *task, cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "runs", "hostile.yaml"}
