"""Evaluator: configuration -> Candidate, on the supernet's weights: sliced, BN recalibrated, fused, and scored on the
images that the search holds out of training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from lightning import LightningDataModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import sweep_data
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Configuration
from ffnet_search.training.fit import read_supernet


class Evaluator:
    """Scores sub-networks of a trained supernet.

    >>> evaluate = Evaluator(read_supernet(path), data)  # doctest: +SKIP
    >>> evaluate(Configuration(space.smallest)).metrics["accuracy"]  # doctest: +SKIP
    """

    def __init__(self, net: MetaMixer, data: LightningDataModule) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = net.to(self.device)
        self.calibration_NCHW = _place(data.calibration, self.device)  # type: ignore[attr-defined]
        self.batches = [
            (_place(images_BCHW, self.device), label_B.to(self.device))
            for images_BCHW, label_B in data.val_dataloader()
        ]

    @classmethod
    def from_sweep(cls, sweep: Sweep, supernet: Path | None = None) -> Evaluator:
        """Of a run's supernet (or of that in another file) and data. Raises SweepError where one of them is missing or
        broken."""
        return cls(read_supernet(supernet or sweep.files.supernet), sweep_data(sweep))

    def __call__(self, configuration: Configuration, report: object = None) -> Candidate:
        """There is no epoch to `report`. Raises ValueError where the architecture is not in the supernet."""
        arch = configuration.architecture
        assert arch is not None
        with threads_for(1e6 * arch.macs_m * len(self.batches[0][0])):
            score = accuracy(fuse(self.calibrated(arch)), self.batches)
        return Candidate(arch, {"accuracy": score, "params_m": arch.params_m, "macs_m": arch.macs_m})

    def calibrated(self, arch: Architecture) -> MetaMixer:
        """The sub-network as a network of its own, with its own BN statistics."""
        net = self.net.slice_to(arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return recalibrate(net, self.calibration_NCHW)


def _place(images_NCHW: Tensor, device: torch.device) -> Tensor:
    return images_NCHW.to(device).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def accuracy(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share of images, 0 to 1, whose largest logit is their label's. `net` is used in the mode that it is in."""
    device = next(net.parameters()).device
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    hits: MulticlassAccuracy | None = None
    for images_BCHW, label_B in batches:
        logits_BK = net(images_BCHW.to(device))
        hits = hits or MulticlassAccuracy(logits_BK.shape[1], average="micro").to(device)
        hits.update(logits_BK, label_B.to(device))
    if hits is None:
        raise ValueError("accuracy needs at least one batch of images, but got none")
    return float(hits.compute())
