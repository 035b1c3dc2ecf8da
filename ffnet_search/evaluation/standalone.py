"""Evaluator of `ffnet-search fidelity`: trains a network alone by the recipe of the supernet, and scores it twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning import Trainer

from ffnet_search.config.search_schema import EarlyStoppingSection, SchedulerSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.ffnet_target import FFNetTarget
from ffnet_search.evaluation.judge import quality
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import fuse
from ffnet_search.provenance import git_state
from ffnet_search.training.modules import Standalone


def standalone_sweep(sweep: Sweep, repeat: int, networks: int) -> Sweep:
    """The sweep by which networks are trained alone, from scratch and to the end, in a folder of its own.

    `repeat`: 0, 1, ...: each has other initial weights, another order and augmentation of the images."""
    alone = sweep_alone(sweep, sweep.files.fidelity / f"seed-{repeat}")
    search = alone.search.model_copy(update={"trials": networks})
    return alone.model_copy(update={"seed": sweep.seed + repeat, "search": search})


def sweep_alone(sweep: Sweep, folder: Path) -> Sweep:
    """The sweep by which networks are trained alone, each to its end, in the run's folder `folder`."""
    search = {
        "evaluator": "train",
        "warm_start": False,
        "trial_minutes": None,  # of an evaluation on the supernet, as a rule
        "early_stopping": EarlyStoppingSection(),
        "scheduler": SchedulerSection(),
    }
    place = {"runs": str(folder.parent), "name": folder.name}
    return sweep.model_copy(update={**place, "search": sweep.search.model_copy(update=search)})


@dataclass
class StandaloneFactory:
    """Makes the evaluator in each process of an engine. `split_seed`: the seed of the sweep whose supernet is judged,
    which splits the images."""

    sweep: Sweep  # of `standalone_sweep`
    split_seed: int
    git: dict[str, object] | None = field(default_factory=git_state)

    def __call__(self) -> TrialEvaluator:
        target = TestedTarget(self.sweep, split_seed=self.split_seed)
        return TrialEvaluator(self.sweep, git=self.git, target=target)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "sweep": self.sweep.with_absolute_paths()}


class TestedTarget(FFNetTarget):
    """Networks that are scored on the test split too, which chooses nothing: it is the less noisy judge."""

    def score(self, trial: Sweep, trainer: Trainer, module: Standalone, data: Data) -> dict[str, float]:
        metrics = super().score(trial, trainer, module, data)  # which recalibrates the network
        with threads_for(1e6 * module.net.largest.macs_m * trial.data.batch_size):
            test = quality(fuse(module.net), data.test_dataloader(), module.task)
        return {**metrics, module.task.test_quality: test}
