"""What is learnt, as one noun: target, head, loss, distillation, quality and hand-over of a task.

A task is a file beside this one and a row in `space.registry.TASKS`. Its module imports no torch: `space` and `config`
ask it for the parts of the head and for the quality. The head's module is named by import path; what trains imports
torch when it is called. Shape keys: B batch, N images of a set, C channels, H and W pixels, K outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Metric
from ffnet_search.space.parts import Part
from ffnet_search.space.registry import TrunkStage, task_outputs

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

Targets = NDArray[Any]


class Task(ABC):
    """What is learnt. Stateless: one instance serves all networks of a sweep."""

    name: ClassVar[str]
    quality: ClassVar[Metric]  # what a search compares beside costs; the first objective by default
    outputs_word: ClassVar[str]  # of `outputs` in a search space's `input`, and of their names in a card
    head: ClassVar[str]  # import path of the head's elastic module
    mixes: ClassVar[bool] = True  # whether mix-up of images, and of losses, makes sense

    # Hand-over of an exported network.
    output_name: ClassVar[str]  # of the ONNX model
    predict_script: ClassVar[str | None]  # a template in `export/`, written as predict.py
    hub_task: ClassVar[str]  # of model hubs, for the model card
    quality_name: ClassVar[str]  # of the quality in a model card

    @abstractmethod
    def head_parts(self, trunk: Sequence[TrunkStage], outputs: int) -> Iterator[Part]:
        """The parts of the deployed head, in order: the end of `Architecture.parts`."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        """The loss of a network's output on the targets of a batch; a scalar, the mean over the batch."""

    @abstractmethod
    def soft_target(self, output: Tensor) -> Tensor:
        """What the largest network's output teaches the others; without gradient."""

    @abstractmethod
    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        """The distance of a sub-network's output from `soft_target`; a scalar, the mean over the batch."""

    @abstractmethod
    def quality_metric(self, outputs: int) -> TorchMetric:
        """The quality as a torchmetrics.Metric, updated with (output, target)."""

    @abstractmethod
    def accepts(self, target: Tensor) -> bool:
        """Whether a batch of targets, from a user-supplied data module, has the right type and shape."""

    @abstractmethod
    def target_words(self) -> str:
        """What `accepts` asks for, in words: `int64 labels (B,)`."""

    @abstractmethod
    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        """A small number per image: splits hold each of them in proportion."""

    def agreement(self, output: NDArray[np.float32], target: NDArray[Any]) -> float:
        """The quality of numpy outputs (N, ...) and targets (N, ...), as `quality_metric` computes it."""
        import torch

        metric = self.quality_metric(output.shape[1])
        metric.update(torch.from_numpy(output), torch.from_numpy(target))
        return float(metric.compute())


def find_task(name: str) -> Task:
    """The task of a registered name or an import path. Raises SweepError where there is none."""
    return cast(Task, task_outputs(name))
