"""The front as a picture, for a README or a slide: what the report shows without a hand on it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS: Mapping[str, str] = {
    "accuracy": "accuracy on search validation, %",
    "latency_ms": "latency, ms",
    "params_m": "parameters, M",
    "macs_m": "MACs, M",
    "weights_mb": "weights, MB",
    "peak_memory_mb": "peak memory of maps, MB",
}

GREY, BLUE, RED = "#a0a4a8", "#1f5fbf", "#c03028"


def label_of(metric: str) -> str:
    """`latency on phone, ms` of `latency_ms@phone`."""
    name, _, device = metric.partition("@")
    label = LABELS.get(name, name)  # what a module of the user's own logs has its own name
    return label.replace(",", f" on {device},") if device else label


def draw_front(sweep: Sweep, candidates: Sequence[Candidate], picks: Sequence[ExportedNetwork]) -> Figure:
    """All candidates, the front, and the exported picks by what was measured: the first objective (or accuracy) against
    another one; with a single objective against latency or, where that is not known, the number of the trial."""
    names = list(sweep.search.objectives)
    y = "accuracy" if "accuracy" in names else names[0]
    x = next((name for name in names if name != y), "latency_ms" if sweep.uses_latency_tables else "trial")
    figure, axes = _axes(f"{sweep.name}: {len(candidates)} candidates", label_of(x), label_of(y))
    front = {candidate.key for candidate in pareto_front(candidates, sweep.search.directions)}
    scale = 100 if y == "accuracy" else 1
    points = {c.key: (c.metrics.get(x, float(n)), scale * c.metrics[y]) for n, c in enumerate(candidates, 1)}
    label = "front, predicted" if x == "latency_ms" else "front"
    axes.scatter(*_xy(points.values()), 12, GREY, label="candidates")
    edge = sorted(points[key] for key in front)
    axes.scatter(*_xy(edge), 26, BLUE, label=label)
    axes.plot(*_xy(edge), color=BLUE, linewidth=1, drawstyle="steps-post")
    if x == "latency_ms" and picks and "measured_ms" in picks[0].metrics:
        measured = _xy((pick.metrics["measured_ms"], 100 * pick.metrics["search_accuracy"]) for pick in picks)
        spread = [pick.metrics["measured_ms"] * pick.metrics["measured_spread"] for pick in picks]
        label = "exported, measured alone"
        axes.errorbar(*measured, xerr=spread, fmt="x", color=RED, capsize=2, linewidth=1, label=label)
    if (limit := sweep.search.constraints.get(x)) is not None:
        axes.axvline(limit, color=GREY, linestyle="--", linewidth=1, label=f"limit {limit:g}")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _xy(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    points = list(points)
    return [x for x, _ in points], [y for _, y in points]


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Without pyplot, which keeps every figure and picks a window system."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e8eaec", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def as_png(figure: Figure) -> bytes:
    """The figure's file, for screens of high resolution."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    return buffer.getvalue()
