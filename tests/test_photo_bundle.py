"""An exported network that enlarges photos: its script, its details, its card; and a supernet that learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import write_folder
from networks import supernet
from photos import SPACE, photo_sweep, write_photos
from PIL import Image

from ffnet_search.cli.tables.network import print_network
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.export.exported import read_network
from ffnet_search.export.network import load
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.architecture import Form
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.psnr import levels
from ffnet_search.training.fit import sweep_data, train_supernet

TASK = find_task("super_resolution")


def export(folder: Path, data: Any) -> tuple[dict[str, Any], Deployed]:
    net = supernet(SPACE, Form("bare", 0.1)).slice_to(SPACE.largest)
    for parameter in net.head.parameters():
        parameter.data.mul_(0.02)  # so that levels are not cut off
    return write_folder(folder, net, data, 30.5)


@torch.no_grad()
def test_the_script_writes_the_photos_of_the_network(tmp_path: Path) -> None:
    """Of any size: one is larger than a tile of the script."""
    data = sweep_data(photo_sweep(tmp_path / "runs", write_photos(tmp_path / "data", 12)))
    card, _ = export(tmp_path, data)
    assert (card["input"]["scale"], card["input"]["resolution"]) == (2, [12, 16])
    files = sorted((tmp_path / "data").iterdir())[:2]
    wide = tmp_path / "wide.png"
    with Image.open(files[0]) as image:
        image.resize((1100, 20)).save(wide)
    code = "import sys, runpy; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    command = [sys.executable, "-c", code, str(tmp_path / "predict.py"), *map(str, [*files, wide])]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(printed) == 3 and "wide_x2.png, 2200 x 40" in printed[2]
    net = load(tmp_path)
    with Image.open(files[0]) as image, Image.open(files[0].with_name(f"{files[0].stem}_x2.png")) as large:
        for given in (files[0], image):
            assert np.abs(net.predict(given).astype(int) - np.asarray(large)).max() <= 1  # type: ignore[operator]
    for file in (*files, wide):
        with Image.open(file) as image, Image.open(file.with_name(f"{file.stem}_x2.png")) as large:
            assert large.size == (2 * image.width, 2 * image.height)
            pixels_HWC = np.asarray(image.convert("RGB"), np.float32) / 255
            expected = levels(net(torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None]))[0].permute(1, 2, 0).numpy()
            difference = np.abs(np.asarray(large).astype(int) - expected)
            assert difference.max() <= 1 and expected.std() > 10


@torch.no_grad()
def test_details_are_bicubic_and_the_worst_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = sweep_data(photo_sweep(tmp_path / "runs", write_photos(tmp_path / "data", 30)))
    card, _ = export(tmp_path, data)
    metric = TASK.quality_metric(2)
    for low, high in data.test_dataloader():
        for low_Chw, high_CHW in zip(low, high, strict=True):
            image = Image.fromarray(levels(low_Chw).permute(1, 2, 0).numpy())
            large = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
            metric.update(torch.from_numpy(np.array(large)).permute(2, 0, 1)[None] / 255, high_CHW[None])
    assert card["details"]["bicubic_psnr_y"] == pytest.approx(float(metric.compute()))
    with Image.open(tmp_path / card["details"]["worst"]) as sheet:
        assert sheet.size == (3 * 244 - 4, 6 * 244 - 4)
    text = (tmp_path / "README.md").read_text()
    assert "Bicubic interpolation has" in text and "the latency above is at 12 x 16" in text
    assert "writes image_x2.png\n" in text and "image-to-image" in text
    assert TASK.reference_note(card["details"]) in text.replace("Bicubic", "bicubic")
    print_network(read_network(tmp_path))
    assert TASK.reference_note(card["details"]) in capsys.readouterr().out


@pytest.mark.slow
def test_a_supernet_learns_to_enlarge_and_repeats(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "data", 30)
    train = {"epochs": 8, "learning_rate": 3e-3, "warmup_epochs": 0.5}
    runs = [photo_sweep(tmp_path / name, folder, train=train) for name in ("a", "b")]
    first, second = (read_supernet(train_supernet(sweep)) for sweep in runs)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    data, untrained = sweep_data(runs[0]), MetaMixer.for_space(SPACE, runs[0].train.form)
    for arch in (SPACE.largest, SPACE.smallest):
        before, after = (Evaluator(net, data)(Configuration(arch)).metrics["psnr_y"] for net in (untrained, first))
        assert after > before + 3
        assert quality(fuse(first.slice_to(arch)), data.val_dataloader(), TASK) == pytest.approx(after, abs=1e-3)
