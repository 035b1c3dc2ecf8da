"""What a supernet's recipe is worth on real images: sub-networks on inherited weights against the same trained alone.

    FFNET_CIFAR=FOLDER python benchmarks/recipe.py [--epochs 8] [--networks 12] [--seeds 0 1 2] [--set labels=0 ...]

FOLDER holds CIFAR-10's python version, of which 12,000 + 4,000 images are used. Networks lie even over the logarithm of
MACs, 0.44 to 15 M. Accuracy is on all 6,000 images that are not trained on, with BN recalibrated; ranks are by search
validation (2,000 of them), as the search sees it, against the accuracy of the networks trained alone. Each network's
result is one line of `--results`: another call, also after a kill, goes on with what is missing. Those trained alone
are kept by epochs, seed, rate and optimiser, whatever the rest of the recipe. An epoch takes 60 (supernet), up to 30 s
of CPU. `--jobs` trains that many at a time, each in a process: on a GPU, which a single small network leaves idle, 8
or more.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.cifar import Cifar10
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.evaluation.rank_statistics import correlate, kendall
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.training.fit import sweep_data, train_architecture, train_supernet

TRAIN, TEST = 12_000, 4_000  # images
POOL = 4_000  # random networks to choose from
SPACE = yaml.safe_load("""
input: {channels: 3, resolution: 32, classes: 10}
stem: {width: [16], stride: [2, 4]}
stages:
  - {depth: [1, 2], width: [16, 24, 32], token_kernel: [3, 5], channel_kernel: [3], expansion: [1, 2, 3]}
  - {depth: [1, 2, 3], width: [24, 32, 48, 64], mixer: [ffn_attention, pool], token_kernel: [3, 5], channel_kernel: [3],
     expansion: [1, 2, 3]}
  - {depth: [1, 2], width: [32, 48, 64, 96], mixer: [ffn_attention, attention], token_kernel: [3], channel_kernel: [3],
     expansion: [1, 2, 3]}
""")
Row = dict[str, Any]


def cut(source: Path, target: Path) -> Path:
    """The first `TRAIN` and `TEST` images of CIFAR-10, evenly by class, in the same layout; written once."""
    if not (target / "batches.meta").exists():
        section = Sweep.model_validate(content(source, target, 0, {})).data
        whole = Cifar10().read(section, SearchSpace.model_validate(SPACE).images)
        target.mkdir(parents=True, exist_ok=True)
        names = [(f"data_batch_{number}", whole.train, TRAIN // 5, number - 1) for number in range(1, 6)]
        for name, images, count, part in [*names, ("test_batch", whole.test, TEST, 0)]:
            of_class = [np.where(images.targets_N == label)[0] for label in range(10)]
            each = count // 10
            kept = np.sort(np.concatenate([places[part * each :][:each] for places in of_class]))
            rows = images.read(kept).transpose(0, 3, 1, 2).reshape(len(kept), -1)
            with (target / name).open("wb") as file:
                pickle.dump({b"data": rows, b"labels": images.targets_N[kept].tolist()}, file, protocol=2)
        names_of_classes = [name.encode() for name in whole.outputs]
        (target / "batches.meta").write_bytes(pickle.dumps({b"label_names": names_of_classes}, protocol=2))
    return target


def content(images: Path, runs: Path, seed: int, train: Row) -> Row:
    """The sweep of one supernet; all are validated on the same images."""
    data = {"name": "cifar10", "path": str(images), "validation": 0.16667, "augment": {"crop": 4, "flip": True}}
    return {"name": f"recipe-{seed}", "runs": str(runs), "search_space": SPACE, "data": data, "train": train}


def networks(space: SearchSpace, count: int) -> list[Architecture]:
    """Networks from the smallest to the largest, as even over log MACs as random ones allow."""
    rng = random.Random("bench 0")
    pool = {arch.key: arch for arch in (space.sample(rng) for _ in range(POOL))}
    low, high = math.log(space.smallest.macs_m), math.log(space.largest.macs_m)
    chosen = [space.smallest]
    for index in range(1, count - 1):
        wanted = low + (high - low) * index / (count - 1)
        nearest = min(pool, key=lambda key: abs(math.log(pool[key].macs_m) - wanted))
        chosen.append(pool.pop(nearest))
    return [*chosen, space.largest]


class Bench:
    """The trainings of one recipe, and the file of their results."""

    def __init__(self, images: Path, results: Path, train: Row, count: int) -> None:
        self.images, self.results, self.train = images, results, train
        sweep = self.sweep(0)
        self.networks = networks(sweep.search_space, count)
        self.data = sweep_data(sweep)
        self.test = list(self.data.test_dataloader())
        self.recipe = json.dumps(sweep.train.model_dump(mode="json"), sort_keys=True)

    def sweep(self, seed: int) -> Sweep:
        name = "-".join(f"{key}_{value}" for key, value in sorted(self.train.items()))
        sweep = Sweep.model_validate(content(self.images, self.results / "runs" / name, seed, self.train))
        return sweep.override(seed=seed)

    def rows(self) -> list[Row]:
        file = self.results / "results.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def record(self, row: Row) -> None:
        with (self.results / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def accuracies(self, net: MetaMixer, evaluator: Evaluator) -> Row:
        """On search validation, and on that and the test images together."""
        batches = [(x_BCHW.contiguous(memory_format=torch.channels_last), target_B) for x_BCHW, target_B in self.test]
        fused, sizes = fuse(net), [sum(len(pair[1]) for pair in part) for part in (evaluator.batches, batches)]
        found = [quality(fused, part, evaluator.task) for part in (evaluator.batches, batches)]
        return {"validation": found[0], "all": float(np.average(found, weights=sizes))}

    def alone(self, arch: Architecture, seed: int) -> Row:
        """The result of a network trained alone, which it is where there is no line of it."""
        sweep = self.sweep(seed)
        train = sweep.train
        place = {"kind": "alone", "seed": seed, "epochs": train.epochs, "rate": train.learning_rate}
        wanted = {**place, "key": arch.key, "optimizer": train.optimizer}
        old = [row for row in self.rows() if ({"optimizer": "adamw"} | row).items() >= wanted.items()]
        if not old:
            torch.manual_seed(seed)
            start, folder = time.process_time(), self.results / "alone" / "-".join(map(str, wanted.values()))
            net = MetaMixer(arch, sweep.train.form)
            net = train_architecture(net, sweep_data(sweep), train, folder, seed)
            evaluator = Evaluator(net, self.data)
            net = recalibrate(net, evaluator.calibration_NCHW)
            cpu_s = time.process_time() - start
            old = [{**wanted, "cpu_s": cpu_s, **self.accuracies(net, evaluator)}]
            self.record(old[0])
        return old[0]

    def inherited(self, seed: int) -> dict[str, Row]:
        """Key -> result of each network on the supernet's weights."""
        sweep = self.sweep(seed)
        wanted = {"kind": "inherited", "seed": seed, "recipe": self.recipe}
        old = {row["key"]: row for row in self.rows() if row.items() >= wanted.items()}
        missing = [arch for arch in self.networks if arch.key not in old]
        if missing:
            start = time.process_time()
            if not sweep.files.supernet.exists():
                train_supernet(sweep)
            cpu_s = time.process_time() - start  # of the last part, where training was killed
            evaluator = Evaluator(read_supernet(sweep.files.supernet), self.data)
            for arch in missing:
                old[arch.key] = {**wanted, "key": arch.key, "cpu_s": cpu_s}
                old[arch.key] |= self.accuracies(evaluator.calibrated(arch), evaluator)
                self.record(old[arch.key])
        return old


