"""The sections of a sweep: the fields of each, with defaults and limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from ffnet_search.config.later_fields import LATER, GrowingSection
from ffnet_search.errors import NAME, shown
from ffnet_search.files.bounded import MAX_MINUTES
from ffnet_search.plugins import Plugin
from ffnet_search.space.architecture import Form
from ffnet_search.strict_yaml import Section

IMPORT_PATH = r"^[\w.]+:\w+$"
NAME_OR_PATH = r"^(\w+|[\w.]+:\w+)$"  # of a registered class, or of a user-supplied one
Precision = Literal["float32", "int8"]  # of a deployed network's weights and activations
Minutes = Annotated[float, Field(gt=0, le=MAX_MINUTES)]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PATCH, PATCHES = 48, 16  # defaults of `data`
MAX_EPOCHS = 10**6  # of a training: more end in no lifetime
MAX_FOLDS = 20  # of cross-validation
MAGNITUDES = 30  # the largest of RandAugment's, as torchvision counts them
Share = Annotated[float, Field(ge=0, lt=1)]
MAX_THREADS = 1024  # of a measurement: more are no machine's, and cannot be started
Opset = Annotated[int, Field(ge=13, le=20)]  # of ONNX: what the tracing exporter writes


def _named_by_text(weights: Any) -> Any:
    """Weights by the names of classes. Whole numbers are names too; what else YAML reads as no text is refused."""
    if not isinstance(weights, Mapping):
        return weights
    odd = [name for name in weights if isinstance(name, bool) or not isinstance(name, str | int)]
    if odd:
        raise ValueError(f"the name of a class must be text, but got {shown(odd[0])}; put it in quotes")
    return {str(name): weight for name, weight in weights.items()}


class TransformSection(Plugin):
    """A user-supplied change of training images, such as a class of torchvision v2 or of albumentations.

    `takes`: the type of its input and output: `tensor`, uint8 (C, H, W); `batch`, uint8 (B, C, H, W); `array`, uint8
    (H, W, C) by the keyword `image`, the default for albumentations; or `pil`, a PIL image."""

    class_path: str = Field(pattern=IMPORT_PATH)
    takes: Literal["tensor", "batch", "array", "pil"] = "tensor"

    @model_validator(mode="before")
    @classmethod
    def _albumentations_take_arrays(cls, content: Any) -> Any:
        content = {"class_path": content} if isinstance(content, str) else content
        if isinstance(content, Mapping) and str(content.get("class_path")).startswith("albumentations"):
            return {"takes": "array", **content}
        return content


class Augment(GrowingSection):
    """Augmentation of training images; 0 turns an operation off.

    `crop`: random crop after so many pixels of padding. `resized_crop`, for image folders: the least share of an
    image's area that a random resized crop keeps. `flip`: horizontal. `turn`: by multiples of 90 degrees. `cutout`:
    side of the erased square, in pixels. `randaugment`: the number of RandAugment operations on each image, of
    `magnitude` 0 to 30. `jitter`: the largest relative change of brightness, contrast and saturation; `hue`: the
    largest shift, as a share of the colour circle. `transforms`: user-supplied, applied in order."""

    crop: int = Field(0, ge=0)
    resized_crop: Share = 0.0
    flip: bool = False
    cutout: int = Field(0, ge=0)
    turn: Annotated[bool, LATER] = False
    randaugment: Annotated[int, LATER] = Field(0, ge=0, le=14)
    magnitude: Annotated[int, LATER] = Field(9, ge=0, le=MAGNITUDES)
    jitter: Annotated[Share, LATER] = 0.0
    hue: Annotated[float, LATER] = Field(0.0, ge=0, le=0.5)
    transforms: Annotated[tuple[TransformSection, ...], LATER] = ()

    @property
    def changes_levels(self) -> bool:
        """True if images are changed by their levels, and not only moved, flipped or cut."""
        return bool(self.randaugment or self.jitter or self.hue or self.transforms)


# Minutes as `init` measured them: of each stage, by which `run --minutes` divides its time, and of parts, for `check`.
Estimated = Literal["profile", "train", "search", "export", "epoch", "epoch_alone", "candidate", "retraining"]


class DataSection(GrowingSection):
    """The images, and their split into train, calibration (a part of train), search validation and test.

    `validation`: the share of the training images that is held out to compare networks, unless the data have a
    validation split. `unreadable`: refuse or skip files that cannot be read as images. `columns`: the columns of a
    table to learn; default: all but file and split. `sampling`: an epoch has each training image once, or (`balanced`)
    as many images, drawn with replacement so that all classes are equally frequent. `patch`, `patches`, for photo
    folders: the side of a training patch in pixels, before it is enlarged, and the number of patches per photo and
    epoch."""

    name: str = "digits"
    path: Path | None = None
    columns: Annotated[Annotated[tuple[str, ...], Field(min_length=1)] | None, LATER] = None
    unreadable: Literal["refuse", "skip"] = "refuse"
    download: bool = False
    batch_size: int = Field(128, gt=1)
    validation: float = Field(0.1, gt=0, lt=1)
    sampling: Annotated[Literal["all", "balanced"], LATER] = "all"
    calibration: int = Field(1024, gt=1)
    workers: int = Field(2, ge=0)
    in_memory_mb: int = Field(2048, ge=0)
    patch: Annotated[int, LATER] = Field(PATCH, gt=3)
    patches: Annotated[int, LATER] = Field(PATCHES, gt=0)
    augment: Augment = Augment()
    init_args: Mapping[str, Any] = {}


class TrainSection(GrowingSection):
    """Training: optimiser, schedule, regularisation; of a supernet also the sandwich rule and in-place distillation.

    `sampled`: the number of sub-networks that a step trains beside the largest, drawn about evenly over the logarithm
    of MACs. `labels`: the share of the data's targets in the loss of sub-networks; the rest is distillation from the
    largest. `optimizer`: muon is for dense convolutions, with AdamW for other weights; `momentum`: of muon and sgd.
    `accumulate`: the number of batches per step. `minutes`: the time limit of supernet training; the
    learning-rate schedule is shortened to end in time, and networks are trained alone by the epochs that it had.
    `class_weights`: of the classes in the loss: none, balanced (inverse to their frequency in images or, of masks, in
    pixels), auto (milder), or by class name; of labels, of the images that have one beside those that do not. `mixup`,
    `cutmix`: a of the Beta(a, a) distribution of the mixing ratio, for the largest network; with both, one is chosen
    for each batch. `devices`: the number of GPUs (of this machine or of the cluster) that share every batch, or of
    processes if there is no GPU. It changes the speed of training and not its result."""

    devices: int = Field(1, gt=0)
    epochs: int = Field(30, gt=0, le=MAX_EPOCHS)
    minutes: Minutes | None = None
    optimizer: Literal["muon", "adamw", "sgd"] = "muon"
    learning_rate: float = Field(8e-3, gt=0)
    learning_rate_floor: Share = 0.05
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    momentum: Share = 0.9
    clip_norm: float = Field(1.0, gt=0)
    sampled: int = Field(2, ge=0)
    labels: float = Field(0.5, ge=0, le=1)
    accumulate: int = Field(1, gt=0)
    label_smoothing: Share = 0.1
    class_weights: Annotated[
        Literal["none", "auto", "balanced"] | Mapping[str, Weight], BeforeValidator(_named_by_text), LATER
    ] = "none"
    drop_path: Share = 0.0
    mixup: float = Field(0.0, ge=0)
    cutmix: Annotated[float, LATER] = Field(0.0, ge=0)
    ema: Share = 0.0
    branches: Literal["all", "none", "reference", "bare"] = "none"
    layer_scale: float | None = Field(0.1, gt=0)
    start_from: Path | None = None
    checkpoint_minutes: Minutes = 2.0
    callbacks: tuple[Plugin, ...] = ()
    loggers: tuple[Plugin, ...] = ()

    @property
    def mixes(self) -> bool:
        """True if the largest network learns from mixed images."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def form(self) -> Form:
        """The parametrisation of the weights during training."""
        return Form(self.branches, self.layer_scale)


