"""A trial as it is stored: the one place that knows the names of its attributes.

Attributes are flat, as Optuna Dashboard shows them: every one that is not a field of `TrialRecord` is a metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from optuna.trial import FrozenTrial, TrialState

from ffnet_search.errors import SweepError, shown
from ffnet_search.evaluation.outcome import Ended, Failed, Stopped
from ffnet_search.evaluation.schedule import describe, final_hyperparameters, schedule_of
from ffnet_search.metrics import Figures
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.trial_params import configuration_of
from ffnet_search.search.storage.trial_reader import trial_id
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

State = Literal["evaluated", "infeasible", "stopped", "failed"]
# Optuna's PRUNED is two states, neither of which may be on a front. An infeasible configuration is never evaluated and
# has no values: samplers learn from its constraints. A stopped trial has trained for some epochs, and has an attribute.
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "evaluated",
    TrialState.PRUNED: "infeasible",
    TrialState.FAIL: "failed",
}
ATTRIBUTES = ("key", "architecture", "origin", "stopped", "reports", "record", "schedule", "reason", "traceback")
KINDS: Mapping[str, type] = {  # attribute -> its types, as JSON gives them
    **dict.fromkeys(("key", "architecture", "origin", "schedule", "reason", "traceback"), str),
    **dict.fromkeys(("reports", "record"), dict),
    "stopped": int,
}
EMPTY = {name: kind() for name, kind in KINDS.items()}


def _damaged(number: int, problem: str) -> SweepError:
    return SweepError(f"trial {number} of the study is damaged: {problem}; restore the study, or move it away")


@dataclass(frozen=True)
class TrialRecord:
    """The stored content of a trial.

    `origin`: who proposed it. `stopped`: the epoch after which a pruner ended it. `reports`: epoch -> metrics.
    `record`: how it was trained; `schedule`: its hyper-parameters over the epochs in words, where they changed. The
    last five are the trial's own: `id` in its storage, by which the dashboard's notes name it; `excess` by constraint.
    """

    key: str
    architecture: str = ""
    origin: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    stopped: int | None = None
    reports: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""
    reason: str = ""
    traceback: str = ""
    state: State = "infeasible"
    number: int = -1
    id: int = -1
    params: Mapping[str, Any] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_trial(cls, trial: FrozenTrial) -> TrialRecord:
        """The record of a finished trial. Raises SweepError if an attribute is of another type."""
        stored = {"key": "?", **trial.user_attrs}
        for name, kinds in KINDS.items():
            if not isinstance(stored.get(name, EMPTY[name]), kinds):
                raise _damaged(trial.number, f"{name} is {shown(stored[name])}")
        fields = {name: stored[name] for name in ATTRIBUTES if name in stored}
        if "reports" in fields:  # JSON has made strings of the epochs
            try:
                fields["reports"] = {int(epoch): Figures.read(one, "") for epoch, one in fields["reports"].items()}
            except ValueError as error:
                raise _damaged(trial.number, f"reports: {error}") from None
        metrics = {n: value for n, value in stored.items() if n not in ATTRIBUTES and isinstance(value, float)}
        try:
            fields["metrics"] = Figures.read(metrics, f"trial {trial.number} of the study")
        except ValueError as error:
            raise _damaged(trial.number, str(error)) from None
        for name, excess in trial.constraints.items():
            if not isinstance(excess, float | int):
                raise _damaged(trial.number, f"the constraint {shown(name)} is {shown(excess)}")
        fields["state"] = "stopped" if "stopped" in stored else STATES[trial.state]
        return cls(**fields, number=trial.number, id=trial_id(trial), params=trial.params, excess=trial.constraints)

    def to_attrs(self) -> dict[str, Any]:
        """The attributes of the trial. Those that are empty are left out, but for the three that every trial has."""
        attributes = {"key": self.key, "architecture": self.architecture, "origin": self.origin, **self.metrics}
        for name in ATTRIBUTES:
            value = getattr(self, name)
            if value not in (None, "", {}):
                attributes[name] = value
        return attributes

    def ended(self, outcome: Ended, reports: Mapping[int, Mapping[str, float]]) -> TrialRecord:
        """This record with the outcome of the evaluation."""
        if isinstance(outcome, Failed):
            return replace(self, state="failed", reports=reports, reason=outcome.reason, traceback=outcome.traceback)
        learnt = replace(self, reports=reports, metrics={**self.metrics, **outcome.metrics})
        if isinstance(outcome, Stopped):
            return replace(learnt, state="stopped", stopped=outcome.epochs)
        schedule = describe(schedule_of(outcome.record))
        return replace(learnt, state="evaluated", record=outcome.record, schedule=schedule)

    @property
    def is_feasible(self) -> bool:
        """True if it keeps all constraints."""
        return all(excess <= 0 for excess in self.excess.values())

    @property
    def final_params(self) -> dict[str, Any]:
        """The parameters of its last epoch."""
        return {**self.params, **final_hyperparameters(schedule_of(self.record), {})}

    def configuration(self, space: SearchSpace) -> Configuration:
        """The configuration as it was proposed. Raises SweepError if it is not of the space."""
        try:
            return configuration_of(space, self.params)
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(self.number, f"its parameters are not of the search space: {error}") from None

    def candidate(self, space: SearchSpace) -> Candidate:
        """The candidate of an evaluated trial."""
        proposed = self.configuration(space)
        try:
            final = final_hyperparameters(schedule_of(self.record), proposed.hyperparameters)
        except (TypeError, AttributeError):
            raise _damaged(self.number, f"its schedule is {shown(self.record.get('schedule'))}") from None
        return Candidate(proposed.architecture, self.metrics, proposed.hyperparameters, self.record, final)
