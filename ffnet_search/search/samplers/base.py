"""The protocol of the sampler of a search, and optional capabilities of Optuna's samplers.

`search.sampler` names any `optuna.samplers.BaseSampler`: one of Optuna's by name, or a user-supplied one by import
path. It needs none of the capabilities below; where it has one, the search uses it.
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
    """Proposes configurations as trials, and learns from their results: `optuna.OptunaSampler`."""

    def expect(self, wanted: int, new_key: NewKey) -> None:
        """Announce that `wanted` trials are asked for before the next one ends, and which ones would be new."""
        ...

    def ask(self, configuration: Configuration | None = None) -> Trial:
        """A trial with all its parameters, of the sampler's own choice or of this configuration."""
        ...

    def tell(self, trial: Trial, entry: Entry) -> FrozenTrial:
        """Learn the result of a trial. Returns the trial as it is to be stored."""
        ...

    @property
    def known(self) -> list[Mapping[str, Any]]:
        """The parameters of all trials with values."""
        ...


@runtime_checkable
class BatchSampler(Protocol):
    """The capability to draw several proposals from one fit, and to avoid repeats."""

    def expect(self, wanted: int, new_key: NewKey) -> None:
        """Announce that `wanted` trials are asked for before the next one ends, and which ones would be new."""
        ...


@runtime_checkable
class ForgetfulSampler(Protocol):
    """The capability to propose as well from part of the trials.

    `memory`: the number of trials that are kept once there are twice as many: half the newest, half the best others.
    """

    memory: int
