"""Images that are not square: networks equal in every form, costs and limits at the deployed size, a whole run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from exported import write_folder
from masks import CONTENT, write_masks
from networks import images, run_onnx, supernet
from PIL import Image
from tables import WORDS, content, write_table
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.config.schema import DataSection
from ffnet_search.data.registry import build_data
from ffnet_search.export.network import load
from ffnet_search.latency.anchors import anchors
from ffnet_search.latency.jobs import part_job
from ffnet_search.latency.plan import parts_of
from ffnet_search.models.deployed import deployed, fuse
from ffnet_search.report.architecture_svg import draw
from ffnet_search.space.architecture import Form
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.segmentation import Segmentation

SIDES = (12, 20)


def space(task: str = "classification") -> SearchSpace:
    chosen = content(task)
    chosen["input"]["resolution"] = list(SIDES)
    chosen["stages"][1] |= {"width": [16, 32], "mixer": ["ffn_attention", "pool", "attention"]}
    return SearchSpace.model_validate(chosen)


@torch.no_grad()
@pytest.mark.parametrize("task", WORDS)
def test_elastic_equals_sliced_equals_fused_equals_exported(task: str) -> None:
    chosen, rng = space(task), random.Random(0)
    net, x_BCHW = supernet(chosen, Form("all", 0.1)), images(chosen)
    assert x_BCHW.shape[2:] == SIDES
    for arch in (chosen.smallest, chosen.largest, *(chosen.sample(rng) for _ in range(4))):
        sliced = net.slice_to(arch)
        fused, elastic_BK = fuse(sliced), net(x_BCHW, arch)
        assert (elastic_BK - sliced(x_BCHW)).abs().max() <= 1e-5
        size = max(1.0, float(elastic_BK.abs().max()))
        assert (elastic_BK - fused(x_BCHW)).abs().max() <= 1e-4 * size
        assert (fused(x_BCHW) - run_onnx(fused, x_BCHW)).abs().max() <= 1e-4 * size


@torch.no_grad()
def test_parts_have_the_stated_costs_and_sides() -> None:
    chosen, rng = space(), random.Random(2)
    for arch in (chosen.smallest, chosen.largest, chosen.sample(rng)):
        net = deployed(arch)
        assert sum(part.costs.params for part in arch.parts) == sum(p.numel() for p in net.parameters())
        x_BCHW = torch.rand(1, 3, *SIDES)
        for part, module in zip(arch.parts, net.parts, strict=True):
            assert tuple(x_BCHW.shape[1:]) == part_job(part).shape
            with FlopCounterMode(display=False) as counter:
                x_BCHW = module(x_BCHW)
            assert counter.get_total_flops() == 2 * part.costs.macs, part.key
        assert "image 3 x 12 x 20" in draw(arch) and f"{12 // arch.stem.stride} x {20 // arch.stem.stride} pix" in draw(
            arch
        )
    known = parts_of(chosen)
    assert {part for _ in range(100) for part in chosen.sample(rng).parts} <= set(known)
    assert len({part.key for part in known}) == len(known)
    assert {anchor.input.resolution for anchor in anchors(chosen.images)} == {15}


def test_a_rectangle_costs_what_a_square_of_as_many_pixels_does() -> None:
    square = content("classification")
    square["input"]["resolution"] = 16
    wide = {**square, "input": {**square["input"], "resolution": [8, 32]}}
    one, other = (SearchSpace.model_validate(each).largest for each in (square, wide))
    assert one.macs_m == other.macs_m and one.peak_memory_mb == other.peak_memory_mb and one.key != other.key


class Own(Segmentation):
    name = "own"
    rectangles = False


def test_a_task_of_ones_own_may_have_square_images_only() -> None:
    with pytest.raises(ValueError, match=r"resolution must be one number for task 'own', .* is 8 x 9"):
        Input(3, (8, 9), 2, f"{__name__}:Own")


@torch.no_grad()
@pytest.mark.parametrize("task", WORDS)
def test_the_script_and_a_loaded_network_prepare_images_as_training_did(task: str, tmp_path: Path) -> None:
    chosen = space(task)
    write_table(tmp_path / "data", task, 60)
    section = DataSection(name="picture_table", path=tmp_path / "data", calibration=16)
    data = build_data(section, 0, chosen.images)
    write_folder(tmp_path, supernet(chosen).slice_to(chosen.smallest), data)
    net, files = load(tmp_path), sorted((tmp_path / "data").rglob("*.png"))
    mean_C, std_C = data.statistics  # type: ignore[attr-defined]

    def levels(image_CHW: torch.Tensor) -> tuple[int, ...]:
        return tuple((image_CHW * std_C[:, None, None] + mean_C[:, None, None]).round().int().flatten().tolist())

    seen = {levels(image_CHW) for images_BCHW, _ in data.test_dataloader() for image_CHW in images_BCHW}
    found = [file for file in files if levels(net.preprocess(file)[0]) in seen]  # type: ignore[operator]
    assert len(found) >= len(seen) > 0, "the images of the test split are as training prepared them"
    for file in found[:3]:
        with Image.open(file) as image:
            assert torch.allclose(net.preprocess(image), net.preprocess(file), atol=0.05)  # type: ignore[operator]
    command = [sys.executable, "predict.py", *map(str, found[:3])]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    for line, file in zip(printed, found, strict=False):
        best, value = next(iter(net.predict(file).items()))  # type: ignore[operator]
        assert best in line and (task == "regression" or f"{value:.0%}" in line)


MY_TRANSFORMS = """
import torch


