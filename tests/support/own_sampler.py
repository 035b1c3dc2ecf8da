"""A user-supplied sampler: Optuna's public interface, and nothing of this program."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class Alternating(BaseSampler):
    """Draws every parameter at random; with an even trial only from every `stride`-th choice."""

    def __init__(self, stride: int = 1, seed: int | None = None) -> None:
        if stride < 1:
            raise ValueError(f"stride must be > 0, but got {stride}")
        self.stride, self.rng = stride, random.Random(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
        stride = self.stride if trial.number % 2 == 0 else 1
        return self.rng.choice(distribution.choices[::stride])


class Raising(Alternating):
    """Raises after the trials that a search begins with."""

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
        if trial.number >= 12:
            raise KeyError(name)
        return super().sample_independent(study, trial, name, distribution)
