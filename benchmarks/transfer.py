"""The worth of a start: small image sets, from scratch and from a supernet of CIFAR-10, at equal epochs.

    FFNET_CIFAR=FOLDER python benchmarks/transfer.py FOLDER_OF_IMAGES ... [--what alone supernet] [--seeds 0 1 2]
                                                     [--epochs 10] [--source FILE]

Each folder of images has one folder per class. The supernet of CIFAR-10 (python version; all images that are there)
trains once, unless `--source` is one that exists. `alone`: a network of 2.6 M MACs is trained alone. `supernet`: a
supernet is trained, and five networks are tested on inherited weights, from the smallest to the largest, even over the
logarithm of MACs. Accuracy is on the test images. Each result is one line of `--results`; another call, also after a
kill, continues.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from lightning import seed_everything

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data, train_architecture, train_supernet
from ffnet_search.training.start import load_start

NETWORKS, POOL = 5, 2000
STAGES = [
    {"depth": [1, 2], "width": [16, 24, 32], "token_kernel": [3, 5], "channel_kernel": 3, "expansion": [1, 2, 3]},
    {"depth": [1, 2, 3], "width": [24, 32, 48, 64], "mixer": ["ffn_attention", "pool"], "token_kernel": [3, 5],
     "channel_kernel": 3, "expansion": [1, 2, 3]},
    {"depth": [1, 2], "width": [32, 48, 64, 96], "mixer": ["ffn_attention", "attention"], "token_kernel": 3,
     "channel_kernel": 3, "expansion": [1, 2, 3]},
]  # fmt: skip
KINDS = ("scratch", "start")
MEASURED = {"alone": "a network trained alone", "mean": "five, inherited: mean", "largest": "five, inherited: largest"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One training."""

    task: str
    what: str
    kind: str
    seed: int
    epochs: int


def sweep_of(name: str, runs: Path, classes: int, data: Row, train: Row) -> Sweep:
    shape = {"channels": 3, "resolution": 32, "classes": classes}
    return Sweep.model_validate(
        {
            "name": name,
            "runs": str(runs),
            "search_space": {"input": shape, "stem": {"width": 16, "stride": [2, 4]}, "stages": STAGES},
            "data": {"augment": {"crop": 4, "flip": True}, **data},
            "train": train,
        }
    )


def train_source(cifar: Path, runs: Path, epochs: int) -> Path:
    sweep = sweep_of("cifar", runs, 10, {"name": "cifar10", "path": str(cifar)}, {"epochs": epochs})
    return sweep.files.supernet if sweep.files.supernet.exists() else train_supernet(sweep)


def spread(space: SearchSpace) -> list[Architecture]:
    """Networks from the smallest to the largest, even over the logarithm of MACs."""
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(POOL)]
    least, most = math.log(space.smallest.macs_m), math.log(space.largest.macs_m)
    wanted = [least + (most - least) * step / (NETWORKS - 1) for step in range(1, NETWORKS - 1)]
    between = [min(drawn, key=lambda arch: abs(math.log(arch.macs_m) - log)) for log in wanted]
    return [space.smallest, *between, space.largest]


def train_alone(sweep: Sweep, data: Data) -> Row:
    arch, start = spread(sweep.search_space)[NETWORKS // 2], load_start(sweep)
    seed_everything(sweep.seed, verbose=False)
    net = MetaMixer(arch, sweep.train.form)
    if start is not None:
        start.initialise(net, data.calibration)
    net = train_architecture(net, data, sweep.train, sweep.files.training / "alone", sweep.seed)
    fused = fuse(recalibrate(net, data.calibration))
    return {"alone": quality(fused, data.test_dataloader(), task_of(arch.input))}


def train_together(sweep: Sweep, data: Data) -> Row:
    evaluator, batches = Evaluator(read_supernet(train_supernet(sweep)), data), list(data.test_dataloader())
    networks = map(evaluator.calibrated, spread(sweep.search_space))
    accuracies = [quality(fuse(net), batches, evaluator.task) for net in networks]
    return {"mean": statistics.mean(accuracies), "largest": accuracies[-1], "all": accuracies}


def measure(folder: Path, runs: Path, job: Job, start: Path) -> Row:
    classes = next(path for path in (folder / "train", folder) if path.is_dir())
    count = sum(path.is_dir() for path in classes.iterdir())
    train = {"epochs": job.epochs, "start_from": str(start) if job.kind == "start" else None}
    data = {"name": "image_folder", "path": str(folder), "batch_size": 64}
    name = "-".join((folder.name, job.what, job.kind, str(job.seed), str(job.epochs)))
    sweep = sweep_of(name, runs, count, data, train).override(seed=job.seed)
    images, before = sweep_data(sweep), time.process_time()
    accuracies = {"alone": train_alone, "supernet": train_together}[job.what](sweep, images)
    cpu_s = round(time.process_time() - before)
    return {**asdict(job), "images": images.train_images, "cpu_s": cpu_s, **accuracies}


def report(rows: list[Row]) -> None:
    print(f"{'data':14} {'images':>7} {'accuracy of':>28} {'seeds':>5}  scratch -> start, %")
    for task in dict.fromkeys(row["task"] for row in rows):
        for key, words in MEASURED.items():
            known = [row for row in rows if row["task"] == task and key in row]
            of_kind = [{row["seed"]: 100 * row[key] for row in known if row["kind"] == kind} for kind in KINDS]
            seeds = sorted(of_kind[0].keys() & of_kind[1].keys())
            if not seeds:
                continue
            scratch, start = ([by_seed[seed] for seed in seeds] for by_seed in of_kind)
            gains = [after - before for before, after in zip(scratch, start, strict=True)]
            error = f" +- {statistics.stdev(gains) / len(gains) ** 0.5:.1f}" if len(gains) > 1 else ""
            first, second, gain = map(statistics.mean, (scratch, start, gains))
            gained = f"{first:.1f} -> {second:.1f} ({gain:+.1f}{error})"
            print(f"{task:14} {known[0]['images']:7,} {words:>28} {len(seeds):5}  {gained}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--what", nargs="+", choices=["alone", "supernet"], default=["alone", "supernet"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--source", type=Path, help="the supernet.ckpt of CIFAR-10 to start from")
    parser.add_argument("--source-epochs", type=int, default=8)
    parser.add_argument("--runs", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--results", type=Path, default=Path("runs/transfer/results.jsonl"))
    arguments = parser.parse_args()
    cifar, runs = os.environ.get("FFNET_CIFAR", ""), arguments.runs
    if not cifar and arguments.source is None:
        parser.error("set FFNET_CIFAR to the folder with CIFAR-10's python version, or give --source")
    source = arguments.source or train_source(Path(cifar), runs, arguments.source_epochs)
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    rows = [row for row in map(json.loads, lines) if row["epochs"] == arguments.epochs]
    for what, seed, folder, kind in product(arguments.what, arguments.seeds, arguments.folders, KINDS):
        job = Job(folder.name, what, kind, seed, arguments.epochs)
        if not any(asdict(job).items() <= row.items() for row in rows):
            rows.append(measure(folder, runs, job, source))
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            with arguments.results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            report(rows)
    report(rows)


if __name__ == "__main__":
    main()
