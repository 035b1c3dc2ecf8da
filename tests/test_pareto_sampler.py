"""Our sampler by Optuna's public interface alone: what it may propose, and that it repeats itself."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from time import sleep
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import TrialState

from ffnet_search.pareto.front import hypervolume
from ffnet_search.search.samplers import acquisition, pareto
from ffnet_search.search.samplers.pareto import Known, ParetoSampler
from ffnet_search.search.samplers.proposal import SMALL

START = 6
Objective = Callable[[optuna.Trial], Sequence[float]]


def mixed(trial: optuna.Trial) -> Sequence[float]:
    """Axes of all kinds, one of them conditional."""
    kind = trial.suggest_categorical("kind", ["plain", "wide", "deep"])
    width = trial.suggest_categorical("width", [16, 32, 48])
    depth = trial.suggest_int("depth", 1, 5)
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    step = trial.suggest_float("step", 0.0, 1.0, step=0.25)
    gate = trial.suggest_float("gate", 0.0, 1.0) if kind == "wide" else 0.5
    cost = width * depth
    return [abs(np.log10(rate) + 2) + gate - depth / 5, cost, step * cost + (kind == "deep"), width - gate]


def study_of(objectives: int, seed: int = 0, **options: Any) -> optuna.Study:
    sampler = ParetoSampler(seed=seed, start=START, **options)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def proposed(study: optuna.Study) -> list[Mapping[str, Any]]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_a_resumed_study_proposes_what_an_uninterrupted_one_would(objectives: int) -> None:
    def objective(trial: optuna.Trial) -> Sequence[float]:
        return mixed(trial)[:objectives]

    whole, other = study_of(objectives), study_of(objectives, seed=1)
    for study in (whole, other):
        study.optimize(objective, n_trials=14)
    for finished in (3, 9):
        resumed = study_of(objectives)
        resumed.add_trials(whole.trials[:finished])
        resumed.optimize(objective, n_trials=14 - finished)
        assert proposed(resumed) == proposed(whole)
    assert proposed(whole) != proposed(other)
    assert all(("gate" in params) == (params["kind"] == "wide") for params in proposed(whole))


def test_axes_without_effect_are_proposed_with_the_others() -> None:
    alone: list[int] = []

    class Spy(ParetoSampler):
        def sample_independent(self, study: optuna.Study, trial: optuna.trial.FrozenTrial, *axis: Any) -> Any:
            alone.append(trial.number)
            return super().sample_independent(study, trial, *axis)

    def known(params: Mapping[str, Any]) -> Known:
        effective = {name: value for name, value in params.items() if name != "gate" or params["kind"] == "wide"}
        return Known(params=effective)

    nine = CategoricalDistribution(range(9))
    axes = {"kind": CategoricalDistribution(["plain", "wide"]), "gate": nine, "width": nine}
    study = optuna.create_study(directions=["minimize"], sampler=Spy(seed=0, start=4, known=known))
    for _ in range(16):
        trial = study.ask(axes)
        assert trial.params.keys() == axes.keys()
        study.tell(trial, float(trial.params["width"] + (trial.params["kind"] == "wide")))
    assert set(alone) == {0}  # only the first has no others to learn its axes from
    assert "plain" in [params["kind"] for params in proposed(study)[4:]]


def test_nothing_is_proposed_twice_until_all_is_known() -> None:
    study = study_of(2)
    for _ in range(12):
        trial = study.ask()
        x, y = (trial.suggest_categorical(name, range(size)) for name, size in (("x", 3), ("y", 4)))
        study.tell(trial, (x + y, x * y))
    assert len({tuple(params.items()) for params in proposed(study)}) == 12
    again = study.ask()
    assert again.suggest_categorical("x", range(3)) in range(3)


CHAIN = {f"axis{at}": CategoricalDistribution([0, 1, 2, 3]) for at in range(8)}


def test_what_is_left_of_a_space_too_large_to_list_is_found() -> None:
    axes = {
        "a": IntDistribution(0, 7),
        "b": IntDistribution(0, 7),
        "c": IntDistribution(0, 7),
        "d": IntDistribution(0, 4),
    }
    configurations = list(itertools.product(range(8), range(8), range(8), range(5)))
    assert len(configurations) > SMALL
    random.Random(0).shuffle(configurations)
    left, known = configurations[:12], configurations[12:]
    study = study_of(2)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=dict(zip(axes, row, strict=True)), distributions=axes, values=[sum(row), row[0] - row[3]]
            )
            for row in known
        ]
    )
    for _ in left:
        trial = study.ask(axes)
        study.tell(trial, [sum(trial.params.values()), trial.params["a"] - trial.params["d"]])
    assert {tuple(params.values()) for params in proposed(study)[len(known) :]} == set(left)


def chain(params: Mapping[str, Any]) -> tuple[float, float]:
    """Quality, which neighbours add to, and cost."""
    numbers = [params[name] for name in CHAIN]
    pairs = sum(one * two for one, two in pairwise(numbers))
    return float(np.sqrt(sum(numbers)) + 0.1 * pairs), 1 + sum(n * (at + 1) for at, n in enumerate(numbers)) / 10


def searched(study: optuna.Study, evaluations: int, limit: float = 6.0) -> optuna.Study:
    """Over-limit configurations are pruned, and cost nothing."""
    evaluated = 0
    while evaluated < evaluations:
        trial = study.ask(CHAIN)
        quality, cost = chain(trial.params)
        trial.set_constraint("cost", cost / limit - 1)
        if cost > limit:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, (quality, cost))
            evaluated += 1
    return study


def known_cost(params: Mapping[str, Any]) -> Known:
    cost = chain(params)[1]
    return Known({1: cost}, {"cost": cost / 6.0 - 1})


def volume(study: optuna.Study) -> float:
    return hypervolume([trial.values for trial in study.best_trials], (1.0, 6.0), ("maximize", "minimize"))


def test_it_finds_more_than_random_search_and_the_more_the_more_is_known() -> None:
    directions = ["maximize", "minimize"]
    samplers = [RandomSampler(seed=0), ParetoSampler(0, start=START), ParetoSampler(0, start=START, known=known_cost)]
    studies = [searched(optuna.create_study(directions=directions, sampler=one), 30) for one in samplers]
    random, learnt, known = map(volume, studies)
    assert random < 0.95 * learnt
    assert random < 0.95 * known
    states = [{trial.state for trial in study.get_trials(deepcopy=False)} for study in studies]
    assert TrialState.PRUNED in states[1]
    assert states[2] == {TrialState.COMPLETE, TrialState.PRUNED} or states[2] == {TrialState.COMPLETE}
    pruned = [trial.number for trial in studies[2].trials if trial.state == TrialState.PRUNED]
    assert all(number == 0 for number in pruned)  # the first is drawn before the axes are known


def test_with_workers_the_random_start_ends_when_all_of_it_is_asked_for() -> None:
    proposals = []
    for start in (START, 50):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(0, start=start))
        asked = [study.ask(CHAIN) for _ in range(START)]
        assert len({tuple(trial.params.values()) for trial in asked}) == START
        for trial in asked[: START // 2]:
            study.tell(trial, chain(trial.params))
        proposals.append(study.ask(CHAIN).params)
    guided, random = proposals
    assert guided != random


def test_pending_trials_count() -> None:
    study = searched(study_of_chain(), 10)
    alone = study.ask(CHAIN).params
    for _ in range(7):
        study.ask(CHAIN)
    asked = proposed(study)[-8:]
    assert asked[0] == alone
    assert len({tuple(params.values()) for params in asked}) == 8


def study_of_chain(**options: Any) -> optuna.Study:
    return optuna.create_study(
        directions=["maximize", "minimize"], sampler=ParetoSampler(seed=0, start=START, **options)
    )


def test_the_reference_point_is_that_of_the_random_start_and_the_limit() -> None:
    study = study_of_chain()
    sampler = study.sampler
    assert isinstance(sampler, ParetoSampler)
    assert sampler.reference_point(study) is None
    first = sampler.reference_point(searched(study, START))
    assert first is not None and first[1] == pytest.approx(6.0)  # a constraint that is an objective and its limit
    assert sampler.reference_point(searched(study, 6)) == first
    given = study_of_chain(reference=[2.0, None])
    assert isinstance(given.sampler, ParetoSampler)
    assert given.sampler.reference_point(searched(given, START)) == [2.0, pytest.approx(6.0)]


def test_a_limit_stays_the_same_to_the_last_bit() -> None:
    """A resumed study computes it from more trials than the first proposals did."""
    study = study_of_chain()
    assert isinstance(study.sampler, ParetoSampler)
    points = [study.sampler.reference_point(searched(study, count, limit=6.1)) for count in (START, 12, 12)]
    assert points[0] == points[1] == points[2]


def test_where_nearly_nothing_is_feasible_it_goes_where_limits_are_exceeded_least() -> None:
    study = searched(study_of_chain(), 3, limit=1.35)  # 0.1 % of all
    assert len(study.get_trials(deepcopy=False)) < 600


def test_many_trials_are_learnt_from_by_some_and_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition, "LEARNT_FROM", 8)
    whole = study_of(2)
    whole.optimize(lambda trial: mixed(trial)[:2], n_trials=16)
    assert len({tuple(params.items()) for params in proposed(whole)}) == 16
    resumed = study_of(2)
    resumed.add_trials(whole.trials[:12])
    resumed.optimize(lambda trial: mixed(trial)[:2], n_trials=4)
    assert proposed(resumed) == proposed(whole)


def late_study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """One in which ten trials are many."""
    monkeypatch.setattr(pareto, "LATE", 10)
    return searched(study_of_chain(), 10)


def test_late_proposals_are_made_by_blocks_that_a_resumed_study_makes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(acquisition.Acquisition):
        def __init__(self, encoding: Any, observed: Any, *others: Any) -> None:
            made.append(len(observed.rows_NA))
            super().__init__(encoding, observed, *others)

    whole = late_study(monkeypatch)
    monkeypatch.setattr(pareto, "Acquisition", Counted)
    until = len(whole.trials) + 3 * pareto.TOGETHER
    while len(whole.trials) < until:
        searched(whole, 1)
    assert len({tuple(params.items()) for params in proposed(whole)}) == len(whole.trials)
    assert len(made) <= 5 and all(count % pareto.TOGETHER == 0 for count in made)
    for finished in range(until - 7, until):
        resumed = study_of_chain()
        resumed.add_trials(whole.trials[:finished])
        while len(resumed.trials) < until:
            searched(resumed, 1)
        assert proposed(resumed)[:until] == proposed(whole)[:until]


def test_what_is_told_of_within_a_block_is_not_proposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    study, other = late_study(monkeypatch), late_study(monkeypatch)
    while len(study.trials) % pareto.TOGETHER:
        for one in (study, other):
            searched(one, 1)
    searched(study, 3)
    second = proposed(study)[-2]
    other.enqueue_trial(second)
    searched(other, 3)
    assert proposed(other)[-3] == second
    assert len({tuple(params.items()) for params in proposed(other)}) == len(other.trials)


def test_a_range_that_changes_and_an_axis_that_comes_later_are_learnt() -> None:
    study = study_of(2)
    for number in range(START + 6):
        axes: dict[str, Any] = {
            "x": IntDistribution(0, 3 if number < START else 5),
            "k": CategoricalDistribution("abc"),
        }
        if number > 3:
            axes["late"] = FloatDistribution(0, 1)
        trial = study.ask(axes)
        study.tell(trial, (trial.params["x"], -trial.params.get("late", 0.0)))
    assert max(params["x"] for params in proposed(study)[START:]) <= 5


def test_a_start_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="start must be >= 2, but got 1"):
        ParetoSampler(start=1)


def test_threads_share_it_without_repeats() -> None:
    study = study_of(2)

    def objective(trial: optuna.Trial) -> Sequence[float]:
        kind = trial.suggest_categorical("kind", "abc")
        sleep(0.001)  # the others ask for parameters in between
        numbers = [trial.suggest_categorical(f"axis{at}", range(4)) for at in range(4)]
        gate = trial.suggest_categorical("gate", range(4)) if kind == "a" else 1
        sleep(0.002)
        return sum(numbers) + gate, sum((number - 2) ** 2 for number in numbers)

    study.optimize(objective, n_trials=60, n_jobs=6)
    assert len({tuple(params.items()) for params in proposed(study)}) == 60


def test_ranges_are_not_proposed_twice() -> None:
    study = study_of(1)
    axes = {"n": IntDistribution(1, 9, log=True), "x": FloatDistribution(0, 1, step=0.05)}
    for _ in range(60):
        trial = study.ask(axes)
        study.tell(trial, trial.params["n"] - trial.params["x"])
    assert len({tuple(params.items()) for params in proposed(study)}) == 60


def test_choices_that_are_equal_are_one() -> None:
    study = study_of(1)
    for _ in range(6):
        trial = study.ask({"x": CategoricalDistribution([1, True, 2]), "y": CategoricalDistribution("abc")})
        study.tell(trial, float(trial.params["x"]))
    assert len({tuple(params.items()) for params in proposed(study)}) == 6


@pytest.mark.parametrize("batch", [5, 24])
def test_a_study_resumed_between_batches_proposes_what_an_uninterrupted_one_would(batch: int) -> None:
    def asked(study: optuna.Study) -> None:
        for trial in [study.ask(CHAIN) for _ in range(batch)]:
            study.tell(trial, chain(trial.params))

    whole, resumed = study_of_chain(), study_of_chain()
    for _ in range(3):
        asked(whole)
    resumed.add_trials(whole.trials)
    asked(whole)
    asked(resumed)
    assert proposed(resumed) == proposed(whole)


def test_the_first_batch_holds_no_repeats() -> None:
    study = study_of(1)
    for _ in range(9):
        study.ask({"x": CategoricalDistribution("abc"), "y": CategoricalDistribution("abc")})
    assert len({tuple(params.items()) for params in proposed(study)}) == 9


def test_what_never_ends_is_proposed_again_where_nothing_else_is_left() -> None:
    study, axes = study_of(1), {"x": CategoricalDistribution("abc"), "y": CategoricalDistribution("abc")}
    lost = study.ask(axes).params
    for _ in range(9):
        trial = study.ask(axes)
        study.tell(trial, float(trial.params["x"] == "a"))
    assert proposed(study)[-1] == lost


def test_infinite_constraints_say_that_a_trial_is_infeasible() -> None:
    study = study_of(1)
    for _ in range(START + 24):
        trial = study.ask(CHAIN)
        trial.set_constraint("good", np.inf if trial.params["axis0"] else -np.inf)
        study.tell(trial, -float(sum(trial.params.values())))
    assert study.best_value <= -20  # of 21: the best that is feasible


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_with_some_parameters_fixed_searches_the_others() -> None:
    sampler = PartialFixedSampler({"axis0": 3}, ParetoSampler(0, start=START))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    searched(study, START + 4, limit=20)
    assert {params["axis0"] for params in proposed(study)} == {3}


def test_a_study_of_the_same_name_is_another_study() -> None:
    sampler = ParetoSampler(0, start=START)
    best = []
    for _ in range(2):
        study = optuna.create_study(study_name="same", sampler=sampler)
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.3) ** 2, n_trials=START + 8)
        best.append(study.best_value)
    assert max(best) < 1e-3


def test_the_reference_point_does_not_move_when_a_slow_trial_of_the_start_ends() -> None:
    study = study_of_chain()
    slow = [study.ask(CHAIN) for _ in range(2)]
    searched(study, START + 2)
    assert isinstance(study.sampler, ParetoSampler)
    before = study.sampler.reference_point(study)
    for trial in slow:
        trial.set_constraint("cost", 1.0)
        study.tell(trial, (0.0, 12.0))
    assert study.sampler.reference_point(study) == before


def test_a_reference_of_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="a value .* for each of 2 objectives"):
        searched(study_of_chain(reference=[1.0]), START + 1)


def test_a_known_cost_without_a_limit_is_searched_up_to_that_of_the_best_network() -> None:
    """Random configurations are cheaper than the best one, and nearly all of the front lies beyond them."""
    axes = {f"axis{at}": CategoricalDistribution([1, 2, 4, 8]) for at in range(10)}

    def cost(params: Mapping[str, int]) -> float:
        return float(np.prod([params[name] for name in axes]))

    slow = []
    for known in (None, lambda params: Known({1: cost(params)})):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(0, known=known))
        study.enqueue_trial(dict.fromkeys(axes, 8))
        for _ in range(60):
            trial = study.ask(axes)
            study.tell(trial, (np.log2(cost(trial.params)) + trial.params["axis0"] / 8, cost(trial.params)))
        assert isinstance(study.sampler, ParetoSampler)
        reference = study.sampler.reference_point(study)
        assert reference is not None
        slow.append((sum(cost(params) > 2**22 for params in proposed(study)[20:]), reference[1]))
    assert slow[1][1] == pytest.approx(8**10) and slow[0][1] < 8**10
    assert slow[1][0] >= 5
