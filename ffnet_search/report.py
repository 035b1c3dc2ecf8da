"""The run as a picture and as one HTML file that needs no network: the front, its networks, the trust in latency."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffnet_search.export import Pick, read_picks, versions
from ffnet_search.latency import LatencyTable
from ffnet_search.pareto import Candidate, pareto_front
from ffnet_search.search import read_candidates
from ffnet_search.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS: Mapping[str, str] = {
    "accuracy": "accuracy on search validation, %",
    "latency_ms": "latency, ms",
    "params_m": "parameters, M",
    "macs_m": "MACs, M",
}
GREY, BLUE, RED = "#a0a4a8", "#1f5fbf", "#c03028"


def write_report(sweep: Sweep) -> Path:
    """Writes `front.png` and `report.html` of a run whose front is exported; returns the report's path."""
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    picks = read_picks(sweep.files)
    table = LatencyTable.load(sweep.latency_path)
    front = draw_front(sweep, candidates, picks)
    sweep.files.front_png.write_bytes(_render(front, "png"))
    figures = {
        "Pareto front": _render(front, "svg").decode(),
        "Accuracy while searching": _render(draw_progress(candidates), "svg").decode(),
        "Predicted and measured latency": _render(draw_latency(table, picks), "svg").decode(),
    }
    sweep.files.report.write_text(_page(sweep, candidates, picks, table, figures), encoding="utf-8")
    return sweep.files.report


def draw_front(sweep: Sweep, candidates: Sequence[Candidate], picks: Sequence[Pick]) -> Figure:
    """All candidates, the front, and the exported picks by what was measured: accuracy against the second objective."""
    names = list(sweep.search.objectives)
    x = next((name for name in names if name != "accuracy"), "latency_ms")
    figure, axes = _axes(f"{sweep.name}: {len(candidates)} candidates", LABELS[x], LABELS["accuracy"])
    front = pareto_front(candidates, sweep.search.directions)
    label = "front, predicted" if x == "latency_ms" else "front"
    axes.scatter(*_xy((c.metrics[x], 100 * c.metrics["accuracy"]) for c in candidates), 12, GREY, label="candidates")
    edge = sorted((c.metrics[x], 100 * c.metrics["accuracy"]) for c in front)
    axes.scatter(*_xy(edge), 26, BLUE, label=label)
    axes.plot(*_xy(edge), color=BLUE, linewidth=1, drawstyle="steps-post")
    if x == "latency_ms" and picks:
        measured = _xy((pick.metrics["measured_ms"], 100 * pick.metrics["search_accuracy"]) for pick in picks)
        spread = [pick.metrics["measured_ms"] * pick.metrics["measured_spread"] for pick in picks]
        label = "exported, measured alone"
        axes.errorbar(*measured, xerr=spread, fmt="x", color=RED, capsize=2, linewidth=1, label=label)
    if (limit := sweep.search.constraints.get(x)) is not None:
        axes.axvline(limit, color=GREY, linestyle="--", linewidth=1, label=f"limit {limit:g}")
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_progress(candidates: Sequence[Candidate]) -> Figure:
    """Accuracy of each candidate in the order of evaluation, and the best so far."""
    figure, axes = _axes("Accuracy while searching", "candidate", LABELS["accuracy"])
    scores = [100 * candidate.metrics["accuracy"] for candidate in candidates]
    best = [max(scores[: i + 1]) for i in range(len(scores))]
    axes.scatter(range(1, len(scores) + 1), scores, 12, GREY, label="candidates")
    axes.plot(range(1, len(best) + 1), best, color=BLUE, drawstyle="steps-post", label="best so far")
    axes.legend(frameon=False, loc="lower right")
    return figure


def draw_latency(table: LatencyTable, picks: Sequence[Pick]) -> Figure:
    """Held-out networks and exported picks: predicted against measured, with the 10 % band."""
    figure, axes = _axes(f"{table.setting.backend} on {table.setting.device}", "measured, ms", "predicted, ms")
    points = [(check.measured_ms, check.predicted_ms) for check in table.held_out]
    axes.scatter(*_xy(points), 16, GREY, label="held-out networks")
    if picks:
        alone = [(pick.metrics["measured_ms"], pick.metrics["predicted_ms"]) for pick in picks]
        axes.scatter(*_xy(alone), 30, RED, marker="x", label="exported networks")
        points += alone
    end = [0.0, 1.05 * max(max(point) for point in points)]
    axes.plot(end, end, color=BLUE, linewidth=1)
    axes.fill_between(end, [0.9 * e for e in end], [1.1 * e for e in end], color=BLUE, alpha=0.12, label="within 10 %")
    axes.legend(frameon=False, loc="upper left")
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


def _render(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=144, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { line-height: 1.2 } figure { margin: 1rem 0; background: #fff; border-radius: 6px; padding: .5rem }
figure svg { width: 100%; height: auto } .wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } caption { text-align: left; padding: .4rem 0 }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap }
td:last-child, th:last-child { text-align: left } code { font-size: .9em }
"""


def _page(
    sweep: Sweep,
    candidates: Sequence[Candidate],
    picks: Sequence[Pick],
    table: LatencyTable,
    figures: Mapping[str, str],
) -> str:
    setting, limits = table.setting, sweep.search.constraints
    kept = ", ".join(f"{name} ≤ {limit:g}" for name, limit in limits.items()) or "none"
    facts = {
        "Sweep": sweep.path,
        "Search space": f"{sweep.search_space.name}, {sweep.search_space.size:.3g} architectures",
        "Objectives": ", ".join(f"{direction} {name}" for name, direction in sweep.search.directions.items()),
        "Limits": kept,
        "Sampler": f"{sweep.search.sampler.name} {dict(sweep.search.sampler.args)}",
        "Seed": sweep.seed,
        "Latency": f"{setting.backend}, {setting.threads} thread(s), batch {setting.batch_size}, {setting.dtype}, "
        f"on {setting.device}, {setting.date}",
        "Latency table": table.error,
        "Versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    pictures = "".join(
        f'<figure role="img" aria-label="{title}">{svg[svg.index("<svg") :]}</figure>' for title, svg in figures.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(sweep.name)}: Pareto front</title><style>{STYLE}</style></head><body>
<h1>{html.escape(sweep.name)}</h1>
<p>{len(candidates)} architectures were evaluated; the {len(picks)} networks below are the front's, rebuilt alone,
measured again and tested on images that neither training nor search has seen.</p>
{_front_table(picks)}
{pictures}
<h2>How it was made</h2><div class="wide"><table>{_rows(facts)}</table></div>
</body></html>
"""


def _front_table(picks: Sequence[Pick]) -> str:
    heads = (
        "folder",
        "test accuracy",
        "search accuracy",
        "measured ms",
        "predicted ms",
        "params M",
        "MACs M",
        "network",
    )
    rows = []
    for pick in picks:
        m = pick.metrics
        cells: list[Any] = [
            f"<code>{pick.folder.name}</code>",
            f"{100 * m['test_accuracy']:.2f} %",
            f"{100 * m['search_accuracy']:.2f} %",
        ]
        cells += [f"{m['measured_ms']:.3g}", f"{m['predicted_ms']:.3g}", f"{m['params_m']:.3g}", f"{m['macs_m']:.3g}"]
        cells.append(html.escape(str(pick.architecture)))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return f'<div class="wide"><table><caption>The front</caption><tr>{head}</tr>{"".join(rows)}</table></div>'


def _rows(facts: Mapping[str, Any]) -> str:
    return "".join(f'<tr><th scope="row">{k}</th><td>{html.escape(str(v))}</td></tr>' for k, v in facts.items())
