"""The sections of a sweep: the fields of each, with defaults and limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ffnet_search.errors import NAME
from ffnet_search.plugins import Plugin
from ffnet_search.space.architecture import Form
from ffnet_search.strict_yaml import Section

IMPORT_PATH = r"^[\w.]+:\w+$"
NAME_OR_PATH = r"^(\w+|[\w.]+:\w+)$"  # of a registered class, or of a user-supplied one
Precision = Literal["float32", "int8"]  # of a deployed network's weights and activations
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PATCH, PATCHES = 48, 16  # defaults of `data`
MOST_FOLDS = 20  # of cross-validation
MAGNITUDES = 30  # the largest of RandAugment's, as torchvision counts them
Share = Annotated[float, Field(ge=0, lt=1)]
Opset = Annotated[int, Field(ge=13, le=20)]  # of ONNX: what the tracing exporter writes


class TransformSection(Plugin):
    """A user-supplied change of training images, such as a class of torchvision v2 or of albumentations.

    `takes`: what it is called with, and returns: a uint8 tensor (C, H, W), a `batch` of them, an `array` by name
    (`image=`, uint8 (H, W, C)), which is the default for albumentations, or a `pil` image."""

    class_path: str = Field(pattern=IMPORT_PATH)
    takes: Literal["tensor", "batch", "array", "pil"] = "tensor"

    @model_validator(mode="before")
    @classmethod
    def _albumentations_take_arrays(cls, content: Any) -> Any:
        content = {"class_path": content} if isinstance(content, str) else content
        if isinstance(content, Mapping) and str(content.get("class_path")).startswith("albumentations"):
            return {"takes": "array", **content}
        return content


class Augment(Section):
    """Random crop (pixels of padding), horizontal flip, cutout (side in pixels) of training images; 0 = off.

    `resized_crop`, for image folders: the least share of an image's area that a random resized crop keeps. `turn`:
    by quarters. `randaugment`: the operations of RandAugment on each image, of `magnitude` 0 to 30.
    `jitter`: the most that brightness, contrast and saturation change by, as a share; `hue`: the most that it turns by,
    as a share of the colour circle. `transforms`: user-supplied, in their order."""

    crop: int = Field(0, ge=0)
    resized_crop: Share = 0.0
    flip: bool = False
    cutout: int = Field(0, ge=0)
    turn: bool = Field(False, exclude_if=lambda turn: not turn)
    randaugment: int = Field(0, ge=0, le=14, exclude_if=lambda operations: not operations)
    magnitude: int = Field(9, ge=0, le=MAGNITUDES, exclude_if=lambda magnitude: magnitude == 9)
    jitter: Share = Field(0.0, exclude_if=lambda jitter: not jitter)
    hue: float = Field(0.0, ge=0, le=0.5, exclude_if=lambda hue: not hue)
    transforms: tuple[TransformSection, ...] = Field((), exclude_if=lambda transforms: not transforms)

    @property
    def changes_levels(self) -> bool:
        """True where images are changed by their levels, and not only moved, flipped or cut."""
        return bool(self.randaugment or self.jitter or self.hue or self.transforms)


class DataSection(Section):
    """The images, and their split into train, calibration (a part of train), search validation and test.

    `validation`: the share of the training images that compares networks, where the data have no images of their own
    for it. `unreadable`: what to do where files cannot be read as images. `columns`, of a table: those to learn; by
    default all but file and split. `sampling`: an epoch has each training image once, or as many, drawn with repetition
    so that each class is as frequent. `patch` and `patches`, for photo folders: pixels a side of the patches that
    networks train on, before they are enlarged, and their number for each photo in an epoch."""

    name: str = "digits"
    path: Path | None = None
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    unreadable: Literal["refuse", "skip"] = "refuse"
    download: bool = False
    batch_size: int = Field(128, gt=1)
    validation: float = Field(0.1, gt=0, lt=1)
    sampling: Literal["all", "balanced"] = "all"
    calibration: int = Field(1024, gt=1)
    workers: int = Field(2, ge=0)
    in_memory_mb: int = Field(2048, ge=0)
    patch: int = Field(PATCH, gt=3, exclude_if=lambda patch: patch == PATCH)
    patches: int = Field(PATCHES, gt=0, exclude_if=lambda patches: patches == PATCHES)
    augment: Augment = Augment()
    init_args: Mapping[str, Any] = {}

    @model_serializer(mode="wrap")
    def _without_columns_of_no_table(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `columns` where it is not given: digests of other data stay as they were."""
        content: dict[str, Any] = handler(self)
        return {name: value for name, value in content.items() if name != "columns" or value is not None}


