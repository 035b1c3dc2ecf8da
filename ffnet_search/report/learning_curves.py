"""The learning curves of a report as SVG that needs no script: positions here, drawing in `page.html.j2`."""

from __future__ import annotations

from dataclasses import dataclass

from ffnet_search.formatting import percent, plural
from ffnet_search.metrics import Metric
from ffnet_search.search.history import History, LearningCurve

MAX_CURVES = 300  # curves that are drawn: more cannot be told apart
WIDTH, HEIGHT = 720, 380  # in pixels, as all positions
LEFT, RIGHT, TOP, BOTTOM = 54, WIDTH - 12, 12, HEIGHT - 44


@dataclass(frozen=True)
class Line:
    """A learning curve as points in the chart."""

    title: str
    points: tuple[tuple[float, float], ...]
    stopped: bool


@dataclass(frozen=True)
class CurveChart:
    """Learning curves in a frame. `summary`: how much the trials trained, in a sentence; `every`: one curve in so many
    is drawn."""

    summary: str
    every: int
    label: str
    x_ticks: tuple[tuple[float, str], ...]  # position along the axis, and text
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]  # those that trained to the end last, so that they are on top
    width, height, left, right, top, bottom = WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM


def curve_chart(history: History, metric: Metric, label: str) -> CurveChart | None:
    """The chart of `history.curves`, of `metric`; None if no trial reported while it trained."""
    if not history.curves:
        return None
    from matplotlib.ticker import MaxNLocator  # takes a second

    every = -(-len(history.curves) // MAX_CURVES)
    curves = history.curves[::every]
    values = [metric.scale * value for curve in curves for value in curve.values.values()]
    last = max(max(curve.values) for curve in curves)
    y_values = [float(y) for y in MaxNLocator(5).tick_values(min(values), max(values))]
    x_values = [float(x) for x in MaxNLocator(8, integer=True).tick_values(1, last) if 1 <= x <= last]
    low, high = y_values[0], y_values[-1]

    def x_at(epoch: float) -> float:
        return round(LEFT + (epoch - 1) / max(1, last - 1) * (RIGHT - LEFT), 1)

    def y_at(value: float) -> float:
        return round(BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP), 1)

    lines = []
    for curve in sorted(curves, key=lambda curve: not curve.stopped):
        points = tuple((x_at(epoch), y_at(metric.scale * value)) for epoch, value in curve.values.items())
        lines.append(Line(_title(curve, metric), points, curve.stopped))
    return CurveChart(
        summary=_summary(history),
        every=every,
        label=label,
        x_ticks=tuple((x_at(x), f"{x:g}") for x in x_values),
        y_ticks=tuple((y_at(y), f"{y:g}") for y in y_values),
        lines=tuple(lines),
    )


def _summary(history: History) -> str:
    epochs = sum(max(curve.values) for curve in history.curves)
    whole = [curve for curve in history.curves if not curve.stopped]
    share = ""
    lengths = {max(curve.values) for curve in whole}
    if history.stopped and len(lengths) == 1:  # else the length that stopped trials would have had is unknown
        without_stopping = lengths.pop() * len(history.curves)
        share = f", {percent(epochs / without_stopping, 0)} of the epochs without early stopping"
    trained = f"{plural(len(history.curves), 'trial')} trained {plural(epochs, 'epoch')}{share}"
    return f"{trained}; {len(whole):,} of them trained to the end."


def _title(curve: LearningCurve, metric: Metric) -> str:
    last = metric.format(list(curve.values.values())[-1])
    ended = "stopped at" if curve.stopped else "ended with"
    return f"trial {curve.number}, {ended} {last}: {curve.configuration}"
