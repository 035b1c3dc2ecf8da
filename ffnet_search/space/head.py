"""The axes of a task's head and their choices, each declared once: a field of a subclass of `Head` is the declaration.

Everything that lists axes of heads iterates over `Head.axes()`: the choices of a search space, its size, the plan of a
latency table, the check of what fits inside a supernet, the one-line form of an architecture. A head without fields has
no choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ffnet_search.errors import did_you_mean
from ffnet_search.space.block import Choice, no_repeats
from ffnet_search.strict_yaml import as_list

HeadChoices = Annotated[tuple[Choice, ...], BeforeValidator(as_list), AfterValidator(no_repeats), Field(min_length=1)]


@dataclass(frozen=True)
class HeadAxis:
    """An axis of a head. Without `allowed`, its choices are sizes of 1 at least: a larger one holds the smaller ones as
    crops. With it, they are among these, the largest network's first, and all share the same weights.

    `short` formats a choice in the one-line form of an architecture and in its drawing."""

    default: Choice
    allowed: tuple[Choice, ...] = ()
    short: str = "{0}"

    def check(self, value: Any, name: str) -> None:
        """Raise ValueError if a head cannot have this choice. `name` opens the sentence."""
        if self.allowed and value not in self.allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(str, self.allowed))}, but got {value!r}")
        if not self.allowed and not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{name} must be a number >= 1, but got {value!r}")

    def extreme(self, choices: Sequence[Any], pick: Callable[..., Any]) -> Any:
        """The choice of the largest or smallest network; `pick` is max or min."""
        return pick(choices, key=lambda one: -self.allowed.index(one)) if self.allowed else pick(choices)

    def fits(self, value: Any, bound: Any) -> bool:
        """True if weights for `bound` hold those for `value`."""
        return bool(self.allowed) or bool(value <= bound)


@dataclass(frozen=True)
class Head:
    """The choices of a network's head: none. A task whose head has axes names a subclass, with a field for each."""

    def __post_init__(self) -> None:
        for name, axis in self.axes().items():
            axis.check(getattr(self, name), f"head.{name}")

    @classmethod
    @lru_cache
    def axes(cls) -> Mapping[str, HeadAxis]:
        """The axes by name."""
        return {one.name: one.metadata["axis"] for one in fields(cls)}

    @classmethod
    def check_choices(cls, choices: Mapping[str, Sequence[Choice]]) -> None:
        """Raise ValueError for an unknown axis, or a choice that cannot be built."""
        axes = cls.axes()
        for name, values in choices.items():
            if name not in axes:
                if not axes:
                    raise ValueError("head must be left out: the head of this task has no axes")
                raise ValueError(f"head.{name} must be one of {', '.join(axes)}{did_you_mean(name, axes)}")
            for value in values:
                axes[name].check(value, f"head.{name}")

    def check(self, strides: Sequence[int]) -> None:
        """Raise ValueError if the head does not fit a trunk whose stages have these strides."""

    def fits(self, bound: Head) -> bool:
        """True if weights for `bound` hold those for this head."""
        axes = self.axes().items()
        return type(self) is type(bound) and all(axis.fits(getattr(self, n), getattr(bound, n)) for n, axis in axes)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Leave reading, in pydantic models, to the architecture around the head, which knows the task."""
        write = core_schema.plain_serializer_function_ser_schema(lambda head: dict(vars(head)))
        return core_schema.is_instance_schema(Head, serialization=write)

    def __str__(self) -> str:
        """The choices in a few letters: `w32 s4 logits`."""
        return " ".join(axis.short.format(getattr(self, name)) for name, axis in self.axes().items())


def without_empty_head(content: Mapping[str, Any]) -> dict[str, Any]:
    """The plain data of a search space, without a head that has no choices."""
    return {name: value for name, value in content.items() if name != "head" or value}


NO_CHOICES = Head()
