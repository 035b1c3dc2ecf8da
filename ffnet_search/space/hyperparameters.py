"""A configuration, and the hyper-parameters that a search may choose: ranges and choices by name, some conditional.

`config.binding` resolves a name to a field of the sweep or an argument of a user-supplied class.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticKnownError

from ffnet_search.errors import did_you_mean
from ffnet_search.space import limits
from ffnet_search.space.architecture import Architecture
from ffnet_search.strict_yaml import Section, as_list

Value = None | bool | int | float | str  # of a hyper-parameter: the types that Optuna, YAML and JSON share


@dataclass(frozen=True)
class Configuration:
    """An architecture, the hyper-parameters to train it with, or both: a trial evaluates one. Light enough to be sent.

    `architecture` is None if a user-supplied network is trained. `hyperparameters`: name -> value, only those that
    are searched and have an effect. `known`: metrics that need no training (`latency_ms`, `params_m`, ...); they do not
    identify the configuration."""

    architecture: Architecture | None
    hyperparameters: Mapping[str, Value] = field(default_factory=dict, hash=False)
    known: Mapping[str, float] = field(default_factory=dict, hash=False, compare=False)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits that name the configuration everywhere; the architecture's key where nothing else is
        searched."""
        network = "" if self.architecture is None else self.architecture.key
        if network and not self.hyperparameters:
            return network
        text = json.dumps([network, dict(self.hyperparameters)], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """One line: `learning_rate 0.002, optimizer sgd | stem 8/1 | ...`."""
        words = ", ".join(f"{name} {_short(value)}" for name, value in self.hyperparameters.items())
        network = "" if self.architecture is None else str(self.architecture)
        return " | ".join(part for part in (words, network) if part)


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _no_repeats(values: tuple[Value, ...]) -> tuple[Value, ...]:
    if len({(type(value), value) for value in values}) != len(values):
        raise ValueError(f"must not repeat a value, but got {list(values)}")
    return values


_AtMost = Field(min_length=1, max_length=limits.VALUES)
Values = Annotated[tuple[Value, ...], BeforeValidator(as_list), AfterValidator(_no_repeats), _AtMost]


def _must_be_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticKnownError("float_type")  # here, since a union would name both of its types
    return value


Number = Annotated[int | float, BeforeValidator(_must_be_number)]


class Hyperparameter(Section):
    """A range from `low` to `high`, both included, or a list of `choices`.

    A range with two whole numbers as ends has whole numbers. `log`: uniform in the logarithm. `step`: on a grid from
    `low`. `when`: name -> values of another hyper-parameter that has choices; only with these does this one have an
    effect, else the value in the sweep holds."""

    model_config = ConfigDict(allow_inf_nan=True)  # refused below, in one sentence for whole and other numbers

    low: Number | None = None
    high: Number | None = None
    step: Annotated[int | float, Field(gt=0), BeforeValidator(_must_be_number)] | None = None
    log: bool = False
    choices: Values | None = None
    when: Mapping[str, Values] = {}

    @model_validator(mode="before")
    @classmethod
    def _a_list_is_choices(cls, content: Any) -> Any:
        return {"choices": content} if isinstance(content, list | tuple) else content

    @model_validator(mode="after")
    def _is_a_range_or_a_list(self) -> Hyperparameter:
        low, high = self.low, self.high
        if self.choices is not None:
            if (low, high, self.step, self.log) != (None, None, None, False):
                raise ValueError("choices must stand alone, without low, high, step or log")
            if odd := [value for value in self.choices if isinstance(value, float) and not math.isfinite(value)]:
                raise ValueError(f"choices must be finite numbers, but got {odd[0]}")
            return self
        if low is None or high is None:
            raise ValueError("must have low and high, or choices")
        if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low) and low < high):
            raise ValueError(f"low < high must hold, but got low={low}, high={high}")
        if self.log and (low <= 0 or self.step is not None):
            step = "" if self.step is None else f", step={self.step}"
            raise ValueError(f"log must go with low > 0 and without step, but got low={low}{step}")
        if self.kind == "int" and isinstance(self.step, float):
            raise ValueError(f"step must be a whole number between whole numbers, but got {self.step}")
        if self.step is not None and not (high - low) / self.step <= limits.STEPS:
            raise ValueError(f"step must be at least (high - low) / {limits.STEPS:,}, but got {self.step}")
        return self

    @property
    def kind(self) -> Literal["float", "int", "categorical"]:
        """The type of its values."""
        if self.choices is not None:
            return "categorical"
        return "int" if isinstance(self.low, int) and isinstance(self.high, int) else "float"

    @property
    def range(self) -> tuple[Any, Any]:
        """(low, high), where there are no choices."""
        assert self.low is not None and self.high is not None
        return (self.low, self.high) if self.kind == "int" else (float(self.low), float(self.high))

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values whose validity implies that of all others."""
        return self.range if self.choices is None else self.choices

    @property
    def size(self) -> float:
        """The number of values; infinite for a continuous range."""
        if self.choices is not None:
            return len(self.choices)
        low, high = self.range
        step = self.step or (1 if self.kind == "int" else 0)
        return math.floor((high - low) / step + 1e-9) + 1 if step else math.inf

    def applies(self, values: Mapping[str, Value]) -> bool:
        """True if it has an effect beside `values` of the others."""
        return all(name in values and values[name] in allowed for name, allowed in self.when.items())

    def draw(self, rng: random.Random) -> Value:
        """A random value, uniform or uniform in the logarithm."""
        if self.choices is not None:
            return rng.choice(self.choices)
        low, high = self.range
        if self.log:
            return self.nearest(math.exp(rng.uniform(math.log(low), math.log(high))))
        if math.isinf(self.size):
            return self.nearest(rng.uniform(low, high))
        return self.nearest(low + (self.step or 1) * rng.randrange(int(self.size)))

    def nearest(self, value: Value) -> Value:
        """`value` itself, or the nearest one of the range, or the first choice. None gives the middle of the range."""
        if self.choices is not None:
            return value if value in self.choices else self.choices[0]
        low, high = self.range
        if not isinstance(value, int | float):
            value = math.sqrt(low * high) if self.log else (low + high) / 2
        step = self.step or (1 if self.kind == "int" else 0)
        if step:
            steps = round((value - low) / step)
            value = low + step * max(0, min(steps, int(self.size) - 1))
        inside = max(low, min(high, value))
        return int(inside) if self.kind == "int" else float(inside)


Hyperparameters = Mapping[str, Hyperparameter]


def in_order(space: Hyperparameters) -> Hyperparameters:
    """Topological order of the conditions: each hyper-parameter comes after those that its condition names.

    Raises ValueError if a condition names no other hyper-parameter with choices, is never true, or is in a cycle."""
    ordered: dict[str, Hyperparameter] = {}
    if len(space) > limits.HYPERPARAMETERS:
        raise ValueError(f"must have at most {limits.HYPERPARAMETERS} hyper-parameters, but has {len(space)}")
    for name, one in space.items():
        for other, allowed in one.when.items():
            possible = space[other].choices if other in space and other != name else None
            if possible is None:
                hint = did_you_mean(other, [n for n, parent in space.items() if parent.choices is not None])
                raise ValueError(f"{name}.when: {other!r} must be another one that has choices{hint}")
            for value in allowed:
                if value not in possible:
                    raise ValueError(f"{name}.when: {other} must be one of {list(possible)}, but got {value!r}")
    while len(ordered) < len(space):
        ready = next((n for n, one in space.items() if n not in ordered and one.when.keys() <= ordered.keys()), None)
        if ready is None:
            waiting = ", ".join(name for name in space if name not in ordered)
            raise ValueError(f"the conditions of {waiting} form a cycle; remove one")
        ordered[ready] = space[ready]
    named = {name for one in space.values() for name in one.when}
    if math.prod(len(space[name].choices or ()) for name in named) > limits.CONDITIONS:
        raise ValueError(
            f"the hyper-parameters that conditions name must have at most {limits.CONDITIONS:,} combinations of "
            f"values; give {', '.join(sorted(named)[:5])} fewer choices, or remove conditions"
        )
    return ordered


def settle(space: Hyperparameters, choose: Callable[[str, Hyperparameter], Value]) -> dict[str, Value]:
    """A value for each hyper-parameter that has an effect; `choose` is called for those alone, in order."""
    values: dict[str, Value] = {}
    for name, one in space.items():
        if one.applies(values):
            values[name] = choose(name, one)
    return values


def combinations(space: Hyperparameters) -> float:
    """The number of distinct results of `settle`."""
    decisive = {name for one in space.values() for name in one.when}

    def count(names: tuple[str, ...], values: Mapping[str, Value]) -> float:
        if not names:
            return 1
        one, rest = space[names[0]], names[1:]
        if not one.applies(values):
            return count(rest, values)
        if names[0] not in decisive:
            return one.size * count(rest, values)
        return sum(count(rest, {**values, names[0]: value}) for value in one.choices or ())

    return count(tuple(space), {})
