"""The sections of a sweep: the fields of each, with defaults and limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ffnet_search.errors import did_you_mean
from ffnet_search.metrics import COSTS, Direction, Metric, find_metric
from ffnet_search.plugins import Plugin, is_import_path
from ffnet_search.space.architecture import Form
from ffnet_search.space.registry import DEFAULT_TASK, known_metrics, qualities, task_outputs
from ffnet_search.strict_yaml import Section

IMPORT_PATH = r"^[\w.]+:\w+$"
NAME_OR_PATH = r"^(\w+|[\w.]+:\w+)$"  # of a registered class, or of a user-supplied one
Share = Annotated[float, Field(ge=0, lt=1)]


class Augment(Section):
    """Random crop (pixels of padding), horizontal flip, cutout (side in pixels) of training images; 0 = off.

    `resized_crop`, for image folders: the least share of an image's area that a random resized crop keeps."""

    crop: int = Field(0, ge=0)
    resized_crop: Share = 0.0
    flip: bool = False
    cutout: int = Field(0, ge=0)


class DataSection(Section):
    """The images, and their split into train, calibration (a part of train), search validation and test."""

    name: str = "digits"
    path: Path | None = None
    download: bool = False
    batch_size: int = Field(128, gt=1)
    validation: float = Field(0.1, gt=0, lt=1)
    calibration: int = Field(1024, gt=1)
    workers: int = Field(2, ge=0)
    in_memory_mb: int = Field(2048, ge=0)
    augment: Augment = Augment()
    init_args: Mapping[str, Any] = {}


class TrainSection(Section):
    """Training: optimiser, schedule, regularisation; of a supernet also the sandwich rule and in-place distillation.

    `devices`: the number of GPUs (of this machine or of the cluster) that share every batch; of processes where no GPU
    exists. It changes the speed of training and not its result."""

    devices: int = Field(1, gt=0)
    epochs: int = Field(30, gt=0)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_floor: Share = 0.05
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(0.05, ge=0)
    momentum: Share = 0.9
    clip_norm: float = Field(1.0, gt=0)
    sampled: int = Field(2, ge=0)
    accumulate: int = Field(1, gt=0)
    label_smoothing: Share = 0.1
    drop_path: Share = 0.0
    mixup: float = Field(0.0, ge=0)
    ema: Share = 0.0
    branches: Literal["all", "none", "reference"] = "none"
    layer_scale: float | None = Field(0.1, gt=0)
    start_from: Path | None = None
    checkpoint_minutes: float = Field(2.0, gt=0)
    callbacks: tuple[Plugin, ...] = ()
    loggers: tuple[Plugin, ...] = ()

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
    required where a sweep has several. `resource`: measure on the node of a Ray cluster that has this resource."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    resource: str | None = Field(None, min_length=1)
    backend: str = "onnxruntime"
    threads: int = Field(1, gt=0)
    batch_size: int = Field(1, gt=0)
    rounds: int = Field(7, ge=3)
    calibration: int = Field(40, ge=4)
    held_out: int = Field(20, ge=20)
    min_within_10: float = Field(0.9, ge=0, le=1)
    noisy: bool = False
    init_args: Mapping[str, Any] = {}


class SamplerSection(Plugin):
    """Any sampler of `optuna.samplers` by name, or a user-supplied one by import path."""

    class_path: str = "TPESampler"

    @model_validator(mode="before")
    @classmethod
    def _tpe_is_multivariate(cls, content: Any) -> Any:
        content = {"class_path": content} if isinstance(content, str) else content
        if isinstance(content, Mapping) and content.get("class_path", "TPESampler") == "TPESampler":
            return {"init_args": {"multivariate": True}, **content}
        return content


class Resources(Section):
    """The resources of one worker of a cluster; a fraction of a GPU lets several workers share it."""

    cpu: float = Field(1.0, ge=0, allow_inf_nan=False)
    gpu: float = Field(0.0, ge=0, allow_inf_nan=False)
    memory_gb: float = Field(0.0, ge=0, le=1e5)  # beyond it Ray's integers overflow, and it grants any memory

    @model_validator(mode="after")
    def _is_something(self) -> Resources:
        if self.gpu > 1 and self.gpu % 1:
            raise ValueError(f"gpu must be a fraction below 1 or a whole number, but got {self.gpu}")
        if not self.cpu and not self.gpu:
            raise ValueError("cpu or gpu must be > 0, or there is no limit to the workers of a machine")
        return self


POPULATION = "PopulationBasedTraining"  # the scheduler whose trials resume from each other's checkpoints


class SchedulerSection(Plugin):
    """Any scheduler of `ray.tune.schedulers` by name, for engine "tune"."""

    class_path: str = "FIFOScheduler"


RULE_OPTIONS = {  # of `search.early_stopping.RULES`; a user-supplied rule has all
    "none": (),
    "asha": ("min_epochs", "reduction", "brackets", "max_epochs", "tie_break"),
    "median": ("min_epochs",),
    "hyperband": ("min_epochs", "reduction", "max_epochs"),
}


