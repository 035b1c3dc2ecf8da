"""The `search` section of a sweep: sampler, engine, resources, early stopping, objectives and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ffnet_search.config.later_fields import LATER, GrowingSection
from ffnet_search.config.schema import MAX_EPOCHS, NAME_OR_PATH, Minutes
from ffnet_search.errors import did_you_mean
from ffnet_search.files.bounded import MAX_INT
from ffnet_search.metrics import COSTS, Direction, Metric, find_metric
from ffnet_search.plugins import Plugin, is_import_path, spelled
from ffnet_search.space.registry import DEFAULT_TASK, known_metrics, qualities, task_outputs
from ffnet_search.strict_yaml import Section


class SamplerSection(Plugin):
    """ParetoSampler, any sampler of `optuna.samplers` by name, or a user-supplied one by import path."""

    class_path: str = "ParetoSampler"

    @model_validator(mode="before")
    @classmethod
    def _tpe_is_multivariate(cls, content: Any) -> Any:
        content = spelled(content)
        if isinstance(content, Mapping) and content.get("class_path") == "TPESampler":
            return {"init_args": {"multivariate": True}, **content}
        return content


MAX_RESOURCE = 1e5  # of a worker: beyond it Ray's integers overflow, and it grants any memory


class Resources(Section):
    """The resources of one worker of a cluster; a fraction of a GPU lets several workers share it."""

    cpu: float = Field(1.0, ge=0, le=MAX_RESOURCE)
    gpu: float = Field(0.0, ge=0, le=MAX_RESOURCE)
    memory_gb: float = Field(0.0, ge=0, le=MAX_RESOURCE)

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
    """The rule that stops trials early if they lag behind others at the same epoch.

    `rule`: "none", or a registered name or an import path. `asha`: successive halving, for any number of objectives;
    `median` and `hyperband`: Optuna's pruners, for one. `min_epochs`: the epochs that every trial trains. `reduction`:
    the factor from one rung to the next, and from the trials that reach a rung to those that pass it. `brackets`:
    groups of trials, each first judged one rung later. `max_epochs`: the epoch after which no trial is stopped.
    `tie_break`: the order of trials of equal rank in non-dominated sorting."""

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


class SearchSection(GrowingSection):
    """The objectives, the constraints, the sampler and the number of trials. A constraint is an upper limit of a cost,
    known before an evaluation, or a limit of a quality (a lower one if more is better), known after it.

    `evaluator`: "supernet" scores a network on the supernet's weights, "train" trains each; `warm_start`: from those
    weights, for `trial_epochs`; default: half of `train.epochs`, which the supernet has. `engine`: a registered name
    ("local", "ray", "tune") or an import path. `metrics`: name -> direction of the metrics that a user-supplied module
    logs, for `objectives`. `workers`: the number of parallel evaluations on a cluster; default: as many as fit on its
    nodes. `wait_minutes`: the time to wait for the first worker, which on an autoscaling cluster includes the start of
    a node. `trial_minutes`: the time after which a trial is ended and recorded as failed. `minutes`: the time limit of
    the search, over all its interruptions; it ends there or after `trials`, whichever is first. `storage`: the URL of a
    database that keeps a copy of the study, such as postgresql://user@host/name. `loggers`: Lightning loggers, in which
    each trial is a run of its own."""

    evaluator: Literal["supernet", "train"] = "supernet"
    warm_start: bool = False
    trial_epochs: Annotated[int | None, LATER] = Field(None, gt=0, le=MAX_EPOCHS)
    engine: str = Field("local", pattern=NAME_OR_PATH)
    resources: Resources = Resources()
    workers: int | None = Field(None, gt=0)
    wait_minutes: Minutes = 10.0
    trial_minutes: Minutes | None = None
    scheduler: SchedulerSection = SchedulerSection()
    early_stopping: EarlyStoppingSection = EarlyStoppingSection()
    trials: int = Field(200, gt=0, le=MAX_INT)
    minutes: Minutes | None = None
    storage: str | None = Field(None, min_length=1)
    metrics: Mapping[str, Direction] = {}
    objectives: tuple[str, ...] = Field(default_factory=_default_objectives, min_length=1)
    constraints: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    sampler: SamplerSection = SamplerSection()
    proposals: int = Field(200, gt=0)
    loggers: Annotated[tuple[Plugin, ...], LATER] = ()

    @field_validator("objectives", "constraints")
    @classmethod
    def _metrics_are_known(cls, names: Any, info: ValidationInfo) -> Any:
        metrics = known_metrics()
        own = info.data.get("metrics", {})  # replace known metrics of the same name
        per_class = {name for name, metric in metrics.items() if metric.per_class and name not in own}
        complete = [name for name in (*metrics, *own) if name not in per_class]
        for name in names:
            base, _, device_or_class = name.partition("@")
            takes_suffix = base == "latency_ms" or base in per_class
            if name not in complete and not (takes_suffix and device_or_class):
                hint = f"; name its class, {name}@CLASS" if name in per_class else did_you_mean(name, complete)
                raise ValueError(f"{name!r} is not a known metric{hint}")
        if len(set(names)) != len(names):
            raise ValueError(f"must not repeat a metric, but got {list(names)}")
        return names

    @field_validator("constraints")
    @classmethod
    def _qualities_are_within_reach(cls, limits: Mapping[str, float]) -> Mapping[str, float]:
        for name, limit in limits.items():
            bounds = next((one.bounds for one in qualities() if one.name == name.partition("@")[0]), None)
            if bounds is not None and not min(bounds) < limit <= max(bounds):
                least, most = min(bounds), max(bounds)
                raise ValueError(f"{name!r} must have a limit > {least:g} and <= {most:g}, but got {limit}")
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
        parts = [name.partition("@") for name in (*self.objectives, *self.constraints)]
        return tuple(dict.fromkeys(device for name, _, device in parts if device and name in COSTS))

    @property
    def cost_limits(self) -> dict[str, float]:
        """The constraints that are known before an evaluation."""
        return {name: limit for name, limit in self.constraints.items() if name.partition("@")[0] in COSTS}

    @property
    def limits(self) -> str:
        """The constraints in words: `latency_ms ≤ 5, recall@defect ≥ 0.5`; `none` without any."""
        limited = self.constraints.items()
        return ", ".join(f"{name} {self.metric(name).relation} {limit:g}" for name, limit in limited) or "none"

    @property
    def directions(self) -> dict[str, Direction]:
        """Objective -> direction."""
        return {name: self.metric(name).direction for name in self.objectives}

    def metric(self, key: str, *others: Metric) -> Metric:
        """The metric of an objective, a constraint or a figure of an exported network. Raises KeyError."""
        logged = (Metric(name, direction) for name, direction in self.metrics.items())
        return find_metric(key, (*qualities(), *logged, *others))
