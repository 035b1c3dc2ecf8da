"""The task of a sweep: target, head, loss, distillation, quality and export details, defined in one class.

A task is a file beside this one and a row in `space.registry.TASKS`. Its module imports no torch: `space` and `config`
ask it for the parts of the head and for the quality. The head's module is named by import path; methods that train
import torch when they are called. Shape keys: B batch, N images of a set, C channels, H and W pixels, K outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import ERROR
from ffnet_search.space.head import Head
from ffnet_search.space.parts import Part, PooledLinearPart
from ffnet_search.space.registry import TaskOutputs, TrunkStage, task_outputs

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

    from ffnet_search.space.input import Input  # whose default input makes the task of this package

Targets = NDArray[Any]


def within(values: Tensor, low: float, high: float) -> bool:
    """True if all values are numbers in this range."""
    return bool(((values >= low) & (values <= high)).all())


class Task(TaskOutputs):
    """One kind of learning problem. Stateless: one instance serves all networks of a sweep."""

    head_words: ClassVar[str]  # for drawings of an architecture
    target_words: ClassVar[str]  # what `accepts` asks for: "int64 labels"
    # Of targets that are maps, which move with their images in augmentation: the value beyond the edge; else None.
    target_fill: ClassVar[int | None] = None
    whole: ClassVar[bool] = False  # images are resized whole; else their largest centred box of the input's shape is
    exclusive: ClassVar[bool] = True  # an image, or a pixel, has one of the classes, else any number of them
    standardises: ClassVar[bool] = False  # losses are of standardised targets: see `models.heads.StandardisedLinear`
    names_outputs: ClassVar[bool] = True  # data name each output; else `outputs` is a number of another kind
    any_size: ClassVar[bool] = False  # networks read images of any size: patches in training, whole ones in evaluation

    # Hand-over of an exported network.
    output_name: ClassVar[str]  # of the ONNX model
    output_words: ClassVar[str] = ""  # what it means, for those who deploy it
    predict_script: ClassVar[str | None]  # a template in `export/bundle/`, written as predict.py
    predict_words: ClassVar[str] = ""  # what it writes, where it writes files; `{outputs}` stands for their number
    hub_task: ClassVar[str]  # of model hubs, for the model card
    quality_name: ClassVar[str]  # of the quality in a model card
    details: ClassVar[str | None] = None  # class that writes more of a network: see `export.details`
    each: ClassVar[str] = ""  # the key, in those details, of a quality for each output, and its words
    each_words: ClassVar[str] = ""

    @property
    def search_quality(self) -> str:
        """The key of the quality on search validation, in cards: `search_accuracy`."""
        return f"search_{self.quality.name}"

    @property
    def test_quality(self) -> str:
        """The key of the quality on the test split, in cards: `test_accuracy`."""
        return f"test_{self.quality.name}"

    @property
    def quality_error(self) -> str:
        """The key of the quality's standard error, in metrics: `accuracy_se`."""
        return f"{self.quality.name}{ERROR}"

    @property
    def logged_quality(self) -> str:
        """The name under which training logs the quality on search validation: `val_accuracy`."""
        return f"val_{self.quality.name}"

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        """The loss of a network's output on the targets of a batch; a scalar, the mean over the batch."""

    @abstractmethod
    def soft_target(self, output: Tensor) -> Tensor:
        """The target that the largest network's output sets for the others; without gradient."""

    def counting(self, soft_target: Tensor, target: Tensor) -> Tensor:
        """The soft target, 0 where `target` says that nothing counts."""
        return soft_target

    @abstractmethod
    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        """The distance of a sub-network's output from `soft_target`; a scalar, the mean over the batch."""

    @abstractmethod
    def quality_metric(self, outputs: int) -> TorchMetric:
        """The quality as a torchmetrics.Metric, updated with (output, target)."""

    def named_metric(self, name: str, outputs: Sequence[str]) -> TorchMetric:
        """One of `more_qualities` as a torchmetrics.Metric, updated as `quality_metric`; `outputs`: their names. Raises
        KeyError for a class that does not exist."""
        raise KeyError(name)

    def class_counts(self, target: Tensor, outputs: int) -> Tensor:
        """Counts of what has each class, and has it not, in images or pixels of a batch: int64 (2, K); of a task that
        `weighs`."""
        raise NotImplementedError

    def weighted_loss(self, output: Tensor, target: Tensor, label_smoothing: float, weights_K: Tensor) -> Tensor:
        """The loss with a weight for each class, of a task that `weighs`."""
        raise NotImplementedError

    def scores(self, output: Tensor, target: Tensor, outputs: int) -> Tensor:
        """Numbers of each image of a batch that make up the quality, (B, S), for its standard error and paired tests.

        By default one number, the quality of each image alone, slowly: override it where one call does for the batch,
        and `quality_from` where the quality is no mean over images."""
        import torch

        metric, scores = self.quality_metric(outputs).to(output.device), []
        for index in range(len(output)):
            metric.reset()
            metric.update(output[index : index + 1], target[index : index + 1])
            scores.append(metric.compute())
        return torch.stack(scores)[:, None]

    def quality_from(self, scores_NS: NDArray[np.float64]) -> float:
        """The quality of images with these scores, as `quality_metric` has it: by default the mean of one score."""
        return float(scores_NS.mean())

    def output_note(self, shape: Sequence[int]) -> str:
        """The meaning of an exported network's output, of this shape for one image, in a few words."""
        return self.output_words

    def quality_note(self, outputs: int) -> str:
        """A remark on the quality of networks with so many outputs, a sentence without its dot; or ""."""
        return ""

    def reference_note(self, details: Mapping[str, Any]) -> str:
        """The quality that test images have without a network, of a card's details, a sentence without its dot; or
        ""."""
        return ""

    @property
    def is_mean(self) -> bool:
        """True if the quality is the mean over images of one score."""
        return type(self).quality_from is Task.quality_from

    @abstractmethod
    def accepts(self, target: Tensor) -> bool:
        """Return whether a batch of targets, from a user-supplied data module, has the right type and shape."""

    def mismatch(self, images: Tensor, target: Tensor, input: Input) -> str:
        """The lack of accepted targets that do not match images and outputs, "" if they do: `one for each image`."""
        return "" if len(target) == len(images) else "one for each image"

    @abstractmethod
    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        """A small number >= 0 per image: splits hold each of them in proportion."""

    def difference(self, output: NDArray[Any], expected: NDArray[Any]) -> float:
        """The distance of a written model's outputs from those of the network: the largest difference."""
        return float(np.abs(output - expected).max())


