"""An exported network that segments: masks of its script, its details, its card; and a supernet that learns."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import write_folder
from masks import CLASSES, SPACE, mask_sweep, write_masks
from networks import supernet
from PIL import Image
from torch.nn import functional as F

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.export.network import load, write_details
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data, train_supernet

TASK = find_task("segmentation")


def network(output: str) -> Architecture:
    rng = random.Random(0)
    return next(arch for arch in iter(lambda: SPACE.sample(rng), None) if arch.head.output == output)  # type: ignore


def export(folder: Path, arch: Architecture, data: Any) -> tuple[dict[str, Any], Deployed]:
    return write_folder(folder, supernet(SPACE).slice_to(arch), data)


@pytest.mark.parametrize("output", ["logits", "labels"])
@torch.no_grad()
def test_the_script_writes_the_masks_of_the_network(output: str, tmp_path: Path) -> None:
    """Of the image's own size: a random network, whose labels change from pixel to pixel."""
    data = sweep_data(mask_sweep(tmp_path / "runs", write_masks(tmp_path / "data", 16)))
    arch = network(output)
    card, _ = export(tmp_path, arch, data)
    files = sorted((tmp_path / "data/images").iterdir())[:4]
    code = "import sys, runpy; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    command = [sys.executable, "-c", code, str(tmp_path / "predict.py"), *map(str, files)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(printed) == 4 and all(name in line for line in printed for name in card["input"]["classes"])
    mean, std = np.array(card["input"]["mean"]), np.array(card["input"]["std"])
    for file in files:
        with Image.open(file) as image, Image.open(file.with_name(f"{file.stem}_mask.png")) as mask:
            assert mask.mode == "P" and mask.size == image.size
            pixels_HWC = (np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC), np.float32) - mean) / std
            net_output = load(tmp_path)(torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None].float())
            size = image.size[::-1]
            if output == "logits":
                expected_HW = F.interpolate(net_output, size=size, mode="bilinear", antialias=True).argmax(1)[0]
            else:
                expected_HW = F.interpolate(net_output[None].float(), size=size, mode="nearest-exact")[0, 0]
            assert (np.asarray(mask) == expected_HW.numpy()).mean() > 0.995
    place = tmp_path / "given"
    place.mkdir()
    for name in ("face_mask.png", "x.png", "x.tif"):
        Image.new("RGB", (16, 16)).save(place / name)
    for _ in range(2):  # what was written is not read again
        subprocess.run([*command[:4], str(place)], check=True, capture_output=True)
        written = {file.name for file in place.iterdir()} - {"face_mask.png", "x.png", "x.tif"}
        assert written == {"face_mask_mask.png", "x.png_mask.png", "x.tif_mask.png"}


@torch.no_grad()
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    data = sweep_data(mask_sweep(tmp_path / "runs", write_masks(tmp_path / "data", 16)))
    export(tmp_path, network("labels"), data)
    file = sorted((tmp_path / "data/images").iterdir())[0]
    file.with_name(f"{file.stem}_mask.png").mkdir()  # nobody may write there, not even root
    command = [sys.executable, str(tmp_path / "predict.py"), str(file)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1 and "its output cannot be written: Is a directory" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


class Counts:
    """Details of another type than those of the tasks of this program."""

    def __call__(self, *args: object) -> dict[str, object]:
        return {"images": 120}


def test_details_of_another_type_are_refused_when_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(TASK), "details", "test_mask_bundle:Counts")
    data: Any = None
    with pytest.raises(
        SweepError, match=r"Counts: must return plain data.*details\.images must be a mapping, but is 120"
    ):
        write_details(tmp_path, fuse(supernet(SPACE).slice_to(network("logits"))), data)


@torch.no_grad()
def test_details_are_each_class_and_the_worst_images(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "data", 45)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    data = sweep_data(mask_sweep(tmp_path / "runs", folder))
    card, fused = export(tmp_path, network("logits"), data)
    details = card["details"]
    assert list(details["iou"]) == list(CLASSES)
    mean = np.mean([value for value in details["iou"].values() if value is not None])
    assert mean == pytest.approx(quality(fused, data.test_dataloader(), TASK), abs=1e-6)
    with Image.open(tmp_path / details["worst"]) as sheet:
        assert sheet.size == (3 * 164 - 4, 6 * 164 - 4)
    text = (tmp_path / "README.md").read_text()
    assert f"| disc | {TASK.quality.format(details['iou']['disc'])} |" in text and "| meaning | logits: " in text
    assert "writes image_mask.png" in text and "image-segmentation" in text


@pytest.mark.slow
def test_a_supernet_learns_to_segment_and_repeats(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "data", 48)
    runs = [mask_sweep(tmp_path / name, folder) for name in ("a", "b")]
    first, second = (read_supernet(train_supernet(sweep)) for sweep in runs)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    data, untrained = sweep_data(runs[0]), MetaMixer.for_space(SPACE, runs[0].train.form)
    for arch in (SPACE.largest, SPACE.smallest):
        [before, after] = [Evaluator(net, data)(Configuration(arch)).metrics["miou"] for net in (untrained, first)]
        assert after > before + 0.1
