"""A LightningModule of the user's own as what trials train: made from import path and arguments, scored by what it
logs, timed on its example input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, LightningModule, Trainer
from torch import Tensor

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError, did_you_mean, error_context
from ffnet_search.latency.measure import measure_module
from ffnet_search.plugins import check_arguments, find_class
from ffnet_search.space.configuration import Configuration
from ffnet_search.training.trainer import save


class UserModuleTarget:
    """Makes, scores and keeps modules of `module.class_path`. Raises SweepError where it, its data module or their
    arguments
    are not there."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.objectives = sweep.search.objectives
        with error_context(sweep.path):
            for trial in (sweep, *_one_by_one(sweep)):
                self._classes(trial)

    def data(self, trial: Sweep) -> LightningDataModule:
        """A module of the user's own as it is, or images by name."""
        if ":" not in trial.data.name:
            with error_context(trial.path):
                return build_data(trial.data, self.sweep.seed, trial.search_space.images)
        made: LightningDataModule = find_class(trial.data.name, "data.name", LightningDataModule)(
            **trial.data.init_args
        )
        return made

    def module(self, trial: Sweep, configuration: Configuration) -> LightningModule:
        assert trial.module is not None
        made: LightningModule = find_class(trial.module.class_path, "module.class_path", LightningModule)(
            **trial.module.init_args
        )
        return made

    def watched(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        """Raises SweepError where an objective is not logged."""
        wanted = [name for name in self.objectives if name != "latency_ms"]
        for name in wanted:
            if name not in logged:
                raise SweepError(
                    f"{self.sweep.path}: search.objectives: {name} must be logged by {type(module).__name__} in every "
                    f"epoch, but it logs {', '.join(logged) or 'nothing'}{did_you_mean(name, logged)}"
                )
        return {name: logged[name] for name in wanted}

    def score(self, trial: Sweep, trainer: Trainer, module: LightningModule, data: Any) -> dict[str, float]:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if any(name not in logged for name in self.objectives if name != "latency_ms"):  # resumed after the last epoch
            trainer.validate(module, datamodule=data, verbose=False)
            logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics = self.watched(module, logged)
        metrics["params_m"] = sum(parameter.numel() for parameter in module.parameters()) / 1e6
        example = getattr(module, "example_input_array", None)
        if isinstance(example, Tensor):
            metrics["latency_ms"] = measure_module(module, example.shape, trial.latency[0]).ms
        elif "latency_ms" in self.objectives:
            raise SweepError(
                f"{trial.path}: search.objectives: latency_ms needs {type(module).__name__} to have an "
                f"`example_input_array`, one tensor, but it is {type(example).__name__}; set it or remove the objective"
            )
        return metrics

    def write(self, path: Path, trainer: Trainer, module: LightningModule) -> None:
        """A checkpoint of Lightning's, for `load_from_checkpoint`."""
        save(trainer, path, weights_only=True)

    def _classes(self, trial: Sweep) -> None:
        assert trial.module is not None
        found = find_class(trial.module.class_path, "module.class_path", LightningModule)
        check_arguments(found, trial.module.init_args, "module.init_args")
        if ":" in trial.data.name:
            check_arguments(
                find_class(trial.data.name, "data.name", LightningDataModule), trial.data.init_args, "data.init_args"
            )


def _one_by_one(sweep: Sweep) -> list[Sweep]:
    """The sweep with each hyper-parameter alone."""
    return [sweep.with_values({name: one.extremes[0]}) for name, one in sweep.search_space.hyperparameters.items()]