class ModuleSection(Plugin):
    """A user-supplied LightningModule, which trials train instead of an FFNet."""

    class_path: str = Field(pattern=IMPORT_PATH)


class LatencySection(Section):
    """A device, and the settings of the latency measurement on it.

    `min_within_10`: the least share of the held-out networks that must be predicted within 10 %, or the search refuses
    the table. `noisy`: on a busy machine, warn and continue instead of refusing. `name`: of the device; required if a
    sweep has several. `precision`: of the networks that are timed and deployed. `resource`: measure on the node of a
    Ray cluster that has this custom resource."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=NAME)
    resource: str | None = Field(None, min_length=1)
    backend: str = Field("onnxruntime", max_length=NAME)
    threads: int = Field(1, gt=0, le=MAX_THREADS)
    batch_size: int = Field(1, gt=0)
    precision: Precision = "float32"
    rounds: int = Field(7, ge=3)
    calibration: int = Field(40, ge=4)
    held_out: int = Field(20, ge=20)
    min_within_10: float = Field(0.9, ge=0, le=1)
    noisy: bool = False
    init_args: Mapping[str, Any] = {}


class RetrainSection(GrowingSection):
    """The retraining of each exported network alone, by the recipe of `train`.

    `epochs`: for a network as large as the space's largest; 0: no retraining; default: half of those that the supernet
    had if the search scored networks on its weights, 0 if its trials trained. `max_epochs`: at most for a smaller one,
    whose epochs rise as the root of its MACs falls; default: 3 times `epochs` from inherited weights, else `epochs`.
    `rate`: the learning rate, as a factor of the recipe's. `distil`:
    the share of distillation from the supernet's largest network in the loss. `from`: `inherited`, the supernet's
    weights, or `scratch`, new ones. `candidates`: the number of networks to retrain, of which the front is drawn;
    default: `export.top`."""

    model_config = ConfigDict(serialize_by_alias=True)

    epochs: int | None = Field(None, ge=0, le=MAX_EPOCHS)
    max_epochs: Annotated[int | None, LATER] = Field(None, gt=0, le=MAX_EPOCHS)
    rate: float = Field(1.0, gt=0, allow_inf_nan=False)
    distil: float = Field(0.0, ge=0, le=1)
    start: Literal["inherited", "scratch"] = Field("inherited", alias="from")
    candidates: int | None = Field(None, gt=0)


class ExportSection(GrowingSection):
    """The export of the front: the number of networks, their retraining, and formats beside ONNX.

    `folds`: the k of a k-fold cross-validation of the exported networks over the training and validation images, each
    network trained k times from new weights; 0: none."""

    top: int = Field(8, gt=0)
    retrain: RetrainSection = RetrainSection()
    folds: Annotated[int, LATER] = Field(0, ge=0, le=MAX_FOLDS)
    opset: Opset = 17
    formats: tuple[Annotated[str, Field(max_length=NAME)], ...] = ()

    @model_validator(mode="after")
    def _one_fold_holds_nothing_out(self) -> ExportSection:
        if self.folds == 1:
            raise ValueError("folds must be at least 2, of which one is held out in turn, or 0 for none, but is 1")
        return self


class ReportSection(Section):
    """The report. `yardstick`: whether FFNets scaled by hand are trained and measured for comparison with the front.
    `baselines`: user-supplied modules with trained weights, judged and timed for the same purpose."""

    yardstick: bool = True
    baselines: tuple[Plugin, ...] = ()

    @model_validator(mode="after")
    def _baselines_stand_beside_the_yardstick(self) -> ReportSection:
        if self.baselines and not self.yardstick:
            raise ValueError("baselines must be left out where yardstick is false: they stand beside it; remove either")
        return self