class TrainSection(Section):
    """Training: optimiser, schedule, regularisation; of a supernet also the sandwich rule and in-place distillation.

    `sampled`: the networks of a step beside the largest, drawn about evenly over the logarithm of MACs. `labels`: the
    share of the data's targets in the loss of sub-networks; the rest is the distance from the largest's output.
    `accumulate`: the batches of a step. `minutes`: the time that a supernet may train; the schedule is hurried, so that
    it ends then. `class_weights`: of the classes in the loss: all the same, auto (milder) or balanced by their numbers,
    or by name. `mixup` and `cutmix`: both parameters of the Beta distribution of the other image's share, where the
    largest network learns from mixed images; where both are given, one of them for each batch.
    `devices`: the number of GPUs (of this machine or of the cluster) that share every batch; of processes where no GPU
    exists. It changes the speed of training and not its result."""

    devices: int = Field(1, gt=0)
    epochs: int = Field(30, gt=0)
    minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(2e-3, gt=0)
    learning_rate_floor: Share = 0.05
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    momentum: Share = 0.9
    clip_norm: float = Field(1.0, gt=0)
    sampled: int = Field(2, ge=0)
    labels: float = Field(0.5, ge=0, le=1)
    accumulate: int = Field(1, gt=0)
    label_smoothing: Share = 0.1
    class_weights: Literal["none", "auto", "balanced"] | Mapping[str, Weight] = "none"
    drop_path: Share = 0.0
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0, exclude_if=lambda cutmix: not cutmix)
    ema: Share = 0.0
    branches: Literal["all", "none", "reference", "bare"] = "none"
    layer_scale: float | None = Field(0.1, gt=0)
    start_from: Path | None = None
    checkpoint_minutes: float = Field(2.0, gt=0)
    callbacks: tuple[Plugin, ...] = ()
    loggers: tuple[Plugin, ...] = ()

    @property
    def mixes(self) -> bool:
        """True where the largest network learns from mixed images."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def form(self) -> Form:
        """The parametrisation of the weights during training."""
        return Form(self.branches, self.layer_scale)


class ModuleSection(Plugin):
    """A user-supplied LightningModule, which takes the network's place in trials that train."""

    class_path: str = Field(pattern=IMPORT_PATH)


class LatencySection(Section):
    """A device, and how latency is measured on it.

    `min_within_10`: the least share of the held-out networks that must be predicted within 10 %, or the search refuses
    the table. `noisy`: warn about a busy machine and continue, instead of refusing it. `name`: names the device;
    required where a sweep has several. `precision`: of the networks that are timed and deployed. `resource`: measure on
    the node of a Ray cluster that has this resource."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=NAME)
    resource: str | None = Field(None, min_length=1)
    backend: str = Field("onnxruntime", max_length=NAME)
    threads: int = Field(1, gt=0)
    batch_size: int = Field(1, gt=0)
    precision: Precision = "float32"
    rounds: int = Field(7, ge=3)
    calibration: int = Field(40, ge=4)
    held_out: int = Field(20, ge=20)
    min_within_10: float = Field(0.9, ge=0, le=1)
    noisy: bool = False
    init_args: Mapping[str, Any] = {}


class RetrainSection(Section):
    """The retraining of the networks that are exported, each alone, by the recipe of `train`.

    `epochs`: for each network; 0: none; by default half of `train.epochs` where the search scored networks on the
    supernet's weights, and 0 where trials trained. `rate`: the learning rate, as a factor of the recipe's. `distil`:
    the share of the loss that is the distance from the supernet's largest network. `from`: the supernet's weights, or
    new ones. `candidates`: the number of networks to retrain; the front is drawn from them; `export.top` by default."""

    model_config = ConfigDict(serialize_by_alias=True)

    epochs: int | None = Field(None, ge=0)
    rate: float = Field(1.0, gt=0, allow_inf_nan=False)
    distil: float = Field(0.0, ge=0, le=1)
    start: Literal["inherited", "scratch"] = Field("inherited", alias="from")
    candidates: int | None = Field(None, gt=0)


class ExportSection(Section):
    """The export of the front: how many networks, their retraining, and the formats beside ONNX that they get.

    `folds`: of training and validation images, for k-fold cross-validation of the exported networks: each is trained as
    often from new weights, and judged on all of these images; 0: none."""

    top: int = Field(8, gt=0)
    retrain: RetrainSection = RetrainSection()
    folds: int = Field(0, ge=0, le=MOST_FOLDS, exclude_if=lambda folds: not folds)
    opset: Opset = 17
    formats: tuple[Annotated[str, Field(max_length=NAME)], ...] = ()

    @model_validator(mode="after")
    def _one_fold_holds_nothing_out(self) -> ExportSection:
        if self.folds == 1:
            raise ValueError("folds must be at least 2, of which one is held out in turn, or 0 for none, but is 1")
        return self


class ReportSection(Section):
    """The report: whether networks scaled by hand stand beside the front, trained and measured as it is; and modules of
    the user's, with weights of their own, that are judged and timed as it is."""

    yardstick: bool = True
    baselines: tuple[Plugin, ...] = ()

    @model_validator(mode="after")
    def _baselines_stand_beside_the_yardstick(self) -> ReportSection:
        if self.baselines and not self.yardstick:
            raise ValueError("baselines must be left out where yardstick is false: they stand beside it; remove either")
        return self
