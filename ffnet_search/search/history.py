"""The history of a finished search: its trials in order, the excluded architectures, and the importance of each
axis."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.metrics import Metric
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.study import quiet_optuna, read_reference, read_trials
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.search_space import SearchSpace

MIN_CANDIDATES = 20  # candidates for importances: their best tenth is then two


@dataclass(frozen=True)
class LearningCurve:
    """The reports of trial `number` of one metric, epoch -> value; the last one is final, unless it was stopped."""

    number: int
    configuration: str
    values: Mapping[int, float]
    stopped: bool


@dataclass(frozen=True)
class History:
    """The trials of a search: those evaluated in order, and the number of those stopped early.

    `infeasible`: constraint -> the number of architectures that it excluded without evaluation (one may break several);
    `excluded`: their number in all. `failures`: (key, reason). `importances`: objective -> axis -> share, greatest
    first; empty below `MIN_CANDIDATES` candidates. `curves`: of `curved`, the first objective that trials report.
    `reference`: objective -> the worst value that was of interest to the sampler, empty if it had no such point."""

    evaluated: tuple[Candidate, ...]
    infeasible: Mapping[str, int]
    excluded: int
    failures: tuple[tuple[str, str], ...]
    importances: Mapping[str, Mapping[str, float]]
    stopped: int = 0
    curved: str = ""
    curves: tuple[LearningCurve, ...] = ()
    reference: Mapping[str, float] = field(default_factory=dict)


def read_history(path: Path, space: SearchSpace, objectives: Sequence[Metric]) -> History:
    """The history of the study at `path`. Raises SweepError if it is missing or broken."""
    trials = list(read_trials(path))
    records, reference = [TrialRecord.from_trial(trial) for trial in trials], read_reference(path)
    excluded = [record for record in records if record.state == "infeasible"]
    broken = Counter(name for record in excluded for name, excess in record.excess.items() if excess > 0)
    learnt = [record for record in records if record.reports and record.state != "failed"]
    reported = {name for record in learnt for metrics in record.reports.values() for name in metrics}
    curved = next((metric.key for metric in objectives if metric.key in reported), "")
    curves = (_curve(record, curved, space) for record in learnt)
    return History(
        evaluated=tuple(record.candidate(space) for record in records if record.state == "evaluated"),
        infeasible=dict(broken.most_common()),
        excluded=len(excluded),
        failures=tuple((record.key, record.reason or "unknown") for record in records if record.state == "failed"),
        importances=_importances(trials, objectives),
        stopped=sum(record.state == "stopped" for record in records),
        curved=curved,
        curves=tuple(curve for curve in curves if curve.values),
        reference={metric.key: reference[metric.key] for metric in objectives if metric.key in reference},
    )


def _curve(record: TrialRecord, metric: str, space: SearchSpace) -> LearningCurve:
    """Empty if the trial reported nothing finite of `metric`."""
    values = {
        epoch: metrics[metric]
        for epoch, metrics in record.reports.items()
        if math.isfinite(metrics.get(metric, math.nan))
    }
    stopped = record.state == "stopped"
    if values and not stopped:
        values[max(record.reports) + 1] = record.metrics[metric]
    return LearningCurve(record.number, str(record.configuration(space)), values, stopped)


def _importances(trials: Sequence[FrozenTrial], objectives: Sequence[Metric]) -> dict[str, dict[str, float]]:
    """The share of each axis in being among the best tenth, by objective: PED-ANOVA (Watanabe et al. 2023), which takes
    seconds for 5,000 trials, where random forests take minutes."""
    shares: dict[str, dict[str, float]] = {metric.key: {} for metric in objectives}
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(complete) < MIN_CANDIDATES:
        return shares
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # loads scikit-learn: a second

    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=[metric.direction for metric in objectives])
        for trial in complete:
            params = TrialRecord.from_trial(trial).final_params
            study.add_trial(create_trial(values=trial.values, params=params, distributions=trial.distributions))
        for index, metric in enumerate(objectives):

            def target(trial: FrozenTrial, sign: float = metric.sign, index: int = index) -> float:
                return sign * trial.values[index]  # the evaluator takes less for better

            if len({trial.values[index] for trial in complete}) > 1:
                shares[metric.key] = get_param_importances(
                    study, evaluator=PedAnovaImportanceEvaluator(), target=target
                )
    return shares
