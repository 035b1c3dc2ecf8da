"""An exported folder is usable without this program: its script sees what training saw, its card is what hubs read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from exported import write_folder
from networks import space, supernet
from PIL import Image

from ffnet_search.config.schema import DataSection
from ffnet_search.data.registry import build_data
from ffnet_search.export.bundle.model_card import write_bundle
from ffnet_search.export.network import load
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import find_task

TASK = find_task("classification")


def export(folder: Path) -> dict[str, Any]:
    net = supernet(space("ffnet_digits")).slice_to(space("ffnet_digits").smallest)
    return write_folder(folder, net, build_data(DataSection(), 0, Input(1, 8, 10)))[0]


def test_the_model_card_says_where_a_prediction_was_far_off(tmp_path: Path) -> None:
    card = export(tmp_path)
    assert "off by more than" not in (tmp_path / "README.md").read_text()
    card["metrics"]["predicted_ms"] = 0.25
    write_bundle(tmp_path, card | {"predicted_within_10_percent": False}, TASK)
    printed = "The latency table predicted 0.250 ms, which is off by more than 10 %."
    assert printed in (tmp_path / "README.md").read_text()


@torch.no_grad()
def test_the_script_says_what_the_network_says_of_the_same_images(tmp_path: Path) -> None:
    export(tmp_path)
    data = build_data(DataSection(), 0, Input(1, 8, 10))
    images_BCHW = next(iter(data.test_dataloader()))[0][:6]
    mean, std = (tensor.numpy() for tensor in data.statistics)  # type: ignore[attr-defined]
    for number, image_HWC in enumerate(images_BCHW.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(np.rint(image_HWC * std + mean).astype(np.uint8)[..., 0]).save(tmp_path / f"{number}.png")
    logits_BK = load(tmp_path)(images_BCHW)
    shares = logits_BK.softmax(1).max(1)
    code = "import sys, runpy; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    files = [str(tmp_path / f"{number}.png") for number in range(6)]
    command = [sys.executable, "-c", code, str(tmp_path / "predict.py"), *files]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for line, file, share, label in zip(printed, files, shares.values.tolist(), shares.indices.tolist(), strict=True):
        assert line == f"{file}: {label} ({share:.0%})"


def test_an_image_of_another_size_is_cut_to_its_centre(tmp_path: Path) -> None:
    export(tmp_path)
    square = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    wide = Image.new("L", (80, 40))
    wide.paste(square, (20, 0))
    square.save(tmp_path / "a.png")
    wide.convert("RGB").save(tmp_path / "b.png")
    command = [sys.executable, "predict.py", "a.png", "b.png"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    assert printed[0].split(": ")[1] == printed[1].split(": ")[1]


def predict(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "predict.py", *words], capture_output=True, text=True, cwd=folder, check=False
    )


def test_the_script_takes_folders_and_says_what_is_no_image(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "photos/inner").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("photos/b.png", "photos/inner/a.JPG"):
        Image.new("L", (9, 9), 90).save(tmp_path / name)
    (tmp_path / "photos/broken.png").write_bytes(b"no image")
    (tmp_path / "photos/notes.txt").write_text("no image either")
    ran = predict(tmp_path, "photos", "empty", "photos/b.png")
    names = [line.partition(":")[0] for line in ran.stdout.splitlines()]
    assert names == ["photos/b.png", "photos/inner/a.JPG", "photos/b.png"]
    broken, empty = ran.stderr.splitlines()
    assert broken.startswith("photos/broken.png: cannot be read as an image: ")
    assert empty == "empty: must hold images, but holds none" and ran.returncode == 1


def test_the_script_prints_the_likeliest_classes_and_times(tmp_path: Path) -> None:
    export(tmp_path)
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    [line] = predict(tmp_path, "a.png", "--top", "3", "--time").stdout.splitlines()
    found = re.fullmatch(r"a.png: (\d) \((\d+)%\), (\d) \((\d+)%\), (\d) \((\d+)%\), [\d.,]+ ms", line)
    assert found, line
    assert len({*found.group(1, 3, 5)}) == 3 and sorted(map(int, found.group(2, 4, 6)), reverse=True) == [
        *map(int, found.group(2, 4, 6))
    ]
    [first] = predict(tmp_path, "a.png").stdout.splitlines()
    assert line.startswith(f"{first}, ") and predict(tmp_path).returncode == 2


def test_the_model_card_has_the_metadata_of_model_hubs(tmp_path: Path) -> None:
    card = export(tmp_path)
    _, header, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    metadata = yaml.safe_load(header)
    assert metadata["pipeline_tag"] == "image-classification"
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.5
    assert card["summary"] in text and "python predict.py" in text
    write_bundle(tmp_path, {**card, "data": {**card["data"], "folder": "flowers"}}, find_task("classification"))
    named = (tmp_path / "README.md").read_text()
    assert "found for flowers on" in named and "Trained and tested on flowers only" in named
    assert "dataset:\n      name: flowers\n      type: images\n" in named


def test_without_normalisation_there_is_no_script(tmp_path: Path) -> None:
    card = export(tmp_path)
    (tmp_path / "predict.py").unlink()
    del card["input"]["mean"]
    write_bundle(tmp_path, card, TASK)
    assert not (tmp_path / "predict.py").exists()
    assert "predict.py" not in (tmp_path / "README.md").read_text()


def test_a_user_supplied_task_names_its_quality_and_has_no_script(tmp_path: Path) -> None:
    card = export(tmp_path)
    (tmp_path / "predict.py").unlink()
    card["metrics"] |= {"test_mae": 1.25, "search_mae": 1.0}
    write_bundle(tmp_path, card, find_task("user_task:Regression"))
    text = (tmp_path / "README.md").read_text()
    assert not (tmp_path / "predict.py").exists()
    assert "accuracy" not in text and "| error on test | 1.2 mm |" in text
    assert "pipeline_tag: image-regression" in text and "name: mean absolute error on test" in text
