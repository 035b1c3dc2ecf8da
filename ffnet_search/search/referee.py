"""Which trials go on: the rule of a sweep, asked by every engine after each epoch of each trial, and what it was told.

The rule runs in the process of the search, wherever the trials do: what was reported is kept with each trial in the
study, and a rule that is told it again is as it was.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Protocol

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from optuna.trial import Trial, TrialState

from ffnet_search.early_stopping import SuccessiveHalving
from ffnet_search.errors import SweepError
from ffnet_search.sections import SearchSection

Reports = dict[int, dict[str, float]]  # epoch -> metrics


class Rule(Protocol):
    """Answers from the reports that it was told and their order alone, and the same when one is told again."""

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool: ...
    def finish(self, key: str) -> None:
        """Trial `key` has trained all its epochs."""
        ...


class Referee:
    """A rule that several threads may ask, and its protocol of the trials under way."""

    def __init__(self, section: SearchSection) -> None:
        self.objectives = section.objectives
        self._rule = make_rule(section)
        self._reports: dict[str, Reports] = {}
        self._lock = threading.Lock()

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """See `attempt.Referee`. Raises SweepError where an objective is neither reported nor known before training."""
        missing = [name for name in self.objectives if name not in metrics]
        if self._rule and missing:
            raise SweepError(
                f"search.early_stopping: each objective must be reported after every epoch or known before training, "
                f"but {', '.join(missing)} is neither (there are {', '.join(metrics)}); use rule 'none'"
            )
        with self._lock:
            self._reports.setdefault(key, {})[epoch] = dict(metrics)
            return self._rule is None or self._rule.report(key, epoch, metrics)

    def close(self, key: str, *, finished: bool) -> Reports:
        """What was reported of a trial that is over; `finished`: by itself, at its last epoch."""
        with self._lock:
            if finished and self._rule:
                self._rule.finish(key)
            return self._reports.pop(key, {})

    def recall(self, key: str, reports: Reports, *, finished: bool) -> None:
        """Tells the rule what became of a trial of an earlier run."""
        for epoch in sorted(reports):
            self.report(key, epoch, reports[epoch])
        self.close(key, finished=finished)


def make_rule(section: SearchSection) -> Rule | None:
    """The rule of `search.early_stopping`; None where nothing is stopped."""
    how = section.early_stopping
    if how.rule == "none":
        return None
    if how.rule == "asha":
        fields = how.model_dump(exclude={"rule"})
        return SuccessiveHalving(section.directions, section.constraints, **fields)
    if how.rule == "median":
        return OptunaPruner(MedianPruner(n_warmup_steps=how.min_epochs), section)
    longest = how.max_epochs or "auto"
    return OptunaPruner(HyperbandPruner(how.min_epochs, longest, reduction_factor=how.reduction), section)


class OptunaPruner:
    """One of `optuna.pruners` as a rule, on a study of its own that holds reports alone."""

    def __init__(self, pruner: BasePruner, section: SearchSection) -> None:
        ((self._objective, direction),) = section.directions.items()
        # Hyperband draws brackets from the name.
        self._study = optuna.create_study(direction=direction, pruner=pruner, study_name="early stopping")
        self._trials: dict[str, Trial] = {}
        self._answers: dict[str, dict[int, bool]] = defaultdict(dict)  # key -> epoch -> answer
        self._last: dict[str, float] = {}

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
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
        if key in self._trials:
            self._study.tell(self._trials[key], self._last[key])
