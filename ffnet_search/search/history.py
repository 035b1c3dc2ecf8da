"""A finished search as a person looks back at it: what was tried in which order, what was not, and what mattered."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.study import (
    candidate_of,
    quiet_optuna,
    read_trials,
    reports_of,
    state_of,
    trained_with,
)
from ffnet_search.space.search_space import SearchSpace

ENOUGH = 20  # candidates, of which the best tenth is then two: fewer say nothing about what mattered


@dataclass(frozen=True)
class LearningCurve:
    """What trial `number` reported as it trained: epoch -> value, the last one of a trial that was not stopped being
    what it ended with."""

    number: int
    configuration: str
    values: Mapping[int, float]
    stopped: bool


@dataclass(frozen=True)
class History:
    """`evaluated` in order. `infeasible`: limit -> how many architectures it ruled out, unevaluated (one may break
    several); `excluded`: how many in all. `failures`: (key, reason). `importances`: objective -> axis -> share, most
    important first; empty where too little was evaluated. `stopped`: how many were ended early. `curves`: of the first
    objective that trials report."""

    evaluated: tuple[Candidate, ...]
    infeasible: Mapping[str, int]
    excluded: int
    failures: tuple[tuple[str, str], ...]
    importances: Mapping[str, Mapping[str, float]]
    stopped: int = 0
    curved: str = ""
    curves: tuple[LearningCurve, ...] = ()


def read_history(path: Path, space: SearchSpace, objectives: Mapping[str, Direction]) -> History:
    """Of the study at `path`. Raises SweepError where it is missing or broken."""
    trials = read_trials(path)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if state_of(trial) == "infeasible"]
    broken = Counter(name for trial in pruned for name, excess in trial.constraints.items() if excess > 0)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    learnt = [trial for trial in trials if reports_of(trial) and trial.state != TrialState.FAIL]
    reported = {name for trial in learnt for metrics in reports_of(trial).values() for name in metrics}
    curved = next((name for name in objectives if name in reported), "")
    return History(
        tuple(candidate_of(space, trial) for trial in complete),
        dict(broken.most_common()),
        len(pruned),
        tuple((trial.user_attrs.get("key", "?"), trial.user_attrs.get("reason", "unknown")) for trial in failed),
        _importances(complete, objectives),
        sum(state_of(trial) == "stopped" for trial in trials),
        curved,
        tuple(curve for trial in learnt if (curve := _curve(trial, curved, space)).values),
    )


def _curve(trial: FrozenTrial, metric: str, space: SearchSpace) -> LearningCurve:
    """Empty where the trial did not report `metric`, or nothing finite."""
    reports, stopped = reports_of(trial), state_of(trial) == "stopped"
    values = {
        epoch: metrics[metric] for epoch, metrics in reports.items() if math.isfinite(metrics.get(metric, math.nan))
    }
    if values and not stopped:
        values[max(reports) + 1] = trial.user_attrs[metric]
    return LearningCurve(trial.number, str(candidate_of(space, trial).configuration), values, stopped)


def _importances(complete: Sequence[FrozenTrial], objectives: Mapping[str, Direction]) -> dict[str, dict[str, float]]:
    """Of each axis for being in the best tenth: PED-ANOVA (Watanabe et al. 2023), of which 5,000 trials take seconds
    where random forests take minutes."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # brings scikit-learn: a second

    shares: dict[str, dict[str, float]] = {name: {} for name in objectives}
    if len(complete) < ENOUGH:
        return shares
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=list(objectives.values()))
        study.add_trials(
            create_trial(values=trial.values, params=dict(trained_with(trial)), distributions=trial.distributions)
            for trial in complete
        )
        for index, (name, direction) in enumerate(objectives.items()):
            sign = -1.0 if direction == "maximize" else 1.0  # the evaluator takes less for better

            def target(trial: FrozenTrial, sign: float = sign, index: int = index) -> float:
                return sign * trial.values[index]

            if len({trial.values[index] for trial in complete}) > 1:
                shares[name] = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), target=target)
    return shares
