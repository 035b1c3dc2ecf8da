"""Evaluator "train": configuration -> Candidate by training an FFNet, or a user-supplied module, with Lightning.

A trial depends on the sweep and its key alone: its seed is drawn from both, so that it can be repeated alone.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything

from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.warm_start import trial_sweep
from ffnet_search.data.registry import check_data
from ffnet_search.errors import error_context
from ffnet_search.evaluation.ffnet_target import FFNetTarget, TrialTarget, trial_seed
from ffnet_search.evaluation.outcome import Report, Stopped
from ffnet_search.evaluation.schedule import Schedule, Segment, schedule_of
from ffnet_search.evaluation.user_module import UserModuleTarget, logged_by
from ffnet_search.files.bounded import is_bounded
from ffnet_search.files.secrets import without_secrets
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.weights_file import load_tensors
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.progress import say
from ffnet_search.provenance import versions
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.training.checkpoints import save_checkpoint
from ffnet_search.training.loggers import Hyperparameters, finished, log_result
from ffnet_search.training.modules import NonFiniteLoss
from ffnet_search.training.trainer import run_trainer

WEIGHTS = "weights.ckpt"


class TrialEvaluator:
    """Trains each configuration, in a folder of its own: `trials/KEY` in the run's folder.

    An interrupted trial resumes from its last epoch. One that cannot be trained (a loss that is not finite, no memory)
    raises, and is one failed trial of the search. Raises SweepError if a hyper-parameter at one end of its range
    does not fit the data: such a value would end the search when it is first drawn."""

    def __init__(
        self,
        sweep: Sweep,
        supernet: Path | None = None,
        git: Mapping[str, object] | None = None,
        target: TrialTarget | None = None,
    ) -> None:
        self.sweep, self.git = trial_sweep(sweep), git
        if target is None:
            target = UserModuleTarget(sweep) if sweep.module else FFNetTarget(sweep, supernet)
        self.target: TrialTarget = target
        if sweep.search_space.has_network:
            with error_context(f"{sweep.path}: hyperparameters"):
                for name, one in sweep.search_space.hyperparameters.items():
                    for value in one.extremes:
                        check_data(sweep.with_values({name: value}).data, sweep.search_space.images)

    def __call__(self, configuration: Configuration, report: Report) -> Candidate | Stopped:
        checkpoint = self.checkpoint(configuration.key)
        outcome = self.train(configuration, report, checkpoint.parent)
        checkpoint.unlink(missing_ok=True)
        return outcome

    def checkpoint(self, key: str) -> Path:
        """The checkpoint of trial `key`. See `outcome.Resumable`."""
        return self.sweep.files.trials / key / LAST_CHECKPOINT

    def train(
        self, configuration: Configuration, report: Report, folder: Path, until_epoch: int | None = None
    ) -> Candidate | Stopped:
        """Train in `folder`, from the checkpoint there if one exists; it stays, with the last epoch in it.

        Stops after `until_epoch` epochs, for another call to continue. Raises whatever training raises, NonFiniteLoss
        among it."""
        trial = self.target.trial(self.sweep, configuration)
        seed = trial_seed(self.sweep.seed, configuration.key)
        seed_everything(seed, workers=True, verbose=False)
        try:
            data = self.target.data(trial)
            module = self.target.module(trial, configuration)
            epochs = _Epochs(folder / LAST_CHECKPOINT, self.target, report, until_epoch, seed)
            settings = Hyperparameters(_chosen(trial.search_space, configuration))
            trainer = run_trainer(module, data, trial.train, folder, [*self.target.callbacks, settings, epochs])
            with finished(trainer.loggers):
                if epochs.is_stopped:
                    return Stopped(epochs.count, epochs.metrics)
                metrics = self.target.score(trial, trainer, module, data)
                log_result(trainer, metrics)
            self.target.write(folder / WEIGHTS, trainer, module)
        finally:
            if torch.cuda.is_available():
                gc.collect()  # after a trial that ran out of memory, the next one needs it
                torch.cuda.empty_cache()
        record = {
            "seed": seed,
            "epochs": trainer.current_epoch,
            "resolved": resolved(trial),
            "data": getattr(data, "fingerprint", None),
            "git": self.git,
            "versions": versions(),
        }
        if self.target.start is not None:
            record["start"] = dict(self.target.start.record)
        return Candidate(configuration.architecture, metrics, configuration.hyperparameters, record)

    def repeat(
        self, configuration: Configuration, schedule: Schedule, report: Report, folder: Path
    ) -> Candidate | Stopped:
        """Train in `folder` as a trial was trained: one segment of its schedule after the other."""
        segments = schedule or (Segment(0, configuration.hyperparameters),)
        ends = [segment.after_epoch for segment in segments[1:]]
        for segment, end in zip(segments, [*ends, None], strict=True):
            changed = replace(configuration, hyperparameters=segment.hyperparameters)
            outcome = self.train(changed, report, folder, until_epoch=end)
        (folder / LAST_CHECKPOINT).unlink(missing_ok=True)
        return outcome

    def weights(self, candidate: Candidate) -> Path:
        """The file of a candidate's weights. Where it lies on another machine, the trial is repeated here."""
        path = self.sweep.files.trials / candidate.key / WEIGHTS
        if not path.exists():
            say(f"{candidate.key}: its weights are not on this machine, so it is trained again")
            schedule = schedule_of(candidate.record)
            self.repeat(candidate.configuration, schedule, lambda epoch, metrics: True, path.parent)
        return path

    def network(self, candidate: Candidate) -> MetaMixer:
        """The trained FFNet of a candidate, in evaluation mode on the CPU."""
        net = MetaMixer(candidate.network, self.sweep.with_values(candidate.final_hyperparameters).train.form)
        net.load_state_dict(load_tensors(self.weights(candidate)))
        return net.eval()


