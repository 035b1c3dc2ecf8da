"""Evaluator "supernet": configuration -> Candidate on the supernet's weights.

A sub-network is sliced, its BN recalibrated, fused, and scored on the images that the search holds out of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ffnet_search.config.named_metrics import named_metrics
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.judge import judge
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import fuse
from ffnet_search.models.device import fastest_device, fastest_layout, in_fastest_layout
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data


class Evaluator:
    """Scores sub-networks of a trained supernet by the task's quality.

    >>> evaluate = Evaluator(read_supernet(path), data)  # doctest: +SKIP
    >>> evaluate(Configuration(space.smallest)).metrics["accuracy"]  # doctest: +SKIP"""

    def __init__(self, net: MetaMixer, data: Data, named: Sequence[str] = ()) -> None:
        self.device = fastest_device()
        self.net, self.task = net.to(self.device), task_of(net.largest.input)
        self.named = {name: self.task.named_metric(name, data.outputs) for name in named}
        self.calibration_NCHW = self._place(data.calibration)
        self.batches = [
            (self._place(images_BCHW), target_B.to(self.device)) for images_BCHW, target_B in data.val_dataloader()
        ]

    @classmethod
    def from_sweep(cls, sweep: Sweep, supernet: Path | None = None) -> Evaluator:
        """Make the evaluator of a run's supernet (or of that in another file) and data.

        Raises SweepError if one of them is missing or broken."""
        net = read_supernet(supernet or sweep.files.supernet, of=sweep.search_space)
        return cls(net, sweep_data(sweep), named_metrics(sweep))

    def __call__(self, configuration: Configuration, report: object = None) -> Candidate:
        """Score a configuration; there is no epoch to `report`.

        Raises ValueError if the architecture is not in the supernet."""
        arch = configuration.architecture
        assert arch is not None
        with threads_for(1e6 * arch.macs_m * len(self.batches[0][0])):
            judged = judge(fuse(self.calibrated(arch)), self.batches, self.task, self.named)
        return Candidate(arch, {**judged.metrics(), "params_m": arch.params_m, "macs_m": arch.macs_m})

    def calibrated(self, arch: Architecture) -> MetaMixer:
        """The sub-network as a separate network, with recalibrated BN statistics."""
        net = self.net.slice_to(arch).to(memory_format=fastest_layout(self.device))  # type: ignore[call-overload]
        return recalibrate(net, self.calibration_NCHW)

    def _place(self, images_NCHW: Tensor) -> Tensor:
        return in_fastest_layout(images_NCHW.to(self.device))
