"""The networks that trials train: what a target must offer, and the FFNets of a search space as one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torchmetrics import Metric as TorchMetric

from ffnet_search.config.named_metrics import named_metrics
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.dataset import Fold
from ffnet_search.data.modules.base import Data
from ffnet_search.data.registry import build_data
from ffnet_search.errors import error_context
from ffnet_search.evaluation.judge import Judged, judge
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import fuse
from ffnet_search.models.device import fastest_device
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import analytic_metrics
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import task_of
from ffnet_search.training.modules import Standalone
from ffnet_search.training.start import Start, load_start

MAX_DATA_MODULES = 2  # data modules in memory: trials that differ in batch size or augmentation have one each


class TrialTarget(Protocol):
    """The kind of network that a trial trains: `FFNetTarget`, or `user_module.UserModuleTarget`.

    `start`: the weights that networks start from, where there are any. `callbacks`: take part in every training."""

    start: Start | None
    callbacks: Sequence[Callback]

    def trial(self, sweep: Sweep, configuration: Configuration) -> Sweep:
        """The sweep of one trial, whose sections hold its hyper-parameters."""

    def data(self, trial: Sweep) -> LightningDataModule:
        """The data of a trial."""

    def module(self, trial: Sweep, configuration: Configuration) -> LightningModule:
        """The module before training, from the random numbers that are next."""

    def watched(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        """The metrics of an epoch, from what Lightning has logged."""

    def score(self, trial: Sweep, trainer: Trainer, module: Any, data: Any) -> dict[str, float]:
        """The metrics of the trained module, in the form that is deployed."""

    def write(self, path: Path, trainer: Trainer, module: Any) -> None:
        """Write the weights."""


def trial_seed(seed: int, key: str) -> int:
    """The seed of trial `key` in a sweep with `seed`."""
    return int(hashlib.sha256(f"trial {seed} {key}".encode()).hexdigest()[:7], 16)


class FFNetTarget:
    """Networks of the search space, trained from scratch or from the supernet's weights.

    `split_seed`: splits the images where it is not the sweep's seed, which all else is drawn from. `fold`: is held out
    in the place of search validation."""

    callbacks: Sequence[Callback] = ()

    def __init__(
        self, sweep: Sweep, supernet: Path | None = None, split_seed: int | None = None, fold: Fold | None = None
    ) -> None:
        self.fold = fold
        self.images, self.named = sweep.search_space.images, named_metrics(sweep)
        self.seed, self.path = sweep.seed, sweep.path
        self.split_seed = sweep.seed if split_seed is None else split_seed
        self.supernet: MetaMixer | None = None
        if sweep.search.warm_start:
            self.supernet = read_supernet(supernet or sweep.files.supernet, of=sweep.search_space)
        self.start: Start | None = None if sweep.search.warm_start else load_start(sweep)
        self._data: dict[str, Data] = {}

    def trial(self, sweep: Sweep, configuration: Configuration) -> Sweep:
        return sweep.with_values(configuration.hyperparameters)

    def data(self, trial: Sweep) -> Data:
        """Images, split by one seed: all trials are compared on the same ones."""
        key = trial.data.model_dump_json()
        if key not in self._data:
            with error_context(self.path):
                self._data[key] = build_data(trial.data, self.split_seed, self.images, self.fold)
            self._data[key].order_seed = self.seed
            while len(self._data) > MAX_DATA_MODULES:
                del self._data[next(iter(self._data))]
        return self._data[key]

    def module(self, trial: Sweep, configuration: Configuration) -> Standalone:
        arch, seed = configuration.architecture, trial_seed(self.seed, configuration.key)
        assert arch is not None
        if self.supernet is None:
            net = self.new_network(trial, arch)
        else:
            net = recalibrate(self.supernet.slice_to(arch), self.data(trial).calibration)
        module = Standalone(net, trial.train, seed)
        module.watch(self.metrics(self.data(trial)))
        return module

    def new_network(self, trial: Sweep, arch: Architecture) -> MetaMixer:
        """A network with new weights, or with those of `train.start_from`."""
        net = MetaMixer(arch, trial.train.form)
        if self.start is not None:
            self.start.initialise(net, self.data(trial).calibration)
        return net

    def metrics(self, data: Data) -> dict[str, TorchMetric]:
        """The qualities beside the task's own that the search compares by, for one network."""
        return {name: task_of(self.images).named_metric(name, data.outputs) for name in self.named}

    def watched(self, module: LightningModule, logged: Mapping[str, float]) -> dict[str, float]:
        assert isinstance(module, Standalone)
        module.check_finite()
        others = {name: float(logged[f"val_{name}"]) for name in module.other_names}
        return {module.task.quality.name: float(logged[module.task.logged_quality]), **others}

    def score(self, trial: Sweep, trainer: Trainer, module: Standalone, data: Data) -> dict[str, float]:
        return {**self.judged(trial, module, data).metrics(), **analytic_metrics(module.net.largest)}

    def judged(self, trial: Sweep, module: Standalone, data: Data) -> Judged:
        """The trained network in the form that is deployed, judged on what is held out of training."""
        device = fastest_device()
        with threads_for(1e6 * module.net.largest.macs_m * trial.data.batch_size):
            fused = fuse(recalibrate(module.net.to(device), data.calibration.to(device)))
            return judge(fused, data.val_dataloader(), module.task, self.metrics(data))

    def write(self, path: Path, trainer: Trainer, module: Standalone) -> None:
        torch.save({name: tensor.cpu() for name, tensor in module.net.state_dict().items()}, path)
