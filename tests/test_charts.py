"""Learning curves: positions in the chart, what is said of early stopping, and what is left out."""

from __future__ import annotations

import pytest

from ffnet_search.metrics import Metric
from ffnet_search.report.charts import BOTTOM, LEFT, MOST, RIGHT, TOP, CurveChart, curve_chart
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


def test_without_reports_there_is_no_chart() -> None:
    assert curve_chart(History((), {}, 0, (), {}), LOSS, "") is None


@pytest.mark.parametrize("values", [{1: 0.5, 2: 0.5}, {1: 0.0, 2: 0.0}, {1: 0.5}, {3: 1e-9, 4: 2e9}])
def test_any_curve_is_inside_the_frame(values: dict[int, float]) -> None:
    chart = chart_of(LearningCurve(0, "a", values, stopped=False))
    for x, y in chart.lines[0].points:
        assert LEFT <= x <= RIGHT and TOP <= y <= BOTTOM


@pytest.mark.parametrize(("count", "every", "drawn"), [(MOST, 1, 300), (MOST + 1, 2, 151), (700, 3, 234)])
def test_many_curves_are_thinned(count: int, every: int, drawn: int) -> None:
    chart = chart_of(*(LearningCurve(n, "a", {1: 0.5, 2: n / 1000}, stopped=False) for n in range(count)))
    assert (chart.every, len(chart.lines)) == (every, drawn)
