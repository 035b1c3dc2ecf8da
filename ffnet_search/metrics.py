"""Metrics by name, each with its direction, unit, label and number format.

The one table for the terminal, the report, the page's script, the model card and the study. A task adds its quality
(accuracy, ...), a user-supplied module what it logs. `latency_ms@phone` is a metric of one of several devices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ffnet_search.errors import NAME, SweepError, shown
from ffnet_search.formatting import figure

Direction = Literal["maximize", "minimize"]
MIN_COST, MAX_COST = 1e-12, 1e12  # of any network, in the units of this table: a file may be untrusted


def sign(direction: Direction) -> float:
    """The factor that makes less better: -1 for what is maximised, else 1."""
    return -1.0 if direction == "maximize" else 1.0


def is_cost(value: float) -> bool:
    """True if a network may cost so much: nothing, or within the bounds of every cost."""
    return value == 0 or MIN_COST <= value <= MAX_COST


class Figures(dict[str, float]):
    """Values of metrics by name, read from a file. `where` names it in the SweepError for one that is missing."""

    def __init__(self, values: Mapping[str, float], where: object) -> None:
        super().__init__(values)
        self.where = where

    def __missing__(self, name: str) -> float:
        raise SweepError(f"{self.where}: must have the metric {shown(name)}, but does not: damaged, or of another run")

    def __reduce__(self) -> Any:
        return Figures, (dict(self), self.where)

    @classmethod
    def read(cls, values: object, where: object) -> Figures:
        """The figures in plain data. Raises ValueError if a name is no text, or a value is no number or no cost."""
        if not isinstance(values, Mapping):
            raise ValueError(f"metrics must be a mapping, but are {shown(values)}")
        for name, value in values.items():
            if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"metrics.{str(name)[:NAME]} must be a number, but is {shown(value)}")
            if name.partition("@")[0] in {**COSTS, **MEASURED} and not is_cost(value):
                raise ValueError(
                    f"metrics.{name[:NAME]} must be 0 or within {MIN_COST:g} and {MAX_COST:g}, but is {shown(value)}"
                )
        return cls(values, where)


@dataclass(frozen=True)
class Metric:
    """A quantity by which networks are compared.

    `word` names it in a sentence, `unit` follows its numbers. `scale` turns the stored value into the printed one: 100
    for shares that are printed in per cent. `decimals` fixes the decimals; None prints three significant digits.
    `bounds`: the worst and the perfect value, where they are known for every network."""

    name: str
    direction: Direction
    word: str = ""
    unit: str = ""
    scale: float = 1.0
    decimals: int | None = None
    device: str = ""
    bounds: tuple[float, float] | None = None
    per_class: bool = False  # of one class, whose name is in the place of the device: recall@defect

    @property
    def key(self) -> str:
        """The name in sweeps, studies and files: `latency_ms`, `latency_ms@phone`."""
        return f"{self.name}@{self.device}" if self.device else self.name

    @property
    def phrase(self) -> str:
        """The metric in a sentence: `latency on phone`."""
        word = self.word or self.name
        return f"{word} {'of' if self.per_class else 'on'} {self.device}" if self.device else word

    @property
    def label(self) -> str:
        """The metric as the title of an axis or a column: `latency on phone, ms`."""
        return f"{self.phrase}, {self.unit}" if self.unit else self.phrase

    @property
    def sign(self) -> float:
        """The factor that makes less better: -1 for what is maximised, else 1."""
        return sign(self.direction)

    @property
    def relation(self) -> str:
        """The relation of a feasible value to its limit: `≤`, or `≥` for a metric that is maximised."""
        return "≥" if self.direction == "maximize" else "≤"

    def format(self, value: float, *, unit: bool = True) -> str:
        """The printed form of `value`: `97.50 %`, `0.0414 ms`, `0.212 M`."""
        shown = self.scale * value
        number = figure(shown) if self.decimals is None else f"{shown:.{self.decimals}f}"
        return f"{number} {self.unit}" if unit and self.unit else number

    def format_with(self, value: float, error: float | None) -> str:
        """The printed form of a value and its standard error: `97.50 ± 0.41 %`; without a finite one, as `format`."""
        if error is None or not math.isfinite(error):
            return self.format(value)
        number, deviation = (self.format(one, unit=False) for one in (value, error))
        return f"{number} ± {deviation} {self.unit}".rstrip()

    def as_error(self) -> Metric:
        """The standard error of this metric, as a metric."""
        name, word = f"{self.name}{ERROR}", f"standard error of {self.phrase}"
        return replace(self, name=name, word=word, direction="minimize", bounds=None)

    def on(self, device: str) -> Metric:
        """The same metric on one of several devices."""
        return replace(self, device=device)


LATENCY = Metric("latency_ms", "minimize", "latency", "ms")  # by the latency table, for one batch
# Of the deployed form: millions of parameters, and of multiply-accumulates for one image.
PARAMS = Metric("params_m", "minimize", "parameters", "M")
MACS = Metric("macs_m", "minimize", "MACs", "M")
# Millions of bytes in float32: of the weights, and of all maps of one image at the worst moment.
WEIGHTS = Metric("weights_mb", "minimize", "weights", "MB")
PEAK_MEMORY = Metric("peak_memory_mb", "minimize", "peak memory", "MB")
COSTS: Mapping[str, Metric] = {metric.name: metric for metric in (LATENCY, PARAMS, MACS, WEIGHTS, PEAK_MEMORY)}
MEASURED: Mapping[str, Metric] = {  # of exported networks alone, so no objective can name them
    metric.name: metric
    for metric in (
        Metric("measured_ms", "minimize", "measured latency", "ms"),
        Metric("predicted_ms", "minimize", "predicted latency", "ms"),
        Metric("measured_spread", "minimize", "spread of the latency", "%", 100.0, 1),
    )
}
IMAGES = Metric("images", "maximize", "images", decimals=0)  # that a quality was measured on
ERROR = "_se"  # suffix of a quality: its standard error over images, test_accuracy_se
INHERITED = "inherited_"  # prefix of a quality before a network was retrained: inherited_test_accuracy
INT8 = "int8_"  # prefix of a quality of a network's form of 8 bits: int8_test_accuracy
SPLITS = {"search": "on search validation", "test": "on test"}  # prefix of a quality in the figures of a network
FOLDS = "folds"  # that of cross-validation, on the images of training and validation
JUDGED = {**SPLITS, FOLDS: "by cross-validation"}


def find_metric(key: str, others: Iterable[Metric] = ()) -> Metric:
    """The metric of a name as sweeps, studies and cards spell it: `macs_m`, `latency_ms@phone`, `test_accuracy`.

    `others` are those that this table does not have: the task's quality, and what a user-supplied module logs. Raises
    KeyError for an unknown name, or a device where the metric has none."""
    known = {**COSTS, **MEASURED, IMAGES.name: IMAGES, **{metric.name: metric for metric in others}}
    if key.endswith(ERROR) and key not in known:
        return find_metric(key.removesuffix(ERROR), others).as_error()
    name, separator, device = key.partition("@")
    split, _, quality = name.partition("_")
    if separator:
        metric = find_metric(quality, others) if name not in known and split in JUDGED else known[name]
        if not device or not (metric.per_class or name in (LATENCY.name, *MEASURED)):
            raise KeyError(key)
        return replace(metric, name=name).on(device)
    if name.startswith((INHERITED, INT8)):
        prefix = INHERITED if name.startswith(INHERITED) else INT8
        metric = find_metric(name.removeprefix(prefix), others)
        return replace(metric, name=name, word=f"{prefix.rstrip('_')} {metric.word}")
    if name not in known and split in JUDGED and quality in known:
        metric = known[quality]
        return replace(metric, name=name, word=f"{metric.word or metric.name} {JUDGED[split]}")
    return known[name]
