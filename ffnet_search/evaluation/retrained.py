"""Evaluator of the retraining before the export: a network is trained alone, from what it inherits or from new weights,
by its targets and by the soft targets of the supernet's largest network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from torch import nn

from ffnet_search.config.retraining import Retraining, retraining_of
from ffnet_search.config.search_schema import EarlyStoppingSection, SchedulerSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.outcome import Report, Stopped
from ffnet_search.evaluation.trained import WEIGHTS, FFNetTarget, TrialEvaluator, trial_seed
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.losses import Distillation
from ffnet_search.training.modules import Standalone


@dataclass(frozen=True)
class Retrained(Candidate):
    """A retrained network. Its weights, the content of a file, come along: it may have been trained on another node."""

    weights: bytes = field(default=b"", repr=False, compare=False)


def retraining_sweep(sweep: Sweep, folder: Path) -> Sweep:
    """The sweep by which networks are retrained, in the run's folder `folder`: each to its end, as trials train."""
    retraining = retraining_of(sweep)
    assert retraining is not None
    train: dict[str, object] = {
        "epochs": retraining.epochs,
        "learning_rate": retraining.rate * sweep.train.learning_rate,
    }
    if retraining.is_inherited:
        train["start_from"] = None
    search = {
        "evaluator": "train",
        "warm_start": False,
        "trial_minutes": None,
        "early_stopping": EarlyStoppingSection(),
        "scheduler": SchedulerSection(),
    }
    return sweep.model_copy(
        update={
            "runs": str(folder.parent),
            "name": folder.name,
            "train": sweep.train.model_copy(update=train),
            "search": sweep.search.model_copy(update=search),
        }
    )


class Retrainer(TrialEvaluator):
    """Retrains configurations as a search trains its trials, and resumes as they do.

    `sweep`: that of `retraining_sweep`. `supernet`: the file of its weights; None where nothing needs them."""

    def __init__(
        self, sweep: Sweep, retraining: Retraining, supernet: Path | None, git: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(sweep, git=git, target=RetrainingTarget(sweep, retraining, supernet))

    def train(
        self, configuration: Configuration, report: Report, folder: Path, until_epoch: int | None = None
    ) -> Candidate | Stopped:
        """Retrain in `folder`; a network that ends brings its weights along. See `TrialEvaluator.train`."""
        outcome = super().train(configuration, report, folder, until_epoch)
        if not isinstance(outcome, Candidate):
            return outcome
        content = {one.name: getattr(outcome, one.name) for one in fields(Candidate)}
        return Retrained(**content, weights=(folder / WEIGHTS).read_bytes())


class RetrainingTarget(FFNetTarget):
    """Networks that begin with what they inherit, and are taught, where the retraining says so."""

    def __init__(self, sweep: Sweep, retraining: Retraining, supernet: Path | None) -> None:
        super().__init__(sweep)
        self.largest, self.retraining = sweep.search_space.largest if supernet else None, retraining
        self.shared = None if supernet is None else read_supernet(supernet)
        self._teacher: nn.Module | None = None

    def module(self, trial: Sweep, configuration: Configuration) -> Standalone:
        arch, seed = configuration.architecture, trial_seed(self.seed, configuration.key)
        assert arch is not None
        if self.retraining.is_inherited:
            assert self.shared is not None
            net = self.shared.slice_to(arch)
        else:
            net = MetaMixer(arch, trial.train.form)
            if self.start is not None:
                self.start.give(net, self.data(trial).calibration)
        return Standalone(net, trial.train, seed, self._distillation(trial))

    def _distillation(self, trial: Sweep) -> Distillation | None:
        """The supernet's largest network as the teacher, in its deployed form, which is the quickest."""
        if not self.retraining.distil:
            return None
        if self._teacher is None:
            assert self.shared is not None and self.largest is not None
            self._teacher = fuse(recalibrate(self.shared.slice_to(self.largest), self.data(trial).calibration))
        return Distillation(self._teacher, self.retraining.distil)
