"""Evaluator "train": configuration -> Candidate by training it, an FFNet or a module of the user's own, with Lightning.

All that a trial depends on is the sweep and its key: its seed is drawn from both, so that it can be repeated alone.
"""

from __future__ import annotations

import gc
import hashlib
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.data.registry import build_data, check_data
from ffnet_search.errors import error_context
from ffnet_search.evaluation.inherited import quality
from ffnet_search.evaluation.outcome import Report, Stopped
from ffnet_search.evaluation.schedule import Schedule, ending
from ffnet_search.evaluation.user_module import UserModuleTarget
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import say
from ffnet_search.provenance import versions
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.feasibility import analytic_metrics
from ffnet_search.training.fit import read_supernet
from ffnet_search.training.modules import NonFiniteLoss, Standalone
from ffnet_search.training.trainer import LAST, run_trainer, save

WEIGHTS = "weights.ckpt"
KEPT = 2  # data modules in memory: trials that differ in batch size or augmentation each have their own


class TrialTarget(Protocol):
    """What is trained: `FFNetTarget`, or `own_module.UserModuleTarget`."""

    def data(self, trial: Sweep) -> LightningDataModule: ...
    def module(self, trial: Sweep, configuration: Configuration) -> LightningModule:
        """Untrained, from the random numbers that are next."""
        ...

    def watched(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        """The metrics so far, out of what Lightning has logged."""
        ...

    def score(self, trial: Sweep, trainer: Trainer, module: Any, data: Any) -> dict[str, float]:
        """The metrics of what was trained, in the form that is deployed."""
        ...

    def write(self, path: Path, trainer: Trainer, module: Any) -> None: ...


class TrialEvaluator:
    """Trains each configuration, in a folder of its own: `trials/KEY` in the run's folder.

    Interrupted, a trial goes on from its last epoch. What cannot be trained (a loss that is not finite, no memory)
    raises, and is one failed trial of the search.
    """

    def __init__(self, sweep: Sweep, supernet: Path | None = None, git: Mapping[str, object] | None = None) -> None:
        self.sweep, self.git = sweep, git
        self.subject: TrialTarget = UserModuleTarget(sweep) if sweep.module else FFNetTarget(sweep, supernet)
        for name, one in sweep.search_space.hyperparameters.items():
            for value in one.extremes:  # a mistake in them would end the search when it is first drawn
                self._check(sweep.with_values({name: value}))

    def __call__(self, configuration: Configuration, report: Report) -> Candidate | Stopped:
        return self.train(configuration, report, self.checkpoint(configuration.key).parent)

    def checkpoint(self, key: str) -> Path:
        """See `attempt.Resumable`."""
        return self.sweep.files.trials / key / LAST

    def train(self, configuration: Configuration, report: Report, folder: Path) -> Candidate | Stopped:
        """In another folder. Raises whatever training raises, NonFiniteLoss among it."""
        trial = self.sweep.with_values(configuration.hyperparameters)
        seed = trial_seed(self.sweep.seed, configuration.key)
        seed_everything(seed, workers=True, verbose=False)
        try:
            data = self.subject.data(trial)
            module = self.subject.module(trial, configuration)
            epochs = _Epochs(folder / LAST, self.subject, report)
            trainer = run_trainer(module, data, trial.train, folder, [epochs])
            if epochs.is_stopped:
                (folder / LAST).unlink(missing_ok=True)
                return Stopped(epochs.count, epochs.metrics)
            metrics = self.subject.score(trial, trainer, module, data)
            self.subject.write(folder / WEIGHTS, trainer, module)
            (folder / LAST).unlink(missing_ok=True)
        finally:
            if torch.cuda.is_available():
                gc.collect()  # what a trial that had no memory held, the next one needs
                torch.cuda.empty_cache()
        record = {
            "seed": seed,
            "epochs": trainer.current_epoch,
            "resolved": resolved(trial),
            "data": getattr(data, "fingerprint", None),
            "git": self.git,
            "versions": versions(),
        }
        return Candidate(configuration.architecture, metrics, configuration.hyperparameters, record)

    def repeat(
        self,
        configuration: Configuration,
        schedule: Schedule,
        folder: Path,
        report: Report = lambda epoch, metrics: True,
    ) -> Candidate | Stopped:
        """`train`, by the schedule that it was trained by, if any."""
        last, kept = folder / LAST, folder / f"{LAST}.kept"  # who is told to stop removes its checkpoint
        for step, following in pairwise(schedule):
            until: int = following["after_epoch"]

            def leave(epoch: int, metrics: Mapping[str, float], until: int = until) -> bool:
                if epoch == until:
                    shutil.copyfile(last, kept)
                return epoch < until

            self.train(replace(configuration, hyperparameters=step["hyperparameters"]), leave, folder)
            os.replace(kept, last)
        return self.train(
            replace(configuration, hyperparameters=ending(schedule, configuration.hyperparameters)), report, folder
        )

    def weights(self, candidate: Candidate) -> Path:
        """The file of its weights. Where it lies on another machine, the trial is repeated here."""
        path = self.sweep.files.trials / candidate.key / WEIGHTS
        if not path.exists():
            say(f"{candidate.key}: its weights are not on this machine, so it is trained again")
            self.repeat(candidate.configuration, candidate.record.get("schedule", []), path.parent)
        return path

    def network(self, candidate: Candidate) -> MetaMixer:
        """A trained FFNet, in evaluation mode on the CPU."""
        net = MetaMixer(candidate.network, self.sweep.with_values(candidate.final_hyperparameters).train.form)
        net.load_state_dict(torch.load(self.weights(candidate), map_location="cpu", weights_only=True))
        return net.eval()

    def _check(self, trial: Sweep) -> None:
        if trial.search_space.has_network:
            with error_context(f"{trial.path}: hyperparameters"):
                check_data(trial.data, trial.search_space.images)


def trial_seed(seed: int, key: str) -> int:
    """Of trial `key` in a sweep of this seed."""
    return int(hashlib.sha256(f"trial {seed} {key}".encode()).hexdigest()[:7], 16)


def resolved(trial: Sweep) -> dict[str, Any]:
    """All that was set, searched or not, as plain data."""
    sections = {"train": trial.train, "data": trial.data, "module": trial.module}
    return {name: section.model_dump(mode="json") for name, section in sections.items() if section is not None}


class FFNetTarget:
    """Networks of the search space: from scratch, or with the supernet's weights to begin with."""

    def __init__(self, sweep: Sweep, supernet: Path | None = None) -> None:
        self.images = sweep.search_space.images
        self.seed, self.path = sweep.seed, sweep.path
        self.supernet = read_supernet(supernet or sweep.files.supernet) if sweep.search.warm_start else None
        self._data: dict[str, Data] = {}

    def data(self, trial: Sweep) -> Data:
        """With the sweep's seed: all trials are compared on the same images."""
        key = trial.data.model_dump_json()
        if key not in self._data:
            with error_context(self.path):
                self._data[key] = build_data(trial.data, self.seed, self.images)
            while len(self._data) > KEPT:
                del self._data[next(iter(self._data))]
        return self._data[key]

    def module(self, trial: Sweep, configuration: Configuration) -> Standalone:
        arch, seed = configuration.architecture, trial_seed(self.seed, configuration.key)
        assert arch is not None
        if self.supernet is None:
            return Standalone(MetaMixer(arch, trial.train.form), trial.train, seed)
        return Standalone(recalibrate(self.supernet.slice_to(arch), self.data(trial).calibration), trial.train, seed)

    def watched(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        assert isinstance(module, Standalone)
        module.check_finite()
        return {module.task.quality.name: float(logged[module.task.logged_quality])}

    def score(self, trial: Sweep, trainer: Trainer, module: Standalone, data: Data) -> dict[str, float]:
        arch, batches = module.net.largest, data.val_dataloader()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with threads_for(1e6 * arch.macs_m * trial.data.batch_size):
            fused = fuse(recalibrate(module.net.to(device), data.calibration.to(device)))
            score = quality(fused, batches, module.task)
        return {module.task.quality.name: score, **analytic_metrics(arch)}

    def write(self, path: Path, trainer: Trainer, module: Standalone) -> None:
        torch.save({name: tensor.cpu() for name, tensor in module.net.state_dict().items()}, path)


class _Epochs(Callback):
    """After each epoch: a checkpoint, and a report, whose answer may be the end."""

    def __init__(self, path: Path, subject: TrialTarget, report: Report) -> None:
        self.path, self.subject, self.report = path, subject, report
        self.is_stopped = False
        self.count, self.metrics = 0, dict[str, float]()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.count, self.metrics = trainer.current_epoch + 1, self.subject.watched(module, logged)
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise NonFiniteLoss(f"{name} is {value} after epoch {self.count}")
        save(trainer, self.path)
        if self.count < (trainer.max_epochs or 0) and not self.report(self.count, self.metrics):
            self.is_stopped = trainer.should_stop = True
