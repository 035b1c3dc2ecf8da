"""Step `supernet`: a supernet in a given time, and what its smallest and largest networks inherit."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from lightning import Callback

from ffnet_search.atomic_write import write_text
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.models.deployed import fuse
from ffnet_search.models.saved import read_supernet
from ffnet_search.training.fit import sweep_data, train_supernet
from ffnet_search.training.modules import Supernet
from ffnet_search.training.trainer import run_trainer
from gpu_steps.run import Rows, Run


def measure(run: Run) -> Rows:
    """Train for as many epochs as fit `--supernet-minutes`, by the first epoch's speed; resumes at its checkpoint."""
    plan = run.work / "epochs.json"
    if not plan.exists():
        seconds = 0.0 if run.tiny else _epoch_seconds(run)
        epochs = 2 if run.tiny else max(2, int(60 * run.supernet_minutes / seconds))
        write_text(plan, json.dumps({"epochs": epochs, "first_epoch_s": seconds}))
    content = json.loads(plan.read_text())
    sweep = run.sweep(content["epochs"])
    if not sweep.files.supernet.exists():
        train_supernet(sweep)
    data, net = sweep_data(sweep), read_supernet(sweep.files.supernet)
    evaluator = Evaluator(net, data)
    rows = [
        (
            f"supernet of {sweep.search_space.name}: epochs, seconds of an epoch at first",
            f"{content['epochs']}, {content['first_epoch_s']:.1f}",
        )
    ]
    for name, arch in {"smallest": sweep.search_space.smallest, "largest": sweep.search_space.largest}.items():
        found = quality(fuse(evaluator.calibrated(arch)), data.test_dataloader(), evaluator.task)
        rows.append(
            (
                f"inherited by the {name} network: test {evaluator.task.quality.word}",
                evaluator.task.quality.format(found),
            )
        )
    return rows


def _epoch_seconds(run: Run) -> float:
    """Seconds of the second of two epochs in a folder that is removed."""
    ends: list[float] = []

    class Clock(Callback):
        def on_train_epoch_end(self, *_: object) -> None:
            run.wait()
            ends.append(time.perf_counter())

    sweep, folder = run.sweep(2), run.work / "timed"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        run_trainer(Supernet(sweep.search_space, sweep.train), sweep_data(sweep), sweep.train, folder, [Clock()])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ends[1] - ends[0]


def supernet_of(run: Run) -> Path:
    path = run.sweep(1).files.supernet
    if not path.exists():
        raise FileNotFoundError(f"{path}: no supernet; run step `supernet` first, or give --earlier FOLDER")
    return path
