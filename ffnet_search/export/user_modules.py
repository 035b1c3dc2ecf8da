"""User-supplied modules as files of a front: the checkpoint, tested on the test split, ONNX and the card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.card import user_module_card, write_card
from ffnet_search.export.exported import CHECKPOINT, ONNX
from ffnet_search.export.module_files import hand_over, write_module_onnx
from ffnet_search.export.picks import Pick
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state
from ffnet_search.training.checkpoints import is_plain, load_checkpoint
from ffnet_search.training.trainer import quiet_lightning


def export_user_modules(sweep: Sweep, front: Sequence[Pick], folders: Sequence[Path]) -> Iterator[dict[str, float]]:
    """Write the files of each candidate into its folder, and yield its metrics.

    They are those of the search and, if the module has a `test_step` and its data a `test_dataloader`, those that the
    test logs."""
    trials = TrialEvaluator(sweep, git=git_state())
    for candidate, folder in zip((pick.candidate for pick in front), folders, strict=True):
        shutil.copy2(trials.weights(candidate), folder / CHECKPOINT)
        data = trials.target.data(trials.sweep.with_values(candidate.hyperparameters))
        metrics = {**candidate.metrics, **_test(trials, candidate, folder / CHECKPOINT, data)}
        module = _module(trials, candidate, folder / CHECKPOINT)
        has_onnx = write_module_onnx(module, folder / ONNX, sweep.export.opset)
        write_card(folder, user_module_card(sweep, candidate, metrics) | hand_over(data, folder, has_onnx))
        yield metrics


def _test(
    trials: TrialEvaluator, candidate: Candidate, checkpoint: Path, data: LightningDataModule
) -> dict[str, float]:
    module = _module(trials, candidate, checkpoint)
    has_step = is_overridden("test_step", module, LightningModule)
    if not (has_step and is_overridden("test_dataloader", data, LightningDataModule)):
        return {}
    with quiet_lightning():
        trainer = Trainer(accelerator="auto", devices=1, logger=False, enable_progress_bar=False,
                          enable_checkpointing=False, enable_model_summary=False)  # fmt: skip
        (logged,) = trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in logged.items() if name not in candidate.metrics}


def _module(trials: TrialEvaluator, candidate: Candidate, checkpoint: Path) -> Any:
    """The user-supplied module of a candidate, with its weights."""
    trial = trials.sweep.with_values(candidate.hyperparameters)
    module: Any = trials.target.module(trial, candidate.configuration)
    module.load_state_dict(load_checkpoint(checkpoint, plain=is_plain(False))["state_dict"])
    return module
