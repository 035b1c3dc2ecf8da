"""Evaluators of the trainings before the export, each of one network alone.

The retraining: from what it inherits or from new weights, by its targets and by the soft targets of the supernet's
largest network. Cross-validation: from new weights, since the supernet's have seen the images of all folds but for
search validation, on all folds but one, which it is judged on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from lightning import Trainer
from numpy.typing import NDArray
from torch import nn

from ffnet_search.atomic_write import write_bytes
from ffnet_search.config.retraining import Retraining, retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.dataset import Fold
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.ffnet_target import FFNetTarget, trial_seed
from ffnet_search.evaluation.judge import Judged
from ffnet_search.evaluation.outcome import Report, Stopped
from ffnet_search.evaluation.standalone import sweep_alone
from ffnet_search.evaluation.trained import WEIGHTS, TrialEvaluator
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.scores import Scores
from ffnet_search.training.losses import Distillation
from ffnet_search.training.modules import Standalone

FOLD_SCORES = "fold.npy"  # of a network on the images of the fold that it was not trained on


@dataclass(frozen=True)
class Retrained(Candidate):
    """A retrained network, with the content of the file that it is trained for, its weights or its scores on a fold:
    it may have been trained on another node."""

    content: bytes = field(default=b"", repr=False, compare=False)


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
    return sweep_alone(sweep, folder).model_copy(update={"train": sweep.train.model_copy(update=train)})


class Retrainer(TrialEvaluator):
    """Trains configurations alone as a search trains its trials, and resumes as they do.

    `sweep`: that of `retraining_sweep`, or of `sweep_alone`."""

    def __init__(
        self, sweep: Sweep, target: RetrainingTarget | FoldTarget, git: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(sweep, git=git, target=target)
        self.file = target.file

    def train(
        self, configuration: Configuration, report: Report, folder: Path, until_epoch: int | None = None
    ) -> Candidate | Stopped:
        """Train in `folder`; the candidate of a network that ends holds its file. See `TrialEvaluator.train`."""
        outcome = super().train(configuration, report, folder, until_epoch)
        if not isinstance(outcome, Candidate):
            return outcome
        content = {one.name: getattr(outcome, one.name) for one in fields(Candidate)}
        return Retrained(**content, content=(folder / self.file).read_bytes())


class RetrainingTarget(FFNetTarget):
    """Networks that start from inherited weights and learn by distillation, where the retraining says so.

    `supernet`: the file of its weights; None if nothing needs them."""

    file = WEIGHTS

    def __init__(self, sweep: Sweep, retraining: Retraining, supernet: Path | None) -> None:
        super().__init__(sweep)
        self.largest, self.retraining = sweep.search_space.largest if supernet else None, retraining
        self.shared = None if supernet is None else read_supernet(supernet, of=sweep.search_space)
        self._teacher: nn.Module | None = None

    def trial(self, sweep: Sweep, configuration: Configuration) -> Sweep:
        """The sweep of one training, of as many epochs as its network's MACs say."""
        trial = super().trial(sweep, configuration)
        epochs = self.retraining.epochs_of(configuration)
        return trial.model_copy(update={"train": trial.train.model_copy(update={"epochs": epochs})})

    def module(self, trial: Sweep, configuration: Configuration) -> Standalone:
        arch, seed = configuration.architecture, trial_seed(self.seed, configuration.key)
        assert arch is not None
        if self.retraining.is_inherited:
            assert self.shared is not None
            net = self.shared.slice_to(arch)
        else:
            net = self.new_network(trial, arch)
        return Standalone(net, trial.train, seed, self._distillation(trial))

    def _distillation(self, trial: Sweep) -> Distillation | None:
        """The supernet's largest network as the teacher, in its deployed form, which is the quickest."""
        if not self.retraining.distil:
            return None
        if self._teacher is None:
            assert self.shared is not None and self.largest is not None
            self._teacher = fuse(recalibrate(self.shared.slice_to(self.largest), self.data(trial).calibration))
        return Distillation(self._teacher, self.retraining.distil)


class FoldTarget(FFNetTarget):
    """Networks that are trained on all folds but one, and leave their scores on that."""

    file = FOLD_SCORES

    def __init__(self, sweep: Sweep, fold: Fold) -> None:
        super().__init__(sweep, fold=fold)
        self._scores: Scores | None = None  # of the network that ended last

    def judged(self, trial: Sweep, module: Standalone, data: Data) -> Judged:
        judged = super().judged(trial, module, data)
        self._scores = judged.scores
        return judged

    def write(self, path: Path, trainer: Trainer, module: Standalone) -> None:
        """Write the scores alone: a network of a fold is not deployed."""
        assert self._scores is not None
        content = io.BytesIO()
        np.save(content, self._scores.values_NS.astype(np.float32))
        write_bytes(path.with_name(FOLD_SCORES), content.getvalue())


def read_fold_scores(content: bytes) -> NDArray[np.float64]:
    """The scores (N, S) of a network on one fold, as `FoldTarget` writes them. Raises ValueError for other content."""
    values_NS = np.load(io.BytesIO(content), allow_pickle=False)
    return np.asarray(values_NS, np.float64)
