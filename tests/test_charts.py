"""Learning curves: positions in the chart, what is said of early stopping, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from runs import ffnet_run

from ffnet_search.metrics import Metric
from ffnet_search.report.front_image import draw_front
from ffnet_search.report.learning_curves import BOTTOM, LEFT, MAX_CURVES, RIGHT, TOP, CurveChart, curve_chart
from ffnet_search.search.history import History, LearningCurve
from ffnet_search.space.registry import known_metrics

ACCURACY, LOSS = known_metrics()["accuracy"], Metric("val_loss", "minimize")


def chart_of(*curves: LearningCurve, metric: Metric = LOSS, stopped: int = 0) -> CurveChart:
    chart = curve_chart(History((), {}, 0, (), {}, stopped, metric.key, curves), metric, metric.label)
    assert chart is not None
    return chart


def test_each_trial_is_drawn_as_far_as_it_trained() -> None:
    whole = LearningCurve(0, "a", {1: 0.2, 2: 0.6, 3: 0.9}, stopped=False)
    stopped = LearningCurve(1, "c", {1: 0.1}, stopped=True)
    chart = chart_of(whole, stopped, metric=ACCURACY, stopped=1)
    assert chart.summary == (
        "2 trials trained 4 epochs, 67 % of the epochs without early stopping; 1 of them trained to the end."
    )
    assert [(line.title, len(line.points), line.stopped) for line in chart.lines] == [
        ("trial 1, stopped at 10.00 %: c", 1, True),
        ("trial 0, ended with 90.00 %: a", 3, False),
    ]
    xs, ys = zip(*chart.lines[1].points, strict=True)
    assert list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True)  # up is better
    assert chart.label == "accuracy, %" and chart.y_ticks[-1][1] == "100"


def test_without_early_stopping_the_summary_does_not_mention_it() -> None:
    chart = chart_of(LearningCurve(0, "a", {1: 0.2, 2: 0.6, 3: 0.9}, stopped=False))
    assert chart.summary == "1 trial trained 3 epochs; 1 of them trained to the end."
    assert chart.label == "val_loss"


def test_the_image_shows_exported_networks_by_the_quality_of_its_axis(tmp_path: Path) -> None:
    run = ffnet_run(tmp_path)
    search = run.sweep.search.model_copy(update={"objectives": ("latency_ms", "f1_macro")})
    scored = tuple(replace(one, metrics={**one.metrics, "f1_macro": 0.3}) for one in run.history.evaluated)
    exported = [replace(one, metrics={**one.metrics, "search_f1_macro": 0.25}) for one in run.exported]
    sweep, history = run.sweep.model_copy(update={"search": search}), replace(run.history, evaluated=scored)
    axes = draw_front(replace(run, sweep=sweep, history=history, exported=exported)).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latency, ms", "macro F1 on search validation, %")
    (measured,) = axes.containers
    assert list(measured.lines[0].get_ydata()) == [25.0, 25.0]


def test_without_reports_there_is_no_chart() -> None:
    assert curve_chart(History((), {}, 0, (), {}), LOSS, "") is None


@pytest.mark.parametrize("values", [{1: 0.5, 2: 0.5}, {1: 0.0, 2: 0.0}, {1: 0.5}, {3: 1e-9, 4: 2e9}])
def test_any_curve_is_inside_the_frame(values: dict[int, float]) -> None:
    chart = chart_of(LearningCurve(0, "a", values, stopped=False))
    for x, y in chart.lines[0].points:
        assert LEFT <= x <= RIGHT and TOP <= y <= BOTTOM


@pytest.mark.parametrize(("count", "every", "drawn"), [(MAX_CURVES, 1, 300), (MAX_CURVES + 1, 2, 151), (700, 3, 234)])
def test_many_curves_are_thinned(count: int, every: int, drawn: int) -> None:
    chart = chart_of(*(LearningCurve(n, "a", {1: 0.5, 2: n / 1000}, stopped=False) for n in range(count)))
    assert (chart.every, len(chart.lines)) == (every, drawn)
