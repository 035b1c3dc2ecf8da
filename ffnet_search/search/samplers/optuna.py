"""Optuna's samplers by name: the one place that knows their arguments and their moods."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.config.schema import SamplerSection
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.pareto.front import dominator_counts
from ffnet_search.search.samplers.memory import in_memory
from ffnet_search.search.samplers.tpe import QuickTPESampler

# Of optuna.samplers, but no use here: abstract, for a fixed list of points, or (CMA-ES) random on categorical axes.
_EXCLUDED = {"BaseGASampler", "BaseSampler", "GridSampler", "PartialFixedSampler", "CmaEsSampler"}


# TPE weighs all trials for each configuration, ever longer. It loses nothing by being given the best and the newest
# of them
# (docs/log.md). At most twice as many are kept. Random proposals need none.
MEMORY = 500
FORGETFUL = QuickTPESampler, RandomSampler


def known_samplers() -> dict[str, type[BaseSampler]]:
    """Name -> class of every sampler that `search.sampler.class_path` can be."""
    found = {name: getattr(optuna.samplers, name) for name in optuna.samplers.__all__ if name not in _EXCLUDED}
    usable = {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, BaseSampler)}
    return {**usable, "TPESampler": QuickTPESampler}


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
    if section.class_path not in samplers:
        raise SweepError(
            f"search.sampler.class_path must be a sampler of optuna.samplers, but got {section.class_path!r}"
            f"{did_you_mean(section.class_path, samplers)}"
        )
    sampler, where = samplers[section.class_path], f"search.sampler.init_args of {section.class_path}"
    accepted = inspect.signature(sampler).parameters
    for name in section.init_args:
        if name == "seed":
            raise SweepError(f"{where}: 'seed' must not be given, since the sweep's own seed is used; remove it")
        if name not in accepted:
            raise SweepError(f"{where}: {name!r} is not a known argument{did_you_mean(name, accepted)}")
    args = dict(section.init_args)
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
                f"{where}, which are {dict(section.init_args)}, are refused by Optuna for {objectives} objective(s): "
                f"{' '.join(str(error).split())}"
            ) from None


def adopt(study: optuna.Study, trial: Trial) -> None:
    """Makes an enqueued trial one of the population, where there is one: Optuna leaves them out, and then a genetic
    sampler whose own proposals are all infeasible never gets beyond random ones."""
    if isinstance(study.sampler, BaseGASampler):
        study.sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[trial.number])


def expect(sampler: BaseSampler, wanted: int, new_key: Callable[[Mapping[str, Any]], str | None]) -> None:
    """Tells the sampler how many proposals will be asked for before anything is told, and which would be new, if it can
    make use of that."""
    if isinstance(sampler, QuickTPESampler):
        sampler.wanted, sampler.new_key = wanted, new_key


def shortened(study: optuna.Study) -> optuna.Study:
    """A study in memory with what `remembered` leaves where there is more, else the study as it is. Trials under way
    stay in the old one."""
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state.is_finished()] if len(trials) >= 2 * MEMORY else trials
    kept = remembered(study, finished)
    if len(kept) == len(finished):
        return study
    short = in_memory(study.directions, study.sampler)
    short.add_trials(kept)
    return short


def remembered(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
    """Of many finished trials the newest and, as many again, the best of the older ones; all where the study's sampler
    needs them."""
    if not isinstance(study.sampler, FORGETFUL) or len(trials) < 2 * MEMORY:
        return trials
    learnt_from = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    older, newest = learnt_from[: -MEMORY // 2], learnt_from[-MEMORY // 2 :]
    complete = [trial for trial in older if trial.state == TrialState.COMPLETE]
    best = [complete[at] for at in _by_rank(complete, study.directions)[: MEMORY // 2]]
    return [*sorted(best, key=lambda trial: trial.number), *newest]


def _by_rank(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[int]:
    """Indices, those first that are dominated by few others (Fonseca and Fleming 1993)."""
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]
    points_TM = np.array([trial.values for trial in trials]).reshape(len(trials), len(signs)) * signs
    order: list[int] = np.argsort(dominator_counts(points_TM), kind="stable").tolist()
    return order


def _try_out(sampler: BaseSampler, objectives: int) -> None:
    """Two trials on a study that is thrown away: some samplers refuse arguments or objectives only when asked."""
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
    for number in range(2):
        trial = study.ask({"x": CategoricalDistribution((0, 1)), "y": CategoricalDistribution((0, 1))})
        study.tell(trial, [float(number)] * objectives)
