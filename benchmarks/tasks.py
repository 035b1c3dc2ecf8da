"""Segmentation of small real sets: the best network of the front on test, and the best of half its latency.

    python benchmarks/tasks.py --data FOLDER [--names wbc nuclei] [--epochs 40] [--trials 60] [--alone]

FOLDER/wbc and FOLDER/nuclei are laid out as docs/segmentation.md says: 300 white blood cells of three classes (Zheng et
al., Micron 107, 2018; its test split is every fifth) and 216 microscope images of two (BBBC038). The sweep is
sweeps/segment.yaml, at 96 and at 128 pixels. The error is one standard deviation over resampled test images. `--alone`
trains the best network by itself for as many epochs. An interrupted run resumes; times are of CPU.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.network import load_deployed
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.tasks.mean_iou import MeanIoU, iou
from ffnet_search.tasks.segmentation import IGNORE
from ffnet_search.training.fit import sweep_data, train_architecture

SWEEP = Path(__file__).parents[1] / "sweeps" / "segment.yaml"
INPUTS = {"wbc": (96, 3), "nuclei": (128, 2)}  # resolution, classes
RESAMPLED = 500


def make_sweep(name: str, arguments: argparse.Namespace) -> Sweep:
    """The shipped sweep for a set."""
    content: dict[str, Any] = yaml.safe_load(SWEEP.read_text(encoding="utf-8"))
    resolution, classes = INPUTS[name]
    content["search_space"]["input"] |= {"resolution": resolution, "classes": classes}
    content["data"]["path"] = str(arguments.data / name)
    content["train"]["epochs"] = arguments.epochs
    content["search"]["trials"] = arguments.trials
    content["latency"] |= {"rounds": 3, "calibration": 12}  # within 10 % is enough to say what is half of it
    return Sweep.from_content(content | {"name": f"tasks-{name}", "runs": str(arguments.runs)}, SWEEP)


@torch.inference_mode()
def test(net: Deployed, data: Data) -> tuple[float, float]:
    """mIoU on test in per cent, and its standard deviation over resampled images."""
    metric = MeanIoU(net.arch.input.outputs, IGNORE)
    confusions = [
        metric.confusion(net(image[None]), mask[None])
        for images, masks in data.test_dataloader()
        for image, mask in zip(images, masks, strict=True)
    ]
    rng = random.Random(0)

    def of(chosen: list[torch.Tensor]) -> float:
        return float(100 * iou(torch.stack(chosen).sum(0)).nanmean())

    resampled = [of(rng.choices(confusions, k=len(confusions))) for _ in range(RESAMPLED)]
    return of(confusions), float(np.std(resampled))


def row(words: str, network: ExportedNetwork, data: Data) -> None:
    """Print one network."""
    quality, error = test(load_deployed(network.folder), data)
    measured, params = network.metrics["measured_ms"], network.metrics["params_m"]
    print(f"  {words}: {quality:.1f} +- {error:.1f} mIoU, {measured:.3g} ms, {params:.3f} M, {network.architecture}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--names", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.names:
        sweep, since = make_sweep(name, arguments), time.process_time()
        run_sweep(sweep)
        print(f"{name}, {arguments.epochs} epochs, {arguments.trials} trials: {time.process_time() - since:.0f} CPU-s")
        data, networks = sweep_data(sweep), read_exported(sweep.files.pareto)
        best = max(networks, key=lambda one: one.metrics["search_miou"])
        row("best", best, data)
        half = [one for one in networks if one.metrics["measured_ms"] <= best.metrics["measured_ms"] / 2]
        if half:
            row("of half its latency", max(half, key=lambda one: one.metrics["search_miou"]), data)
        if arguments.alone:
            net = MetaMixer(best.network, sweep.train.form)
            net = train_architecture(net, data, sweep.train, sweep.files.folder / "alone", sweep.seed)
            quality, error = test(fuse(net), data)
            print(f"  the best, trained alone: {quality:.1f} +- {error:.1f} mIoU")


if __name__ == "__main__":
    main()
