"""User-supplied modules of a front as files: checkpoint and card.

runs/NAME/pareto/01-KEY/   model.ckpt  card.json
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.card import user_module_card, write_card
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state
from ffnet_search.training.trainer import quiet_lightning


def export_user_modules(
    sweep: Sweep, front: Sequence[Candidate], folders: Sequence[Path]
) -> Iterator[dict[str, float]]:
    """Write the files of each candidate into its folder, and yield its metrics.

    They are those of the search and, if the module has a `test_step` and its data a `test_dataloader`, those that the
    test logs.
    """
    trials = TrialEvaluator(sweep, git=git_state(Path.cwd()))
    for candidate, folder in zip(front, folders, strict=True):
        shutil.copy2(trials.weights(candidate), folder / "model.ckpt")
        metrics = {**candidate.metrics, **_test(trials, candidate, folder / "model.ckpt")}
        write_card(folder, user_module_card(sweep, candidate, metrics))
        yield metrics


def _test(trials: TrialEvaluator, candidate: Candidate, checkpoint: Path) -> dict[str, float]:
    trial = trials.sweep.with_values(candidate.hyperparameters)
    module: Any = trials.target.module(trial, candidate.configuration)
    data = trials.target.data(trial)
    has_step = is_overridden("test_step", module, LightningModule)
    if not (has_step and is_overridden("test_dataloader", data, LightningDataModule)):
        return {}
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"])
    with quiet_lightning():
        trainer = Trainer(accelerator="auto", devices=1, logger=False, enable_progress_bar=False,
                          enable_checkpointing=False, enable_model_summary=False)  # fmt: skip
        (logged,) = trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in logged.items() if name not in candidate.metrics}