class EarlyStoppingSection(Section):
    """The rule that stops trials which lag behind others at the same epoch.

    `rule`: "none", or a registered name or an import path. `asha`: successive halving, for any number of objectives;
    `median` and `hyperband`: Optuna's pruners, for one.
    `min_epochs`: the epochs that every trial trains. `reduction`: the factor from one rung to the next, and from the
    trials that reach a rung to those that pass it. `brackets`: groups of trials, each first judged one rung later.
    `max_epochs`: the epoch after which no trial is stopped. `tie_break`: the order of trials that non-dominated sorting
    ranks equal."""

    rule: str = "none"
    min_epochs: int = Field(1, gt=0)
    reduction: int = Field(2, gt=1)
    brackets: int = Field(1, gt=0)
    max_epochs: int | None = Field(None, gt=0)
    tie_break: Literal["epsilon_net", "hypervolume"] = "epsilon_net"

    @field_validator("rule")
    @classmethod
    def _rule_is_known(cls, rule: str) -> str:
        if rule not in RULE_OPTIONS and not is_import_path(rule):
            names = ", ".join(RULE_OPTIONS)
            raise ValueError(
                f"must be one of {names} or package.module:Class, but got {rule!r}{did_you_mean(rule, RULE_OPTIONS)}"
            )
        return rule

    @model_validator(mode="after")
    def _rule_has_these_options(self) -> EarlyStoppingSection:
        for name, field in type(self).model_fields.items():
            options = RULE_OPTIONS.get(self.rule, (name,))
            if name not in ("rule", *options) and getattr(self, name) != field.default:
                raise ValueError(f"{name} is not an option of rule {self.rule!r}; remove it")
        return self


def _default_objectives() -> tuple[str, ...]:
    return task_outputs(DEFAULT_TASK).quality.name, "latency_ms"


class SearchSection(Section):
    """The objectives, the hard constraints (upper limits), the sampler and the number of trials.

    `evaluator`: "supernet" scores a network on the supernet's weights, "train" trains each; `warm_start`: from those
    weights. `engine`: a registered name ("local", "ray", "tune") or an import path. `metrics`: name -> direction of the
    metrics that a user-supplied module logs, for `objectives`. `workers`: the number of evaluations at a time on a
    cluster; by default as many as fit on its nodes. `wait_minutes`: the time to wait for the first worker, which on an
    autoscaling cluster includes the start of a node. `storage`: the URL of a database that gets a copy of the study,
    such as postgresql://user@host/name."""

    evaluator: Literal["supernet", "train"] = "supernet"
    warm_start: bool = False
    engine: str = Field("local", pattern=NAME_OR_PATH)
    resources: Resources = Resources()
    workers: int | None = Field(None, gt=0)
    wait_minutes: float = Field(10.0, gt=0, allow_inf_nan=False)
    scheduler: SchedulerSection = SchedulerSection()
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    trials: int = Field(200, gt=0)
    storage: str | None = Field(None, min_length=1)
    metrics: Mapping[str, Direction] = {}
    objectives: tuple[str, ...] = Field(default_factory=_default_objectives, min_length=1)
    constraints: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    sampler: SamplerSection = SamplerSection()
    proposals: int = Field(200, gt=0)

    @field_validator("objectives", "constraints")
    @classmethod
    def _metrics_are_known(cls, names: Any, info: ValidationInfo) -> Any:
        known = {**known_metrics(), **info.data.get("metrics", {})}
        for name in names:
            base, _, device = name.partition("@")
            if name not in known and not (base == "latency_ms" and device):
                raise ValueError(f"{name!r} is not a known metric{did_you_mean(name, known)}")
        if len(set(names)) != len(names):
            raise ValueError(f"must not repeat a metric, but got {list(names)}")
        return names

    @field_validator("constraints")
    @classmethod
    def _constraints_are_upper_limits(cls, limits: Mapping[str, float]) -> Mapping[str, float]:
        for name in limits:
            if name.partition("@")[0] not in COSTS:
                raise ValueError(
                    f"{name!r} cannot be a constraint (limits are checked before evaluation): make it an objective"
                )
        return limits

    @model_validator(mode="after")
    def _early_stopping_fits(self) -> SearchSection:
        rule = self.early_stopping.rule
        if rule != "none" and self.evaluator == "supernet":
            raise ValueError(
                f"early_stopping.rule must be 'none' where evaluator is 'supernet', which scores a network without "
                f"training it, but got {rule!r}; remove it, or use evaluator 'train'"
            )
        if rule in ("median", "hyperband") and len(self.objectives) > 1:
            raise ValueError(
                f"early_stopping.rule {rule!r} must have one objective, since it compares single values, but there are "
                f"{len(self.objectives)} ({', '.join(self.objectives)}); use rule 'asha', or one objective"
            )
        if self.scheduler.class_path != "FIFOScheduler" and self.engine != "tune":
            raise ValueError(
                f"scheduler {self.scheduler.class_path} requires engine 'tune', but engine is {self.engine!r}; use "
                "engine 'tune', or early_stopping, which all engines support"
            )
        if rule != "none" and self.scheduler.class_path != "FIFOScheduler":
            raise ValueError(
                f"early_stopping.rule must be 'none' where Tune's scheduler {self.scheduler.class_path} stops trials, "
                f"but got {rule!r}; remove one of them"
            )
        return self

    @property
    def device_names(self) -> tuple[str, ...]:
        """Names of the devices whose latency is an objective or a constraint."""
        names = [name.partition("@")[2] for name in (*self.objectives, *self.constraints)]
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def directions(self) -> dict[str, Direction]:
        """Objective -> direction."""
        return {name: self.metric(name).direction for name in self.objectives}

    def metric(self, key: str, *others: Metric) -> Metric:
        """The metric of an objective, a constraint or a figure of an exported network. Raises KeyError."""
        logged = (Metric(name, direction) for name, direction in self.metrics.items())
        return find_metric(key, (*qualities(), *logged, *others))


class ExportSection(Section):
    """The export of the front: how many networks, fine-tuned for how many epochs."""

    top: int = Field(8, gt=0)
    finetune_epochs: int = Field(0, ge=0)
    opset: int = Field(17, ge=13)
