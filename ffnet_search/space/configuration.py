"""A configuration: an architecture, the hyper-parameters to train it with, or both. A trial evaluates one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ffnet_search.space.architecture import Architecture

Value = None | bool | int | float | str  # of a hyper-parameter: the types that Optuna, YAML and JSON share


@dataclass(frozen=True)
class Configuration:
    """A hashable value, light enough to be sent to any process.

    `architecture` is None where a user-supplied network is trained. `hyperparameters`: name -> value, only those that
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
