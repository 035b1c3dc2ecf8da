"""Pruners of Optuna as stopping rules, for one objective."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from optuna.trial import Trial, TrialState

from ffnet_search.config.search_schema import SearchSection


class OptunaRule:
    """One of `optuna.pruners`, on a separate study that holds reports alone."""

    def __init__(self, section: SearchSection, pruner: BasePruner) -> None:
        ((self._objective, direction),) = section.directions.items()
        # Hyperband draws brackets from the name.
        self._study = optuna.create_study(direction=direction, pruner=pruner, study_name="early stopping")
        self._trials: dict[str, Trial] = {}
        self._answers: dict[str, dict[int, bool]] = defaultdict(dict)  # key -> epoch -> answer
        self._last: dict[str, float] = {}

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """See `pruner.StoppingRule`."""
        answers = self._answers[key]
        if epoch not in answers:
            if key not in self._trials:
                self._trials[key] = self._study.ask()
            self._last[key] = metrics[self._objective]
            self._trials[key].report(self._last[key], epoch)
            answers[epoch] = not self._trials[key].should_prune()
            if not answers[epoch]:
                self._study.tell(self._trials[key], state=TrialState.PRUNED)
        return answers[epoch]

    def finish(self, key: str) -> None:
        """See `pruner.StoppingRule`."""
        if key in self._trials:
            self._study.tell(self._trials[key], self._last[key])


class MedianRule(OptunaRule):
    """Stops a trial that is worse than the median of the others at the same epoch."""

    def __init__(self, section: SearchSection) -> None:
        super().__init__(section, MedianPruner(n_warmup_steps=section.early_stopping.min_epochs))


class HyperbandRule(OptunaRule):
    """Hyperband (Li et al., arXiv 1603.06560)."""

    def __init__(self, section: SearchSection) -> None:
        how = section.early_stopping
        pruner = HyperbandPruner(how.min_epochs, how.max_epochs or "auto", reduction_factor=how.reduction)
        super().__init__(section, pruner)
