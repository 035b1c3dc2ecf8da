"""The front as an image, for a README or a slide: the first chart of the report, without its controls."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ffnet_search.metrics import Metric
from ffnet_search.pareto.front import pareto_front
from ffnet_search.report.data import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, RED = "#a0a4a8", "#1f5fbf", "#c03028"


def draw_front(run: Run) -> Figure:
    """All candidates, the front, and the exported networks where they were measured.

    The quality of the task, or else the first objective, against another objective. With a single objective: against
    latency or, if that is not known, the number of the trial.
    """
    from matplotlib.figure import Figure  # takes a second

    y, x = _axes_shown(run)
    candidates, search = run.history.evaluated, run.sweep.search
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")  # without pyplot, which chooses a window system
    x_label = "trial" if x is None else run.label(x.key)
    title = f"{run.sweep.name}: {len(candidates)} candidates"
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=run.label(y.key))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8eaec", linewidth=0.6)
    axes.set_axisbelow(True)
    points = {}
    for number, candidate in enumerate(candidates, 1):
        across = float(number) if x is None else x.scale * candidate.metrics[x.key]
        points[candidate.key] = (across, y.scale * candidate.metrics[y.key])
    axes.scatter(*_xy(points.values()), 12, GREY, label="candidates")
    front = pareto_front(candidates, search.directions)
    edge = sorted(points[candidate.key] for candidate in front)
    is_predicted = x is not None and x.key == "latency_ms"
    axes.scatter(*_xy(edge), 26, BLUE, label="front, predicted" if is_predicted else "front")
    axes.plot(*_xy(edge), color=BLUE, linewidth=1, drawstyle="steps-post")
    if is_predicted:
        _add_measured(axes, run)
    limit = None if x is None else search.constraints.get(x.key)
    if x is not None and limit is not None:
        axes.axvline(x.scale * limit, color=GREY, linestyle="--", linewidth=1, label=f"limit {limit:g}")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _axes_shown(run: Run) -> tuple[Metric, Metric | None]:
    """The metrics upwards and across; None for the number of the trial."""
    objectives, quality = list(run.sweep.search.objectives), run.task.quality.name
    up = quality if quality in objectives else objectives[0]
    others = [name for name in objectives if name != up]
    if not others and run.table is not None:
        others = ["latency_ms"]
    return run.metric(up), run.metric(others[0]) if others else None


def _add_measured(axes: Axes, run: Run) -> None:
    """Add the exported networks by measured latency, with an error bar of one standard deviation of a round."""
    measured = [network.metrics for network in run.exported if "measured_ms" in network.metrics]
    if measured:
        key, scale = run.task.search_quality, run.task.quality.scale
        x, y = _xy((metrics["measured_ms"], scale * metrics[key]) for metrics in measured)
        spread = [metrics["measured_ms"] * metrics["measured_spread"] for metrics in measured]
        label = "exported, measured alone"
        axes.errorbar(x, y, xerr=spread, fmt="x", color=RED, capsize=2, linewidth=1, label=label)


def _xy(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    points = list(points)
    return [x for x, _ in points], [y for _, y in points]


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file, for screens of high resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()
