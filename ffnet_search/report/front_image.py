"""The front as an image, for a README or a slide."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ffnet_search.config.named_metrics import ranking
from ffnet_search.formatting import plural
from ffnet_search.metrics import COSTS, ERROR, INHERITED, Metric
from ffnet_search.pareto.front import pareto_front
from ffnet_search.report.data import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, BLUE, RED = "#a0a4a8", "#1f5fbf", "#c03028"


def draw_front(run: Run) -> Figure:
    """All candidates, the front, and the exported networks where they were measured.

    The quality that networks are ranked by, or else the first objective, against another objective. With a single
    objective: against latency or, if that is not known, the number of the trial."""
    from matplotlib.figure import Figure  # takes a second

    y, x = _axes_shown(run)
    candidates, search = run.history.evaluated, run.sweep.search
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")  # without pyplot, which chooses a window system
    x_label = "trial" if x is None else run.label(x.key)
    title = f"{run.sweep.name}: {plural(len(candidates), 'candidate')}"
    title, x_label, y_label = (text.replace("$", r"\$") for text in (title, x_label, run.label(y.key)))  # no formulas
    axes = _empty_axes(figure, title=title, xlabel=x_label, ylabel=y_label)
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
        _add_measured(axes, run, y)
    limit = None if x is None else search.constraints.get(x.key)
    if x is not None and limit is not None:
        axes.axvline(x.scale * limit, color=GREY, linestyle="--", linewidth=1, label=f"limit {limit:g}")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _empty_axes(figure: Figure, **labels: str) -> Axes:
    """Axes with a light grid and no frame above and to the right. `labels`: `title`, `xlabel`, `ylabel`."""
    axes = figure.add_subplot(**labels)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8eaec", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def draw_fronts(fronts: Mapping[str, Sequence[tuple[float, float, float]]], across: Metric, up: Metric) -> Figure:
    """Fronts over each other. `fronts`: name -> (across, up, standard error of up or nan) of each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = _empty_axes(figure, xlabel=across.label, ylabel=up.label)
    for (name, points), colour, marker in zip(fronts.items(), (BLUE, RED), ("o", "s"), strict=True):
        x, y, errors = (list(values) for values in zip(*sorted(points), strict=True))
        bars = [0.0 if math.isnan(error) else up.scale * error for error in errors]
        style = {"color": colour, "fmt": marker, "markersize": 4, "capsize": 2, "linewidth": 1}
        label = name.replace("$", r"\$")
        axes.errorbar(x, [up.scale * value for value in y], yerr=bars, label=label, **style)  # type: ignore[arg-type]
    axes.legend(frameon=False, loc="lower right")
    return figure


def _axes_shown(run: Run) -> tuple[Metric, Metric | None]:
    """The metrics upwards and across; None for the number of the trial."""
    objectives, quality = run.sweep.search.objectives, ranking(run.sweep).key
    up = quality if quality in objectives else objectives[0]
    others = [name for name in objectives if name != up]
    if not others and run.table is not None:
        others = ["latency_ms"]
    return run.metric(up), run.metric(others[0]) if others else None


def _add_measured(axes: Axes, run: Run, up: Metric) -> None:
    """Add the exported networks by measured latency and `up`: a vertical error bar of one standard error, a horizontal
    one of the standard deviation of the rounds."""
    measured = [network.metrics for network in run.exported if "measured_ms" in network.metrics]
    if not measured:
        return
    key, scale = up.key if up.name in COSTS else f"search_{up.key}", up.scale
    x, y = _xy((metrics["measured_ms"], scale * metrics[key]) for metrics in measured)
    inherited = [scale * metrics.get(INHERITED + key, metrics[key]) for metrics in measured]
    retrained = inherited != y
    if retrained:
        axes.vlines(x, inherited, y, RED, linestyles="dotted", linewidth=1)
    spread = [metrics["measured_ms"] * metrics["measured_spread"] for metrics in measured]
    label = "exported, retrained, measured alone" if retrained else "exported, measured alone"
    errors = [scale * metrics.get(f"{key}{ERROR}", 0.0) for metrics in measured]
    axes.errorbar(x, y, errors, spread, fmt="x", color=RED, capsize=2, linewidth=1, label=label)
    first = run.first
    position = (first.metrics["measured_ms"], scale * first.metrics[key])
    axes.scatter(*_xy([position]), 60, "none", edgecolors=RED, label=f"ranked first: {first.folder.name}")


def _xy(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    points = list(points)
    return [x for x, _ in points], [y for _, y in points]


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG file, for screens of high resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()
