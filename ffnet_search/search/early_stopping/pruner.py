"""The pruner of a search: a stopping rule that all engines ask, in the process of the search, and the reports of the
trials in progress. Reports are stored with each trial, so a resumed search brings its rule to the same state."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.plugins import Registry, find_class
from ffnet_search.search.storage.trial_record import TrialRecord

RULES: Registry = {  # "none" is no rule; a user-supplied one is named by import path
    "asha": "ffnet_search.search.early_stopping.asha:SuccessiveHalving",
    "median": "ffnet_search.search.early_stopping.optuna_rules:MedianRule",
    "hyperband": "ffnet_search.search.early_stopping.optuna_rules:HyperbandRule",
}


class StoppingRule(Protocol):
    """Decides from the reports and their order alone, and decides the same where a report is repeated (a worker died).

    Its class is called with the `search` section of a sweep."""

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Return whether the trial `key`, with these metrics after `epoch` epochs, continues."""
        ...

    def finish(self, key: str) -> None:
        """Note that the trial `key` has trained all its epochs."""
        ...


def make_rule(section: SearchSection) -> StoppingRule | None:
    """The rule of `search.early_stopping`; None where nothing is stopped. Raises SweepError where it does not exist."""
    if section.early_stopping.rule == "none":
        return None
    kind = find_class(section.early_stopping.rule, "search.early_stopping.rule", registry=RULES)
    rule: StoppingRule = kind(section)
    return rule


class TrialPruner:
    """The `evaluation.outcome.Pruner` of a search, which several threads may ask. The rule None stops nothing."""

    def __init__(self, objectives: Sequence[str], rule: StoppingRule | None) -> None:
        self.objectives, self.rule = objectives, rule
        self._reports: dict[str, dict[int, Mapping[str, float]]] = {}  # key -> epoch -> metrics
        self._lock = threading.Lock()

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """See `evaluation.outcome.Pruner`. Raises SweepError where a rule lacks an objective."""
        missing = [name for name in self.objectives if name not in metrics]
        if self.rule and missing:
            raise SweepError(
                f"search.early_stopping: each objective must be reported after every epoch or known before training, "
                f"but {', '.join(missing)} is neither (there are {', '.join(metrics)}); use rule 'none'"
            )
        with self._lock:
            self._reports.setdefault(key, {})[epoch] = metrics
            return self.rule is None or self.rule.report(key, epoch, metrics)

    def reached(self, key: str) -> int:
        """The last epoch that a trial in progress has reported; 0 for none. Takes no lock: a process that ends calls
        it while others may hold that for ever."""
        return max(tuple(self._reports.get(key, ())), default=0)

    def close(self, key: str, *, finished: bool) -> dict[int, Mapping[str, float]]:
        """Forget a trial that has ended and return its reports; `finished`: it trained all its epochs."""
        with self._lock:
            if finished and self.rule:
                self.rule.finish(key)
            return self._reports.pop(key, {})

    def load(self, records: Iterable[TrialRecord]) -> None:
        """Repeat the reports of earlier runs to the rule. Failed trials are left out, since they are tried again."""
        if self.rule is None:
            return
        for record in records:
            if record.reports and record.state != "failed":
                for epoch, metrics in record.reports.items():
                    self.rule.report(record.key, epoch, {**record.metrics, **metrics})
                if record.state == "evaluated":
                    self.rule.finish(record.key)