class Dim:
    def __call__(self, image):
        return (image * (0.5 + 0.5 * torch.rand(1))).byte()
"""


def wide_folder(root: Path) -> None:
    """Two classes of wide images: bright at the left edge, or at the right, which a centred square would cut off."""
    rng = np.random.default_rng(0)
    for number in range(160):
        pixels_HWC = rng.integers(0, 120, (24, 48, 3), dtype=np.uint8)
        pixels_HWC[:, :6] += 120 * np.uint8(number % 2)
        pixels_HWC[:, -6:] += 120 * np.uint8(1 - number % 2)
        place = root / ("right", "left")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_HWC).save(place / f"{number}.png")


def run_in(place: Path, sweep: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    (place / "wide.yaml").write_text(yaml.safe_dump(sweep))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "ffnet_search", "run", "wide.yaml", "--quiet", *options]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_run_on_wide_images_with_a_transform_of_ones_own(tmp_path: Path) -> None:
    wide_folder(tmp_path / "wide")
    (tmp_path / "my_transforms.py").write_text(MY_TRANSFORMS)
    sweep: dict[str, Any] = {
        "allow_imports": False,
        "search_space": {
            "input": {"resolution": [8, 16], "classes": 2},
            "stem": {"width": [8], "stride": [1, 2]},
            "stages": [{"depth": [1, 2], "width": [8, 16], "token_kernel": [3, 5], "expansion": [1, 2]}],
        },
        "data": {
            "name": "image_folder", "path": "wide", "batch_size": 32, "calibration": 64, "validation": 0.25,
            "augment": {
                "crop": 1, "randaugment": 1, "magnitude": 3, "jitter": 0.2,
                "transforms": [{"class_path": "my_transforms.Dim"}],
            },
        },
        "train": {"epochs": 15, "learning_rate": 5e-3, "cutmix": 0.2},
        "latency": {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0.0},
        "search": {"trials": 6, "constraints": {"macs_m": 0.5}},
        "export": {"top": 1, "retrain": {"epochs": 2}, "formats": ["pt2"]},
    }  # fmt: skip
    asked = run_in(tmp_path, sweep)
    assert asked.returncode == 2 and "would import code" in asked.stderr and "my_transforms.py" in asked.stderr
    done = run_in(tmp_path, sweep, "--allow-imports")
    assert done.returncode == 0, done.stderr[-3000:]
    [place] = (tmp_path / "runs/wide/pareto").glob("01-*")
    card = json.loads((place / "card.json").read_text())
    assert card["input"]["resolution"] == [8, 16] and card["metrics"]["macs_m"] <= 0.5
    assert card["metrics"]["test_accuracy"] > 0.9 and (place / "model.pt2").exists()
    predicted = subprocess.run(
        [sys.executable, "predict.py", str(tmp_path / "wide/left")],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    assert predicted.stdout.count(": left (") > 70
    assert "8 x 16" in (tmp_path / "runs/wide/report.html").read_text()


@pytest.mark.slow
def test_a_run_on_wide_images_with_masks(tmp_path: Path) -> None:
    """From files of one shape and several sizes to masks of these sizes; the network sees all of each image."""
    write_masks(tmp_path / "wide", 80, wider=20)
    chosen = json.loads(json.dumps(CONTENT))
    chosen["input"]["resolution"] = [12, 20]
    sweep: dict[str, Any] = {
        "task": "segmentation",
        "search_space": chosen,
        "data": {
            "name": "mask_folder", "path": "wide", "batch_size": 16, "calibration": 32, "validation": 0.25,
            "augment": {"crop": 1, "flip": True},
        },
        "train": {"epochs": 15, "learning_rate": 5e-3},
        "latency": {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0.0},
        "search": {"trials": 6, "constraints": {"macs_m": 0.5}},
        "export": {"top": 1, "retrain": {"epochs": 2}, "formats": ["pt2"]},
    }  # fmt: skip
    done = run_in(tmp_path, sweep)
    assert done.returncode == 0, done.stderr[-3000:]
    [place] = (tmp_path / "runs/wide/pareto").glob("01-*")
    card = json.loads((place / "card.json").read_text())
    assert card["input"]["resolution"] == [12, 20] and card["metrics"]["macs_m"] <= 0.5
    assert card["metrics"]["test_miou"] > 0.4 and (place / "model.pt2").exists()
    file = tmp_path / "wide/images/000.png"
    subprocess.run([sys.executable, "predict.py", str(file)], cwd=place, capture_output=True, check=True)
    with Image.open(file) as image, Image.open(file.with_name("000_mask.png")) as mask:
        assert mask.size == image.size and len(np.unique(np.asarray(mask))) > 1
    with Image.open(place / "worst.png") as sheet:
        assert sheet.width > sheet.height / 6 * 3, "a row has three wide images"
    assert "12 x 20" in (tmp_path / "runs/wide/report.html").read_text()
