"""Small real sets of other tasks: the best network of the front on test, and the best of half its latency.

    python benchmarks/tasks.py --data FOLDER [--names counts wbc ett ...] [--epochs 40] [--trials 60] [--alone]

FOLDER/wbc and FOLDER/nuclei are laid out as docs/segmentation.md says: 300 white blood cells of three classes (Zheng et
al., Micron 107, 2018; its test split is every fifth) and 216 microscope images of two (BBBC038), by
sweeps/segment.yaml. FOLDER/counts has train.csv and test.csv of blood smears (BCCD) with their red cells, by
sweeps/regress.yaml; FOLDER/cells (the cells of those, cut out, of 3 classes) and FOLDER/sign_digits (hands, 10 classes)
a folder per class, by the same trunk; FOLDER/kodak 24 photos of 768 x 512 pixels, 16 of them in train/ ("released by
the Eastman Kodak Company for unrestricted usage"), by sweeps/super_resolution.yaml; FOLDER/ett ETTh1.csv, by
sweeps/ett.yaml, whose test error is of standardised values. The error of a quality is its standard error over the test
images, or windows, which overlap. Beside the front of masks, counts and photos stand networks of the same space scaled
by hand, trained and measured alike, with what the front gains at their latency. `--alone` trains the best network by
itself for as many epochs. An interrupted run resumes; times are of CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.judge import judge
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.ffnets import devices_of
from ffnet_search.export.network import load_deployed
from ffnet_search.export.yardstick.gains import read_gains
from ffnet_search.forecasting.forecaster import Forecaster
from ffnet_search.forecasting.series import Series
from ffnet_search.formatting import figure
from ffnet_search.metrics import Metric
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data, train_architecture

SWEEPS = Path(__file__).parents[1] / "sweeps"


class Set(NamedTuple):
    """A set: the sweep for it, what its input has, and fields of sections that differ from the sweep's."""

    sweep: str
    input: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


TURNED = {"crop": 0, "flip": True, "turn": True}  # images of a microscope have no up
FOLDER = {"name": "image_folder", "calibration": 256}
ALONE = {"export": {"top": 4}, "report": {"yardstick": False}}  # two networks are asked for, and none by hand
SETS = {
    "counts": Set("regress", {"resolution": 96, "targets": 1}, {"data": {"augment": TURNED}}),
    "cells": Set(
        "regress",
        {"task": "classification", "resolution": 48, "classes": 3},
        {"data": FOLDER | {"batch_size": 64, "augment": TURNED | {"crop": 4}}, "train": {"epochs": 10}} | ALONE,
    ),
    "sign_digits": Set(
        "regress",
        {"task": "classification", "resolution": 64, "classes": 10},
        {"data": FOLDER | {"batch_size": 32}, "train": {"epochs": 30}} | ALONE,
    ),
    "wbc": Set("segment", {"resolution": 96, "classes": 3}, {"data": {"augment": TURNED | {"crop": 8}}}),
    "nuclei": Set("segment", {"resolution": 128, "classes": 2}, {"data": {"augment": TURNED | {"crop": 8}}}),
    "kodak": Set("super_resolution", {"resolution": [128, 192], "scale": 2}),
    "ett": Set("ett", {}),
}
LATENCY = {"rounds": 3, "calibration": 12}  # within 10 % is enough to say what is half of it


def make_sweep(name: str, arguments: argparse.Namespace) -> Sweep:
    """The shipped sweep for a set."""
    one, path = SETS[name], SWEEPS / f"{SETS[name].sweep}.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if name == "ett":
        content["data"]["init_args"]["path"] = str(arguments.data / "ett" / "ETTh1.csv")
    else:
        known = {key: value for key, value in content["search_space"]["input"].items() if key == "channels"}
        content["search_space"]["input"] = known | one.input
        content["data"]["path"] = str(arguments.data / name)
        content["latency"] |= LATENCY
    if "task" in one.input:
        content["task"] = one.input["task"]
        content["search"]["objectives"] = ["accuracy", "latency_ms"]
    for section, fields in one.sections.items():
        content[section] = content.get(section, {}) | fields
    for section, field in ("train", "epochs"), ("search", "trials"):
        content[section][field] = getattr(arguments, field) or content[section][field]
    return Sweep.from_content(content | {"name": f"tasks-{name}", "runs": str(arguments.runs)}, path)


