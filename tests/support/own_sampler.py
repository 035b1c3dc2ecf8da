"""A user-supplied sampler: Optuna's public interface, and nothing of this program."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


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


class Aware(Alternating):
    """A sampler with both capabilities: `expect` and `memory`."""

    memory = 8
    seen: ClassVar[list[tuple[int, int]]] = []  # (wanted, trials of the study) at each proposal
    repeats_were_known: ClassVar[bool] = True

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self.expect(1, lambda params: None)

    def expect(self, wanted: int, new_key: Callable[[Mapping[str, Any]], str | None]) -> None:
        self.wanted, self.new_key = wanted, new_key

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.seen.append((self.wanted, len(study.get_trials(deepcopy=False))))
        for known in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if self.new_key(known.params) is not None:
                type(self).repeats_were_known = False
