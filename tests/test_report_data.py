"""The data of the page's script: figures of the study and the cards, and how metrics are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs import candidates, ffnet_run

from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import hypervolume
from ffnet_search.report.data import MOMENTS, hypervolume_over_time, script_data

OBJECTIVES: dict[str, Any] = {"accuracy": "maximize", "latency_ms": "minimize"}


def test_columns_and_rows_are_those_of_the_study_and_the_cards(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    data = script_data(run)
    assert data["candidates"]["key"] == [candidate.key for candidate in run.history.evaluated]
    accuracies = [candidate.metrics["accuracy"] for candidate in run.history.evaluated]
    assert data["candidates"]["accuracy"] == pytest.approx(accuracies, rel=1e-5)
    assert [row["measured_ms"] for row in data["exported"]] == [1.0, 2.0]


def test_every_shown_metric_says_how_it_is_printed(tmp_path: Path) -> None:
    data = script_data(ffnet_run(tmp_path))
    used = {*data["costs"], *data["quality"].values(), "measured_ms", "predicted_ms", "measured_spread"}
    assert used == data["metrics"].keys()
    assert set(data["costs"]) <= data["candidates"].keys()
    assert data["metrics"]["search_accuracy"] == {
        "phrase": "accuracy on search validation",
        "label": "accuracy on search validation, %",
        "unit": "%",
        "scale": 100.0,
        "decimals": 2,
        "sign": -1.0,
    }


def test_hypervolume_only_rises_and_ends_at_one() -> None:
    found = candidates(60)
    shares = hypervolume_over_time(found, OBJECTIVES)
    values = [share for _, share in shares]
    assert values == sorted(values)
    assert shares[-1] == (60, 1.0)
    worst = [min(c.metrics["accuracy"] for c in found), max(c.metrics["latency_ms"] for c in found)]

    def volume(count: int) -> float:
        points = [[c.metrics[name] for name in OBJECTIVES] for c in found[:count]]
        return hypervolume(points, worst, list(OBJECTIVES.values()))

    for count, share in shares:
        assert share == pytest.approx(volume(count) / volume(60), rel=1e-4)


@pytest.mark.parametrize(("rises", "shown"), [(MOMENTS - 1, MOMENTS - 1), (MOMENTS, MOMENTS), (MOMENTS + 1, MOMENTS)])
def test_many_rises_are_thinned(rises: int, shown: int) -> None:
    """Every candidate is better than all before it in accuracy and worse in latency."""
    arch = candidates(1)[0].architecture
    found = [Candidate(arch, {"accuracy": number / 200, "latency_ms": 1.0 + number}) for number in range(rises)]
    shares = hypervolume_over_time(found, OBJECTIVES)
    assert len(shares) == shown + 1 and shares[-1] == (rises, 1.0)
