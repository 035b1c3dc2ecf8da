"""Successive halving: what is promoted among curves whose end is known, one objective or several, limits, repeats."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ffnet_search.config.search_schema import EarlyStoppingSection, SearchSection
from ffnet_search.metrics import Direction
from ffnet_search.search.early_stopping.asha import TIE_BREAKS, SuccessiveHalving, epsilon_net, most_hypervolume, ranked

ACCURACY: Mapping[str, Direction] = {"accuracy": "maximize"}
BOTH: Mapping[str, Direction] = {"accuracy": "maximize", "latency_ms": "minimize"}


def halving(
    objectives: Mapping[str, Direction], limits: Mapping[str, float] | None = None, **options: Any
) -> SuccessiveHalving:
    how = EarlyStoppingSection(rule="asha", **options)
    return SuccessiveHalving(
        SearchSection(objectives=tuple(objectives), constraints=limits or {}, evaluator="train", early_stopping=how)
    )


def train(rule: SuccessiveHalving, key: str, final: float, epochs: int = 27, **known: float) -> int:
    """Epochs that a trial was given, whose accuracy after epoch e is `final` * (1 - 1 / (e + 1))."""
    for epoch in range(1, epochs + 1):
        if not rule.report(key, epoch, {"accuracy": final * (1 - 1 / (epoch + 1)), **known}):
            return epoch
    return epochs


def finals(count: int = 60, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [rng.random() for _ in range(count)]


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("min_epochs", [1, 2, 5])
def test_trials_end_at_rungs_and_the_best_so_far_is_never_stopped(reduction: int, min_epochs: int) -> None:
    rule = halving(ACCURACY, min_epochs=min_epochs, reduction=reduction)
    rungs = [min_epochs * reduction**k for k in range(6)]
    best = 0.0
    for number, final in enumerate(finals()):
        given = train(rule, str(number), final)
        assert given in (*rungs, 27)
        assert given == 27 or final < best  # only what is worse than another was stopped
        best = max(best, final)


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_each_rung_passes_on_about_one_in_reduction(reduction: int) -> None:
    rule = halving(ACCURACY, reduction=reduction)
    for number, final in enumerate(finals(200)):
        train(rule, str(number), final)
    sizes = [len(rule.rungs[rung]) for rung in range(3)]
    assert sizes[0] == 200
    for before, after in pairwise(sizes):
        assert before / reduction * 0.8 <= after <= before / reduction * 1.4 + 2


def test_early_stopping_spends_a_fraction_and_keeps_the_best() -> None:
    for seed in range(10):
        rule = halving(ACCURACY, reduction=3)
        values = finals(120, seed)
        given = [train(rule, str(number), final) for number, final in enumerate(values)]
        assert sum(given) < 0.3 * 27 * len(values)
        assert given[int(np.argmax(values))] == 27


@pytest.mark.parametrize("tie_break", TIE_BREAKS)
def test_the_same_reports_in_the_same_order_are_answered_the_same_whoever_asks(tie_break: str) -> None:
    rng = random.Random(1)
    reports = [(str(rng.randrange(40)), rng.choice([1, 2, 3, 5, 9]), rng.random(), rng.random()) for _ in range(300)]

    def answers() -> list[bool]:
        rule = halving(BOTH, brackets=2, tie_break=tie_break)
        return [rule.report(key, e, {"accuracy": a, "latency_ms": ms}) for key, e, a, ms in reports]

    assert answers() == answers()


def test_what_is_reported_again_is_answered_as_before_and_counts_once() -> None:
    rule = halving(ACCURACY)
    train(rule, "good", 0.9)
    assert train(rule, "bad", 0.1) == 1
    before = {rung: dict(entries) for rung, entries in rule.rungs.items()}
    assert train(rule, "good", 0.2) == 27  # its worker died, and another tells the same from the start
    assert train(rule, "bad", 0.1) == 1
    assert rule.rungs == before


def test_rebuilt_from_its_reports_it_goes_on_as_if_never_killed() -> None:
    def report(rule: SuccessiveHalving, number: int) -> list[tuple[str, int, dict[str, float]]]:
        told = []
        for epoch in range(1, 28):
            metrics = {"accuracy": finals()[number] * (1 - 1 / (epoch + 1)), "latency_ms": finals(seed=1)[number]}
            told.append((str(number), epoch, metrics))
            if not rule.report(*told[-1]):
                break
        return told

    whole = halving(BOTH, brackets=2)
    lived = [report(whole, number) for number in range(60)]
    for kill in (1, 17, 40):
        again = halving(BOTH, brackets=2)
        for told in lived[:kill]:
            for each in told:
                again.report(*each)
        assert [report(again, number) for number in range(kill, 60)] == lived[kill:]


def test_between_rungs_nothing_is_judged_and_a_rung_that_was_jumped_over_counts_at_the_next_report() -> None:
    rule = halving(ACCURACY, min_epochs=3, reduction=3)
    for number in range(6):
        assert rule.report(f"good{number}", 4, {"accuracy": 0.9 + number / 100})  # validated at epochs 4, 8, 12
    assert rule.report("bad", 1, {"accuracy": 0.1})
    assert rule.report("bad", 2, {"accuracy": 0.1})
    assert not rule.report("bad", 4, {"accuracy": 0.1})
    assert sorted(rule.rungs[0]) == ["bad", *(f"good{number}" for number in range(6))]


def test_equals_go_on_together() -> None:
    rule = halving(ACCURACY)
    assert [train(rule, str(number), 0.5) for number in range(10)] == [27] * 10


def test_from_max_epochs_on_nothing_is_stopped() -> None:
    rule = halving(ACCURACY, max_epochs=9)
    for number in range(10):
        train(rule, f"good{number}", 0.9)
    assert rule.report("late", 9, {"accuracy": 0.0})
    assert not rule.report("bad", 3, {"accuracy": 0.0})


def test_what_is_not_a_number_is_stopped_and_counts_nowhere() -> None:
    rule = halving(ACCURACY)
    assert not rule.report("a", 1, {"accuracy": float("nan")})
    assert rule.report("b", 1, {"accuracy": 0.1})
    assert list(rule.rungs[0]) == ["b"]


def test_brackets_give_a_share_of_the_trials_a_later_first_judgement() -> None:
    rule = halving(ACCURACY, reduction=3, brackets=3)
    train(rule, "best", 1.0)
    given = Counter(train(rule, str(number), 0.5 - number / 1000) for number in range(90))
    assert set(given) == {1, 3, 9}
    assert given[1] > 2 * given[3] > 4 * given[9] > 0


class TestSeveralObjectives:
    def test_with_one_objective_the_order_is_that_of_its_values(self) -> None:
        values = finals(30)
        for tie_break in TIE_BREAKS.values():
            order = list(ranked(np.array(values)[:, None], np.zeros(30), tie_break))
            assert order == sorted(range(30), key=values.__getitem__)

    @pytest.mark.parametrize("tie_break", TIE_BREAKS.values())
    @pytest.mark.parametrize("objectives", [2, 3])
    def test_nothing_comes_before_what_dominates_it(self, tie_break: object, objectives: int) -> None:
        points = np.random.default_rng(0).random((25, objectives))
        order = list(ranked(points, np.zeros(25), tie_break))  # type: ignore[arg-type]
        assert sorted(order) == list(range(25))
        for place, i in enumerate(order):
            assert not any((points[j] <= points[i]).all() for j in order[place + 1 :])

    @pytest.mark.parametrize("tie_break", TIE_BREAKS.values())
    def test_what_exceeds_a_limit_comes_after_what_does_not_by_how_far(self, tie_break: object) -> None:
        points = np.array([[0.0, 0.0], [1.0, 1.0], [0.1, 0.1], [2.0, 2.0]])
        assert list(ranked(points, np.array([0.5, 0.0, 0.1, 0.0]), tie_break)) == [1, 3, 2, 0]  # type: ignore[arg-type]

    def test_the_net_takes_the_ends_first_and_then_halves_the_widest_gap(self) -> None:
        line = np.array([[x, 1 - x] for x in (0.0, 0.1, 0.2, 0.5, 1.0)])
        assert list(epsilon_net(line)) == [0, 4, 3, 2, 1]

    def test_the_volume_takes_the_ends_first_and_then_what_adds_most(self) -> None:
        corner = np.array([[0.05, 0.9], [0.0, 1.0], [1.0, 0.0], [0.1, 0.1], [0.5, 0.09]])
        assert list(most_hypervolume(corner)) == [1, 2, 3, 0, 4]

    @pytest.mark.parametrize("tie_break", TIE_BREAKS)
    def test_the_fastest_is_never_stopped_by_accuracy_alone(self, tie_break: str) -> None:
        rule = halving(BOTH, tie_break=tie_break)
        rng = random.Random(0)
        for number in range(40):
            train(rule, str(number), 0.5 + rng.random() / 2, latency_ms=1 + rng.random())
        assert train(rule, "fastest", 0.1, latency_ms=0.5) == 27
        assert train(rule, "slow and bad", 0.1, latency_ms=3.0) == 1

    @pytest.mark.parametrize("tie_break", TIE_BREAKS)
    @pytest.mark.parametrize("reduction", [2, 3])
    def test_the_ends_that_came_first_take_no_places(self, tie_break: str, reduction: int) -> None:
        rule, rng = halving(BOTH, tie_break=tie_break, reduction=reduction), random.Random(0)
        assert train(rule, "smallest", 0.5, latency_ms=1.0) == train(rule, "largest", 1.0, latency_ms=2.0) == 27
        between = [rng.random() for _ in range(40)]
        given = [train(rule, str(x), 0.5 + x / 2, latency_ms=1 + x) for x in between]  # nobody dominates another
        assert given[0] == 27
        assert 2 <= given.count(27) <= 12

    @pytest.mark.parametrize("tie_break", TIE_BREAKS)
    def test_a_front_too_large_for_the_rung_is_thinned_but_keeps_its_ends(self, tie_break: str) -> None:
        rule = halving(BOTH, tie_break=tie_break)
        line = [number / 60 for number in range(60)]
        random.Random(0).shuffle(line)
        given = {x: train(rule, str(x), 0.5 + x / 2, latency_ms=1 + x) for x in line}  # nobody dominates another
        assert 27 * 60 * 0.08 < sum(given.values()) < 27 * 60 * 0.55
        assert {given[0.0], given[59 / 60]} == {27}

    def test_beyond_a_limit_it_is_stopped_however_accurate(self) -> None:
        rule = halving(BOTH, {"peak_memory_mb": 10.0})
        for number in range(5):
            train(rule, str(number), 0.5 + number / 100, latency_ms=1.0, peak_memory_mb=9.0)
        assert train(rule, "too large", 0.99, latency_ms=0.1, peak_memory_mb=11.0) == 1
        assert train(rule, "small enough", 0.99, latency_ms=0.1, peak_memory_mb=10.0) == 27
