"""Which trials go on: the rule of a sweep, asked by every engine after each epoch of each trial, and what it was told.

The rule runs in the process of the search, wherever the trials do: what was reported is kept with each trial in the
study, and a rule that is told it again is as it was.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.config.schema import SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.search.early_stopping.asha import SuccessiveHalving
from ffnet_search.search.storage.study import metrics_of, reports_of
from ffnet_search.space.configuration import Configuration


class StoppingRule(Protocol):
    """Answers from the reports that it was told and their order alone, and the same when one is told again."""

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool: ...
    def finish(self, key: str) -> None:
        """Trial `key` has trained all its epochs."""
        ...


class TrialPruner:
    """The `attempt.Pruner` of a search: a rule (None stops nothing) that several threads may ask, and what was
    reported of the trials under way."""

    def __init__(self, objectives: Sequence[str], rule: StoppingRule | None) -> None:
        self.objectives, self.rule = objectives, rule
        self._reports: dict[str, dict[int, Mapping[str, float]]] = {}  # key -> epoch -> metrics
        self._lock = threading.Lock()

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Raises SweepError where a rule needs an objective that is neither reported nor known before training."""
        missing = [name for name in self.objectives if name not in metrics]
        if self.rule and missing:
            raise SweepError(
                f"search.early_stopping: each objective must be reported after every epoch or known before training, "
                f"but {', '.join(missing)} is neither (there are {', '.join(metrics)}); use rule 'none'"
            )
        with self._lock:
            self._reports.setdefault(key, {})[epoch] = metrics
            return self.rule is None or self.rule.report(key, epoch, metrics)

    def close(self, configuration: Configuration, trial: Trial, *, finished: bool) -> None:
        """Moves the reports of a trial that is over into `trial`, where it has one objective as Optuna's intermediate
        values too; `finished`: it is over by itself."""
        with self._lock:
            reports = self._reports.pop(configuration.key, {})
            if finished and self.rule:
                self.rule.finish(configuration.key)
        learnt = {e: {n: x for n, x in found.items() if n not in configuration.known} for e, found in reports.items()}
        if learnt:
            trial.set_user_attr("reports", learnt)
        if len(self.objectives) == 1:
            for epoch, metrics in reports.items():
                trial.report(metrics[self.objectives[0]], epoch)

    def recall(self, trials: Iterable[FrozenTrial]) -> None:
        """Tells the rule what became of the trials of earlier runs, as far as they trained."""
        for trial in trials:
            reports = reports_of(trial)
            if self.rule and reports and trial.state != TrialState.FAIL:  # what failed is tried again
                key, known = trial.user_attrs["key"], metrics_of(trial)
                for epoch, metrics in reports.items():
                    self.rule.report(key, epoch, {**known, **metrics})
                if trial.state == TrialState.COMPLETE:
                    self.rule.finish(key)


def make_rule(section: SearchSection) -> StoppingRule | None:
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
