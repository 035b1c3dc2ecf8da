"""User-supplied LightningModules in trials: made from import path and arguments, scored by the metrics that they log,
timed on their example input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from ffnet_search.config.binding import with_searched_arguments
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.user_data import make_module
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError, did_you_mean, error_context
from ffnet_search.imports.required_methods import DATA, MODULE, defined_names, refuse_lacking
from ffnet_search.latency.module import measure_module
from ffnet_search.metrics import LATENCY
from ffnet_search.plugins import check_arguments, find_class, is_import_path
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.checkpoints import save_checkpoint
from ffnet_search.training.start import Start
from ffnet_search.training.trainer import quiet_lightning

_LOG_IT = "; call self.log in its validation_step, and give its data module a val_dataloader"


class UserModuleTarget:
    """Makes, scores and writes modules of `module.class_path`.

    Raises SweepError if the module, its data module or their arguments do not exist."""

    start: Start | None = None

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self._latency_ms: WeakKeyDictionary[LightningModule, float] = WeakKeyDictionary()
        # Latency is measured, and not logged.
        self.logged = [name for name in sweep.search.objectives if name != LATENCY.key]
        with error_context(sweep.path):
            check_own_classes(sweep)
        self.callbacks: Sequence[Callback] = (MustOptimise(sweep.path),)

    def trial(self, sweep: Sweep, configuration: Configuration) -> Sweep:
        return sweep.with_values(configuration.hyperparameters)

    def data(self, trial: Sweep) -> LightningDataModule:
        """The user-supplied data module as it is, or a registered data set."""
        section = trial.data
        if is_import_path(section.name):
            return make_module(section)
        with error_context(trial.path):
            return build_data(section, self.sweep.seed, trial.search_space.images)

    def module(self, trial: Sweep, configuration: Configuration) -> LightningModule:
        section = trial.module
        assert section is not None
        module: LightningModule = find_class(section.class_path, "module.class_path", LightningModule)(
            **section.init_args
        )
        return module

    def watched(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        """The objectives that the module has logged, and its latency, which no training changes, where a rule of early
        stopping compares by it. Raises SweepError if one is missing."""
        metrics = self._logged(module, logged)
        if LATENCY.key in self.sweep.search.objectives and self.sweep.search.early_stopping.rule != "none":
            metrics[LATENCY.key] = self._latency(module)
        return metrics

    def _logged(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        for name in self.logged:
            if name not in logged:
                raise SweepError(
                    f"{self.sweep.path}: search.objectives: {name} must be logged by {type(module).__name__} in every "
                    f"epoch, but it logs {', '.join(logged) or 'nothing'}{did_you_mean(name, logged) or _LOG_IT}"
                )
        return {name: logged[name] for name in self.logged}

    def score(self, trial: Sweep, trainer: Trainer, module: LightningModule, data: Any) -> dict[str, float]:
        """The logged objectives, the parameters, and the latency on `module.example_input_array`.

        Raises SweepError if latency is an objective and the module has no example."""
        logged = logged_by(trainer)
        if any(name not in logged for name in self.logged):  # resumed after the last epoch
            with quiet_lightning():
                trainer.validate(module, datamodule=data, verbose=False)
            logged = logged_by(trainer)
        metrics = self._logged(module, logged)
        metrics["params_m"] = sum(parameter.numel() for parameter in module.parameters()) / 1e6
        example = getattr(module, "example_input_array", None)
        if isinstance(example, Tensor) or LATENCY.key in self.sweep.search.objectives:
            metrics[LATENCY.key] = self._latency(module)
        return metrics

    def _latency(self, module: LightningModule) -> float:
        """Milliseconds of the module on its example, measured once."""
        example = getattr(module, "example_input_array", None)
        if not isinstance(example, Tensor):
            held = "has none" if example is None else f"is of type {type(example).__name__}"
            raise SweepError(
                f"{self.sweep.path}: search.objectives: {LATENCY.key} needs {type(module).__name__} to have an "
                f"`example_input_array`, one tensor, but it {held}; set it or remove the objective"
            )
        if module not in self._latency_ms:
            self._latency_ms[module] = measure_module(module, example.shape, self.sweep.latency[0]).ms
        return self._latency_ms[module]

    def write(self, path: Path, trainer: Trainer, module: LightningModule) -> None:
        """Write a checkpoint for `load_from_checkpoint`."""
        save_checkpoint(trainer, path, weights_only=True)


class MustOptimise(Callback):
    """Ends a training that would leave the module as it is: Lightning trains without an optimiser, and warns.

    With manual optimisation nothing is known, and a module without parameters to train needs no optimiser."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if not module.automatic_optimization or not any(one.requires_grad for one in module.parameters()):
            return
        groups = [group for optimiser in trainer.optimizers for group in optimiser.param_groups]
        optimised = {id(parameter) for group in groups for parameter in group["params"]}
        if optimised.isdisjoint(map(id, module.parameters())):
            name = type(module).__name__
            raise SweepError(
                f"{self.path}: module.class_path: configure_optimizers of {name} must return an optimiser of the "
                f"module's parameters, but returns none, so that {name} would stay untrained; return one, or set "
                "self.automatic_optimization = False where training_step optimises by itself"
            )


def logged_by(trainer: Trainer) -> dict[str, float]:
    """The metrics that the module of a trainer has logged."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def check_own_classes(sweep: Sweep) -> None:
    """Raise SweepError if a class does not exist, does not take its arguments, those that are searched among them, or
    lacks a method without which no trial can be trained."""
    trial = with_searched_arguments(sweep)
    module = trial.module
    assert module is not None
    module_class = find_class(module.class_path, "module.class_path", LightningModule)
    check_arguments(module_class, module.init_args, "module.init_args")
    defined = defined_names(module_class, LightningModule)
    refuse_lacking("module.class_path", module_class.__name__, MODULE, defined)
    if is_import_path(trial.data.name):
        data_class = find_class(trial.data.name, "data.name", LightningDataModule)
        check_arguments(data_class, trial.data.init_args, "data.init_args")
        of_data = defined_names(data_class, LightningDataModule)
        either = None if defined is None or of_data is None else defined | of_data  # a module may have the loaders
        refuse_lacking("data.name", data_class.__name__, DATA, either)