def _chosen(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    """The choices of a trial, by axis and hyper-parameter: of its architecture those where the space has several."""
    arch, axes = configuration.architecture, space.axes()
    choices = {} if arch is None else space.choices_of(arch)
    varied = {name: value for name, value in choices.items() if len(axes[name]) > 1}
    return {"key": configuration.key, "architecture": str(arch or ""), **varied, **configuration.hyperparameters}


def resolved(trial: Sweep) -> dict[str, Any]:
    """All settings of a trial, searched or not, as plain data."""
    sections = {"train": trial.train, "data": trial.data, "module": trial.module}
    plain = {name: section.model_dump(mode="json") for name, section in sections.items() if section is not None}
    return {name: without_secrets(content) for name, content in plain.items()}


class _Epochs(Callback):
    """After each epoch: a checkpoint, and a report, whose answer may be the end.

    Each epoch draws by a seed of its own, so that one begun again draws what it did. The first epoch of a process has
    its seed before Lightning asks the loader for it."""

    def __init__(self, path: Path, target: TrialTarget, report: Report, until_epoch: int | None, seed: int) -> None:
        self.path, self.target, self.report, self.until_epoch = path, target, report, until_epoch
        self.seed, self.is_seeded = seed, True
        self.is_stopped = False
        self.count, self.metrics = 0, dict[str, float]()

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._seed(checkpoint["epoch"] + 1)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        if not self.is_seeded:
            self._seed(trainer.current_epoch)
        self.is_seeded = False

    def _seed(self, epoch: int) -> None:
        seed_everything(int(hashlib.sha256(f"epoch {self.seed} {epoch}".encode()).hexdigest()[:7], 16), verbose=False)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.count, self.metrics = trainer.current_epoch + 1, self.target.watched(module, logged_by(trainer))
        for name, value in self.metrics.items():
            if not is_bounded(value):
                raise NonFiniteLoss(f"{name} is {value} after epoch {self.count}")
        save_checkpoint(trainer, self.path)
        if self.count < (trainer.max_epochs or 0):
            self.is_stopped = self.count == self.until_epoch or not self.report(self.count, self.metrics)
            trainer.should_stop = trainer.should_stop or self.is_stopped