def ranks(values: list[float]) -> list[float]:
    """The rank of each value; equal ones are rare and in any order."""
    return [float(rank) for rank in np.argsort(np.argsort(values))]


def table(bench: Bench, seed: int) -> Iterator[str]:
    """The rows of one seed."""
    archs, inherited = bench.networks, bench.inherited(seed)
    alone = {arch.key: bench.alone(arch, seed) for arch in reversed(archs)}
    truth = [alone[arch.key]["all"] for arch in archs]
    shared = [inherited[arch.key]["all"] for arch in archs]
    seen = [inherited[arch.key]["validation"] for arch in archs]
    predictors = {
        "inherited": seen,
        "MACs": [arch.macs_m for arch in archs],
        "params": [arch.params_m for arch in archs],
    }
    mixed = np.sum([ranks(values) for values in predictors.values()], axis=0)
    predictors["their mean rank"] = [float(value) for value in mixed]
    means = [100 * statistics.mean(values) for values in (shared, truth)]
    ends = [f"{100 * shared[end]:.1f} / {100 * truth[end]:.1f}" for end in (0, -1)]
    cells = [f"{seed}", f"{means[0]:.1f}", f"{means[1]:.1f}", f"{means[0] - means[1]:+.1f}", *ends]
    for values in predictors.values():
        found = correlate(kendall, values, truth)
        cells.append(f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})")
    yield "| " + " | ".join(cells) + " |"


def train_one(bench: Bench, seed: int, place: int | None) -> None:
    """Train the supernet of a seed, or the network at a place."""
    torch.set_num_threads(1)
    if place is None:
        bench.inherited(seed)
    else:
        bench.alone(bench.networks[place], seed)


def train_at_once(bench: Bench, seeds: Sequence[int], jobs: int) -> None:
    """Train all that has no line yet, so many at a time, in processes of their own; the largest first."""
    work: list[tuple[int, int | None]] = [(seed, None) for seed in seeds]
    work += [(seed, place) for place in reversed(range(len(bench.networks))) for seed in seeds]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(train_one, bench, *one) for one in work]):
            done.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="of the section `train`")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--results", type=Path, default=Path("runs/recipe"))
    arguments = parser.parse_args()
    if "FFNET_CIFAR" not in os.environ:
        parser.error("set FFNET_CIFAR to the folder with CIFAR-10's python version")
    torch.set_num_threads(1)
    train = {"epochs": arguments.epochs}
    train |= {field: yaml.safe_load(value) for field, value in (pair.split("=", 1) for pair in arguments.set)}
    arguments.results.mkdir(parents=True, exist_ok=True)
    images = cut(Path(os.environ["FFNET_CIFAR"]), arguments.results.absolute() / "cifar-10-batches-py")
    bench = Bench(images, arguments.results, train, arguments.networks)
    print(f"{train}, {len(bench.networks)} networks, accuracy in %, Kendall's tau with its 95 % interval\n")
    names = ["seed", "inherited", "alone", "gap", "smallest", "largest"]
    print("| " + " | ".join([*names, "inherited", "MACs", "params", "their mean rank"]) + " |\n" + "|---" * 10 + "|")
    if arguments.jobs > 1:
        train_at_once(bench, arguments.seeds, arguments.jobs)
    for seed in arguments.seeds:
        for line in table(bench, seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
