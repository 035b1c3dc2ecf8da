"""What a search proposes and an evaluator scores: an architecture, the hyper-parameters to train it with, or both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ffnet_search.space.architecture import Architecture

Value = None | bool | int | float | str  # of a hyper-parameter: what Optuna, YAML and JSON all hold


@dataclass(frozen=True)
class Configuration:
    """Hashable, and light enough to be sent to any process.

    `architecture` is None where a network of the user's own is trained. `hyperparameters`: name -> value, only those
    that are searched and have an effect. `known`: metrics that are known before anything is trained (`latency_ms`,
    `params_m`, ...); no part of what the configuration is.
    """

    architecture: Architecture | None
    hyperparameters: Mapping[str, Value] = field(default_factory=dict, hash=False)
    known: Mapping[str, float] = field(default_factory=dict, hash=False, compare=False)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits that name the configuration everywhere: the architecture's own where there is no
        more."""
        own = "" if self.architecture is None else self.architecture.key
        if own and not self.hyperparameters:
            return own
        text = json.dumps([own, dict(self.hyperparameters)], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        """One line: `learning_rate 0.002, optimizer sgd | stem 8/1 | ...`."""
        words = ", ".join(f"{name} {_short(value)}" for name, value in self.hyperparameters.items())
        network = "" if self.architecture is None else str(self.architecture)
        return " | ".join(part for part in (words, network) if part)


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