def test(net: Deployed, data: Data) -> str:
    """The quality on test with its standard error, as it is printed."""
    task = task_of(net.arch.input)
    judged = judge(net, data.test_dataloader(), task)
    error = task.quality.format(judged.scores.error, unit=False)
    return f"{task.quality.word} {task.quality.format(judged.quality)} +- {error}"


def row(words: str, network: ExportedNetwork, data: Data) -> None:
    """Print one network."""
    measured, params = network.metrics["measured_ms"], network.metrics["params_m"]
    quality = test(load_deployed(network.folder), data)
    print(f"  {words}: {quality}, {figure(measured)} ms, {figure(params)} M, {network.architecture}", flush=True)


def print_images(sweep: Sweep, networks: list[ExportedNetwork], alone: bool) -> None:
    """The best network on search validation, the best of half its latency and, where asked for, the first trained
    alone."""
    data, task = sweep_data(sweep), task_of(sweep.search_space.images)

    def best_of(some: list[ExportedNetwork]) -> ExportedNetwork:
        return min(some, key=lambda one: task.quality.sign * one.metrics[task.search_quality])

    [device] = devices_of(sweep)
    if device.table is not None and device.table.error is not None:
        print(f"  latency table: {device.table.error}", flush=True)
    best = best_of(networks)
    row("best", best, data)
    half = [one for one in networks if one.metrics["measured_ms"] <= best.metrics["measured_ms"] / 2]
    if half:
        row("of half its latency", best_of(half), data)
    if task.any_size:
        for one in networks:
            row("of the front", one, data)
        print(f"  bicubic: {networks[0].read_card()['details']['bicubic_psnr_y']:.2f} dB", flush=True)
    print_gains(sweep, task.quality)
    if alone:
        net = MetaMixer(best.network, sweep.train.form)
        net = train_architecture(net, data, sweep.train, sweep.files.folder / "alone", sweep.seed)
        print(f"  the best, trained alone: {test(fuse(net), data)}", flush=True)


@torch.no_grad()
def print_series(sweep: Sweep, networks: list[ExportedNetwork]) -> None:
    """The networks by their error on validation, the least first; each was trained by itself."""
    data = Series(**sweep.data.init_args)
    data.setup("test")
    for one in sorted(networks, key=lambda one: one.metrics["val_mse"]):
        module = Forecaster.load_from_checkpoint(one.folder / "model.ckpt", weights_only=False).eval()
        each = torch.cat([((module(past) - future) ** 2).mean((1, 2)) for past, future in data.test_dataloader()])
        error, ms = float(each.std() / len(each) ** 0.5), one.metrics["latency_ms"]
        mse = f"validation MSE {one.metrics['val_mse']:.4f}, test MSE {each.mean():.4f} +- {error:.4f}"
        print(f"  {mse}, MAE {one.metrics['test_mae']:.4f}, {figure(ms)} ms, {dict(one.hyperparameters)}", flush=True)


def print_gains(sweep: Sweep, quality: Metric) -> None:
    """The networks by hand, and what the front gains at the latency of each."""
    for gain in read_gains(sweep.files.yardstick):
        print(f"  {gain.words(quality)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--names", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--epochs", type=int, help="in place of the sweep's")
    parser.add_argument("--trials", type=int, help="in place of the sweep's")
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.names:
        sweep, since = make_sweep(name, arguments), time.process_time()
        run_sweep(sweep)
        spent_s = time.process_time() - since
        print(f"{name}, {sweep.train.epochs} epochs, {sweep.search.trials} trials: {spent_s:.0f} CPU-s", flush=True)
        networks = read_exported(sweep.files.pareto)
        if name == "ett":
            print_series(sweep, networks)
        else:
            print_images(sweep, networks, arguments.alone)


if __name__ == "__main__":
    main()