class PooledTask(Task):
    """A task of whole images, whose head is the mean over the last map, then a linear layer."""

    rectangles = True
    head = "ffnet_search.models.heads:PooledLinear"
    head_words = "mean, linear"

    def head_parts(self, last: TrunkStage, input: Input, head: Head) -> Iterator[Part]:
        yield PooledLinearPart(last.side, last.width, input.outputs)


def is_float_matrix(target: Tensor) -> bool:
    """True for float32 (B, K): numbers for each image."""
    import torch

    return target.dtype == torch.float32 and target.ndim == 2


def shape_mismatch(target: Tensor, *shape: int) -> str:
    """The lack of targets of another shape, for `Task.mismatch`; empty where they have it."""
    return "" if tuple(target.shape) == shape else f"of the shape {shape}"


def counts_of(label_N: Tensor, outputs: int) -> Tensor:
    """Counts of the labels that are each class, and that are another one: int64 (2, K). Others do not count."""
    import torch

    has_K = torch.bincount(label_N, minlength=outputs)[:outputs]
    return torch.stack([has_K, has_K.sum() - has_K])


def find_task(name: str) -> Task:
    """The task of a registered name or an import path. Raises SweepError for any other name."""
    return cast(Task, task_outputs(name))


def task_of(input: Input) -> Task:
    """The task of the networks with this input."""
    return find_task(input.task)
