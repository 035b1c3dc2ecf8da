"""The sections of a sweep: what each part of the YAML file may say, with its defaults and limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ffnet_search.errors import did_you_mean
from ffnet_search.metrics import Direction, Metric, find_metric
from ffnet_search.plugins import Plugin
from ffnet_search.space.architecture import Form
from ffnet_search.space.registry import known_metrics, qualities
from ffnet_search.strict_yaml import Section

IMPORT_PATH = r"^[\w.]+:\w+$"
Share = Annotated[float, Field(ge=0, lt=1)]


class Augment(Section):
    """Random crop (pixels of padding), horizontal flip, cutout (side in pixels) of training images; 0 = off.

    `resized_crop`, for image folders: the least share of a picture's area that a random resized crop keeps.
    """

    crop: int = Field(0, ge=0)
    resized_crop: Share = 0.0
    flip: bool = False
    cutout: int = Field(0, ge=0)


class DataSection(Section):
    """Which images, and how they are split: train, calibration (a part of train), search validation, test."""

    name: str = "digits"
    path: Path | None = None
    download: bool = False
    batch_size: int = Field(128, gt=1)
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    calibration: int = Field(1024, gt=1)
    workers: int = Field(2, ge=0)
    in_memory_mb: int = Field(2048, ge=0)
    augment: Augment = Augment()
    init_args: Mapping[str, Any] = {}


class TrainSection(Section):
    """The supernet's training: sandwich rule, in-place distillation, optimiser and schedule.

    `devices`: GPUs (of this machine, or of the cluster), or where there are none processes, that share every batch.
    How many they are changes how fast it is and not what comes out.
    """

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
        """How the weights are parametrised while they train."""
        return Form(self.branches, self.layer_scale)


class ModuleSection(Plugin):
    """A user-supplied LightningModule, which takes the network's place in trials that train."""

    class_path: str = Field(pattern=IMPORT_PATH)


class LatencySection(Section):
    """Where latency is measured and how.

    `min_within_10`: the least share of the held-out networks that must be predicted within 10 %, or no search is based
    on the table. `noisy`: says so and goes on, where a busy machine would be refused. `name`: of the device, which a
    sweep with several of them needs. `resource`: measured on the node of a Ray cluster that carries it.
    """

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
    init_args: Mapping[str, Any] = {"multivariate": True}


class Resources(Section):
    """What one worker of a cluster takes; a fraction of a GPU lets several share it."""

    cpu: float = Field(1.0, ge=0, allow_inf_nan=False)
    gpu: float = Field(0.0, ge=0, allow_inf_nan=False)
    memory_gb: float = Field(0.0, ge=0, le=1e5)  # beyond it Ray's integers overflow, and it gives what it has not

    @model_validator(mode="after")
    def _is_something(self) -> Resources:
        if self.gpu > 1 and self.gpu % 1:
            raise ValueError(f"gpu must be a fraction below 1 or a whole number, but got {self.gpu}")
        if not self.cpu and not self.gpu:
            raise ValueError("cpu or gpu must be > 0, or there is no limit to the workers of a machine")
        return self


POPULATION = "PopulationBasedTraining"  # the scheduler whose trials go on from each other's checkpoints


class SchedulerSection(Plugin):
    """Any scheduler of `ray.tune.schedulers` by name, for engine "tune"."""

    class_path: str = "FIFOScheduler"


class EarlyStoppingSection(Section):
    """Which trials end before their last epoch: those that others beat at the same age.

    `asha`: successive halving, for any number of objectives; `median` and `hyperband`: Optuna's pruners, for one.
    `min_epochs`: that every trial is given. `reduction`: of so many that reach a rung, one goes on; the next rung is so
    many times as far. `brackets`: groups of trials, each first judged one rung later. `max_epochs`: from there on
    nothing is stopped. `tie_break`: which of equals by non-dominated sorting go on.
    """

    rule: Literal["none", "asha", "median", "hyperband"] = "none"
    min_epochs: int = Field(1, gt=0)
    reduction: int = Field(2, gt=1)
    brackets: int = Field(1, gt=0)
    max_epochs: int | None = Field(None, gt=0)
    tie_break: Literal["epsilon_net", "hypervolume"] = "epsilon_net"

    @model_validator(mode="after")
    def _rule_has_these_fields(self) -> EarlyStoppingSection:
        used = {"none": (), "median": ("min_epochs",), "hyperband": ("min_epochs", "reduction", "max_epochs")}
        for name, field in type(self).model_fields.items():
            if name not in ("rule", *used.get(self.rule, (name,))) and getattr(self, name) != field.default:
                raise ValueError(f"{name} must be left out, since rule {self.rule!r} has no such thing")
        return self


class SearchSection(Section):
    """What is searched for, under which hard constraints (upper limits), by which sampler and how long.

    `evaluator`: "supernet" scores a network on the supernet's weights, "train" trains each; `warm_start`: from those.
    `metrics`: name -> direction of what a module of the user's own logs, for `objectives`.
    `workers`: how many evaluate on a cluster; where it is not given, as many as fit on the nodes that are there.
    `storage`: the URL of a database that gets a copy of the study, such as postgresql://user@host/name.
    `wait_minutes`: for the first of them to start, which on an autoscaling cluster includes the start of a node.
    """

    evaluator: Literal["supernet", "train"] = "supernet"
    warm_start: bool = False
    engine: str = "local"
    resources: Resources = Resources()
    workers: int | None = Field(None, gt=0)
    wait_minutes: float = Field(10.0, gt=0, allow_inf_nan=False)
    scheduler: SchedulerSection = SchedulerSection()
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    trials: int = Field(200, gt=0)
    storage: str | None = Field(None, min_length=1)
    metrics: Mapping[str, Direction] = {}
    objectives: tuple[str, ...] = Field(("accuracy", "latency_ms"), min_length=1)
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
        if "accuracy" in limits:
            raise ValueError(
                "'accuracy' cannot be a constraint (limits are checked before evaluation): make it an objective"
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
                f"scheduler {self.scheduler.class_path} must go with engine 'tune', whose it is, but engine is "
                f"{self.engine!r}; use engine 'tune', or early_stopping, which all engines know"
            )
        if rule != "none" and self.scheduler.class_path != "FIFOScheduler":
            raise ValueError(
                f"early_stopping.rule must be 'none' where Tune's scheduler {self.scheduler.class_path} decides what is "  # noqa: E501
                f"stopped, but got {rule!r}; remove one of them"
            )
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices whose latency is an objective or a constraint."""
        names = [name.partition("@")[2] for name in (*self.objectives, *self.constraints)]
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def directions(self) -> dict[str, Direction]:
        """Objective -> direction."""
        return {name: self.metric(name).direction for name in self.objectives}

    def metric(self, name: str) -> Metric:
        """The metric of an objective, a constraint, or a figure of an exported network. Raises KeyError."""
        own = (Metric(key, direction) for key, direction in self.metrics.items())
        return find_metric(name, (*qualities(), *own))


class ExportSection(Section):
    """What is done with the front: how many picks, fine-tuned for how long."""

    top: int = Field(8, gt=0)
    finetune_epochs: int = Field(0, ge=0)
    opset: int = Field(17, ge=13)
