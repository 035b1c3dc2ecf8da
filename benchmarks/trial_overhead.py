"""What a trial costs beside training: seconds per epoch through the evaluator and by a bare `Trainer.fit`.

    python benchmarks/trial_overhead.py [--epochs 6] [--rounds 5] [--batch 64]

Both train the largest network of the digits space, interleaved; the first epoch of each is left out (loaders and caches
warm up in it). The evaluator also validates, reports, logs and writes a checkpoint after each epoch: so does the bare
Trainer validate, and no more.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from lightning import Callback, Trainer

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.formatting import figure
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.fit import sweep_data
from ffnet_search.training.modules import Standalone
from ffnet_search.training.trainer import quiet_lightning

ROOT = Path(__file__).resolve().parent.parent


class Clock(Callback):
    """Seconds of each epoch, validation included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_epoch_end(self, *_: object) -> None:
        self.ends.append(time.perf_counter())


def per_epoch(ends: list[float]) -> list[float]:
    """Without the first epoch."""
    return [later - earlier for earlier, later in pairwise(ends)]


def bare(sweep: Sweep, configuration: Configuration) -> list[float]:
    """Lightning with all its extras off."""
    assert configuration.architecture is not None
    module, clock = Standalone(MetaMixer(configuration.architecture, sweep.train.form), sweep.train), Clock()
    with quiet_lightning():
        trainer = Trainer(
            accelerator="cpu", max_epochs=sweep.train.epochs, callbacks=[clock], logger=False, num_sanity_val_steps=0,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, datamodule=sweep_data(sweep))
    return per_epoch(clock.ends)


def evaluated(evaluator: TrialEvaluator, configuration: Configuration, folder: Path) -> list[float]:
    """The same through the evaluator."""
    ends: list[float] = []

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        ends.append(time.perf_counter())
        return True

    evaluator.train(configuration, report, folder)
    return per_epoch(ends)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    sweep = Sweep.from_yaml(ROOT / "sweeps" / "digits.yaml")
    sweep = sweep.model_copy(
        update={
            "train": sweep.train.model_copy(update={"epochs": options.epochs}),
            "data": sweep.data.model_copy(update={"batch_size": options.batch}),
        }
    )
    configuration, evaluator = Configuration(sweep.search_space.largest), TrialEvaluator(sweep)
    times: dict[str, list[float]] = {"bare": [], "evaluator": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            times["bare"] += bare(sweep, configuration)
            times["evaluator"] += evaluated(evaluator, configuration, Path(folder) / str(number))
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{configuration.architecture.macs_m:.2f} M MACs, batch {options.batch}, {machine}")  # type: ignore[union-attr]
    print(f"epoch: bare {figure(medians['bare'])} ms, evaluator {figure(medians['evaluator'])} ms")
    print(f"ratio of medians {medians['evaluator'] / medians['bare']:.3f}")


if __name__ == "__main__":
    main()
