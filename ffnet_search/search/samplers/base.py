"""The protocols of samplers: what a search asks for, and what one of Optuna's samplers may have on top.

A sampler is any `optuna.samplers.BaseSampler`: one of Optuna's by name, or a user-supplied one by import path. It needs
nothing of what is below; where it has one of the capabilities, the search uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from optuna.trial import FrozenTrial, Trial

from ffnet_search.search.archive import Entry
from ffnet_search.space.configuration import Configuration

# Parameters -> the key of their configuration; "" where they are too few for one, None where it is a repeat.
NewKey = Callable[[Mapping[str, Any]], str | None]


class Sampler(Protocol):
    """Proposes configurations as trials, and learns from what became of them: `optuna.OptunaSampler`."""

    def expect(self, wanted: int, new_key: NewKey) -> None:
        """Announce that `wanted` trials are asked for before the next one ends, and which ones would be new."""
        ...

    def ask(self, configuration: Configuration | None = None) -> Trial:
        """A trial with all its parameters, of the sampler's own choice or of this configuration."""
        ...

    def tell(self, trial: Trial, entry: Entry) -> FrozenTrial:
        """Learn what became of a trial. Returns the trial as it is to be stored."""
        ...

    @property
    def known(self) -> list[Mapping[str, Any]]:
        """The parameters of all trials with values."""
        ...


@runtime_checkable
class BatchSampler(Protocol):
    """The capability of a sampler of Optuna that draws several proposals from one fit, and avoids repeats."""

    def expect(self, wanted: int, new_key: NewKey) -> None:
        """Announce that `wanted` trials are asked for before the next one ends, and which ones would be new."""
        ...


@runtime_checkable
class ForgetfulSampler(Protocol):
    """The capability of a sampler of Optuna that proposes as well from part of the trials.

    `memory`: the number of trials, half of them the newest and half the best of the older ones, that it is left with
    once there are twice as many.
    """

    memory: int
