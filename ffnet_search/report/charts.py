"""Who trained how long, and how well: the learning curves of a search, as a picture that needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ffnet_search.formatting import figure, percent, plural
from ffnet_search.report.front_png import label_of
from ffnet_search.search.history import History, LearningCurve

MOST = 300  # curves that are drawn: more are a blot
WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 54, WIDTH - 12, 12, HEIGHT - 44


def learning_curves(history: History) -> str:
    """A section; empty where no trial reported as it trained."""
    if not history.curves:
        return ""
    every = -(-len(history.curves) // MOST)
    drawn = history.curves[::every]
    some = f" One of {every} is drawn." if every > 1 else ""
    return f"""<section aria-labelledby="curves"><h2 id="curves">Who trained how long</h2>
<p>{_counted(history)}{some}</p>
<div class="chart wide" tabindex="0" role="region" aria-label="Learning curves">{_picture(drawn, history.curved)}</div>
<ul class="legend"><li><i class="line" style="background:var(--blue)"></i>trained to the end<li><i class="line"
style="background:var(--dot)"></i>stopped</ul></section>"""


def _counted(history: History) -> str:
    epochs = sum(max(curve.values) for curve in history.curves)
    lengths = {max(curve.values) for curve in history.curves if not curve.stopped}
    whole = sum(not curve.stopped for curve in history.curves)
    share = ""
    if history.stopped and len(lengths) == 1:  # else nobody knows how long those would have trained that were stopped
        would = lengths.pop() * len(history.curves)
        share = f", {percent(epochs / would, 0)} of what they would have without early stopping"
    trained = f"{plural(len(history.curves), 'trial')} trained {plural(epochs, 'epoch')}{share}"
    return f"{trained}; {whole:,} of them trained to the end."


def _picture(curves: Sequence[LearningCurve], metric: str) -> str:
    from matplotlib.ticker import MaxNLocator

    scale = 100.0 if metric == "accuracy" else 1.0
    values = [value * scale for curve in curves for value in curve.values.values()]
    low, high, last = min(values), max(values), max(max(curve.values) for curve in curves)
    y_ticks = MaxNLocator(5).tick_values(low, high)
    x_ticks = [x for x in MaxNLocator(8, integer=True).tick_values(1, last) if 1 <= x <= last]
    low, high = y_ticks[0], y_ticks[-1]

    def at(epoch: float, value: float) -> tuple[str, str]:
        x = LEFT + (epoch - 1) / max(1, last - 1) * (RIGHT - LEFT)
        y = BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)
        return f"{x:.1f}", f"{y:.1f}"

    lines = []
    for y_tick in y_ticks:
        _, y = at(1, y_tick)
        lines.append(f'<path class="grid" d="M{LEFT} {y}H{RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 7}" y="{float(y) + 4:.1f}" text-anchor="end">{y_tick:g}</text>')
    for x_tick in x_ticks:
        x, _ = at(x_tick, low)
        lines.append(f'<text x="{x}" y="{BOTTOM + 17}" text-anchor="middle">{x_tick:g}</text>')
    lines += [
        _line(curve, metric, [at(epoch, value * scale) for epoch, value in curve.values.items()])
        for curve in sorted(curves, key=lambda one: not one.stopped)  # those that trained to the end on top
    ]
    middle = (TOP + BOTTOM) / 2
    return f"""<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" style="width:auto">
{"".join(lines)}
<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>
<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(label_of(metric))}</text></svg>"""


def _line(curve: LearningCurve, metric: str, points: Sequence[tuple[str, str]]) -> str:
    value = list(curve.values.values())[-1]
    ended = percent(value) if metric == "accuracy" else figure(value)
    what = f"trial {curve.number}, {'stopped at' if curve.stopped else 'ended with'} {ended}: {curve.configuration}"
    colour, opacity = ("var(--dot)", 0.6) if curve.stopped else ("var(--blue)", 0.9)
    d = "L".join(" ".join(point) for point in points)
    x, y = points[-1]
    return (
        f'<g stroke="{colour}" opacity="{opacity}"><title>{escape(what)}</title><path d="M{d}" fill="none" '
        f'stroke-width="1.5"/><circle cx="{x}" cy="{y}" r="2" fill="{colour}"/></g>'
    )
