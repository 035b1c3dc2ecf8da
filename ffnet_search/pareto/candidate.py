"""A candidate: a configuration that was evaluated, with its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration, Value


@dataclass(frozen=True)
class Candidate:
    """The result of an evaluation.

    `architecture` is None if the network is a user-supplied module, which logs its own `metrics`. `hyperparameters`:
    those that were searched, as they were proposed; `final_hyperparameters`: those of the last epoch, which differ
    under population-based training alone. `record`: how it was trained, as plain data for a card."""

    architecture: Architecture | None
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)
    final_hyperparameters: Mapping[str, Value] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.final_hyperparameters:
            object.__setattr__(self, "final_hyperparameters", self.hyperparameters)

    @property
    def configuration(self) -> Configuration:
        """The configuration as it was proposed."""
        return Configuration(self.architecture, self.hyperparameters)

    @property
    def key(self) -> str:
        """The key of the configuration."""
        return self.configuration.key

    @property
    def network(self) -> Architecture:
        """The architecture, for callers that need one. Raises ValueError if there is none."""
        if self.architecture is None:
            raise ValueError(f"candidate {self.key} is not of an FFNet")
        return self.architecture
