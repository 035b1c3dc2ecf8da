"""The cost of a front by a supernet and by training each network, and which one a sweep is advised to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from retraining_sweep import write_sweep

from ffnet_search.run.cost_comparison import CostComparison, advice, compare_ways


def test_a_supernet_pays_from_the_number_of_networks_where_both_cost_the_same() -> None:
    ways = [CostComparison(networks, shared=70.0, retraining=30.0, each=10.0) for networks in (9, 10, 11, 12)]
    assert [way.separate for way in ways] == [90.0, 100.0, 110.0, 120.0]
    assert {way.supernet for way in ways} == {100.0}
    assert {way.pays_from for way in ways} == {11}
    assert [way.supernet_is_cheaper for way in ways] == [False, False, True, True]
    assert str(ways[0]).startswith("cheaper is training each of them") and "pays from 11 networks on" in str(ways[0])
    assert str(ways[3]).startswith("cheaper is a supernet with 12 networks")


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"trials": 30}, ""),
        ({"trials": 3}, "search: {evaluator: train, early_stopping: {rule: asha}}"),
        ({"trials": 3, "evaluator": "train"}, ""),
        ({"trials": 30, "evaluator": "train"}, "search: {evaluator: supernet}, without early_stopping"),
        ({"trials": 3000, "evaluator": "train"}, "search: {evaluator: supernet}, without early_stopping"),
    ],
)
def test_the_cheaper_way_is_proposed(tmp_path: Path, search: dict[str, Any], expected: str) -> None:
    sweep = write_sweep(tmp_path, train={"epochs": 20}, search=search, export={"top": 2})
    ways = compare_ways(sweep)
    assert ways is not None
    assert ways.networks == min(search["trials"], sweep.search_space.size)  # it cannot compare more than there are
    assert advice(sweep, ways) == expected


def test_the_costs_follow_the_recipe(tmp_path: Path) -> None:
    def ways(**changed: Any) -> CostComparison:
        found = compare_ways(write_sweep(tmp_path, **{"train": {"epochs": 20}, "export": {"top": 2}, **changed}))
        assert found is not None
        return found

    base = ways()
    assert 3 < (base.shared - ways(train={"epochs": 10}).shared) / 10 < 8  # networks of a sandwich step
    assert base.each == 2 * ways(train={"epochs": 10}).each
    assert ways(export={"retrain": {"epochs": 0}}).retraining == 0
    assert ways(export={"top": 4}).retraining == 2 * base.retraining
    taught = ways(export={"top": 2, "retrain": {"distil": 0.5}})
    assert 2 * 10 <= base.retraining <= 2 * 30  # of smaller networks up to three times as many epochs
    assert base.retraining < taught.retraining  # the teacher's forward passes cost, too


def test_where_hyper_parameters_are_searched_there_is_no_choice(tmp_path: Path) -> None:
    space = {**write_sweep(tmp_path).search_space.model_dump(mode="json"), "hyperparameters": {"learning_rate": [0.1]}}
    assert compare_ways(write_sweep(tmp_path, search_space=space, search={"evaluator": "train"}, export={})) is None
