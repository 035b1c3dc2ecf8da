"""Optuna's samplers by name: the one place that knows their arguments and their moods."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.sections import SamplerSection

# Of optuna.samplers, but no use here: abstract, for a fixed list of points, or (CMA-ES) random on categorical axes.
_EXCLUDED = {"BaseGASampler", "BaseSampler", "GridSampler", "PartialFixedSampler", "CmaEsSampler"}


# TPE weighs all trials for each proposal: 18 ms at 44 axes and 1,000 trials, 83 at 4,000. It loses nothing by being
# given the best and the newest of them (docs/log.md). At most twice as many are kept.
MEMORY = {"TPESampler": 500}


def known_samplers() -> dict[str, type[BaseSampler]]:
    """Name -> class of every sampler that `search.sampler.name` can be."""
    found = {name: getattr(optuna.samplers, name) for name in optuna.samplers.__all__ if name not in _EXCLUDED}
    return {name: value for name, value in found.items() if isinstance(value, type) and issubclass(value, BaseSampler)}


def make_sampler(
    section: SamplerSection, seed: int, finished: int, objectives: int, *, conditional: bool = False
) -> BaseSampler:
    """The sampler of a sweep, for a study that has `finished` trials.

    `conditional`: not every trial has all parameters. A multivariate TPE then looks at each group of them that occur
    together, where else it would leave the conditional ones to be sampled one by one.

    The draws of a resumed search are new ones: the same seed again would replay the proposals of the first run. Raises
    SweepError where Optuna has no such sampler, or it does not take the arguments or the number of objectives.
    """
    samplers = known_samplers()
    if section.name not in samplers:
        raise SweepError(
            f"search.sampler.name must be a sampler of optuna.samplers, but got {section.name!r}"
            f"{did_you_mean(section.name, samplers)}"
        )
    sampler, where = samplers[section.name], f"search.sampler.args of {section.name}"
    accepted = inspect.signature(sampler).parameters
    for name in section.args:
        if name == "seed":
            raise SweepError(f"{where}: 'seed' must not be given, since the sweep's own seed is used; remove it")
        if name not in accepted:
            raise SweepError(f"{where}: {name!r} is not a known argument{did_you_mean(name, accepted)}")
    args = dict(section.args)
    if conditional and args.get("multivariate") and "group" in accepted:
        args.setdefault("group", True)
    seeds = {"seed": random.Random(f"{seed}/{finished}").getrandbits(32)} if "seed" in accepted else {}
    with warnings.catch_warnings():
        # Experimental and deprecated ones warn; whoever names them in a sweep has chosen them.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        try:
            _try_out(sampler(**args, **seeds), objectives)
            return sampler(**args, **seeds)
        except (TypeError, ValueError, ImportError) as error:
            raise SweepError(
                f"{where}, which are {dict(section.args)}, are refused by Optuna for {objectives} objective(s): "
                f"{' '.join(str(error).split())}"
            ) from None


def adopt(study: optuna.Study, trial: Trial) -> None:
    """Makes an enqueued trial one of the population, where there is one: Optuna leaves them out, and then a genetic
    sampler whose own proposals are all infeasible never gets beyond random ones."""
    if isinstance(study.sampler, BaseGASampler):
        study.sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[trial.number])


def shortened(study: optuna.Study) -> optuna.Study:
    """A study in memory with the newest trials and, as many again, the best of the older ones, where the sampler would
    be slowed down by more; else the study as it is. Trials under way stay in the old one."""
    kept = MEMORY.get(type(study.sampler).__name__)
    trials = study.get_trials(deepcopy=False)
    if kept is None or len(trials) < 2 * kept:
        return study
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    older, newest = finished[: -kept // 2], finished[-kept // 2 :]
    complete = [trial for trial in older if trial.state == TrialState.COMPLETE]
    best = [complete[at] for at in _by_rank(complete, study.directions)[: kept // 2]]
    short = optuna.create_study(directions=study.directions, sampler=study.sampler)
    short.add_trials(sorted(best, key=lambda trial: trial.number) + newest)
    return short


def _by_rank(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[int]:
    """Indices, those first that are dominated by few others (Fonseca and Fleming 1993)."""
    signs = [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in directions]
    gain_TO = np.array([trial.values for trial in trials]).reshape(len(trials), len(signs)) * signs
    no_worse_TT = (gain_TO[:, None] >= gain_TO[None]).all(-1)
    better_TT = (gain_TO[:, None] > gain_TO[None]).any(-1)
    order: list[int] = np.argsort((no_worse_TT & better_TT).sum(0), kind="stable").tolist()
    return order


def _try_out(sampler: BaseSampler, objectives: int) -> None:
    """Two trials on a study that is thrown away: some samplers refuse arguments or objectives only when asked."""
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
    for number in range(2):
        trial = study.ask({"x": CategoricalDistribution((0, 1)), "y": CategoricalDistribution((0, 1))})
        study.tell(trial, [float(number)] * objectives)
