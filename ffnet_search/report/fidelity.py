"""A supernet's fidelity in words and as a chart: for the report, and in words for the terminal too."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.fidelity import (
    INHERITED,
    PREDICTORS,
    Compared,
    Fidelity,
    read_fidelity,
    supernet_digest,
)
from ffnet_search.evaluation.rank_statistics import Interval
from ffnet_search.formatting import plural
from ffnet_search.metrics import COSTS, MACS, PARAMS, Metric
from ffnet_search.space.registry import task_outputs

WORDS = {INHERITED: "inherited", MACS.name: "MACs", PARAMS.name: "params"}
WIDTH, HEIGHT = 460, 400  # in pixels, as all positions
LEFT, RIGHT, TOP, BOTTOM = 54, WIDTH - 12, 12, HEIGHT - 44


def fidelity_of(sweep: Sweep) -> Fidelity | None:
    """The comparison that was made for the run's supernet; None if there is none, or it is of another supernet."""
    found, supernet = read_fidelity(sweep.files.fidelity), sweep.files.supernet
    if found is None or not supernet.exists() or found.record.get("supernet") != supernet_digest(supernet):
        return None
    return found


def facts(fidelity: Fidelity) -> list[str]:
    """The predictors together, gap, regret and seed noise, a line each."""
    quality, gaps = task_outputs(fidelity.task).quality, fidelity.gaps
    unit = "points" if quality.unit == "%" else quality.unit

    def shown(value: float, form: str = ".2f") -> str:
        return f"{quality.scale * value:{form}}"

    mean = sum(gaps) / len(gaps)
    span = f"{shown(min(gaps), '+.2f')} to {shown(max(gaps), '+.2f')}"
    lines = [f"ranked by the mean of the three ranks: Kendall {interval_words(fidelity.together)}"]
    lines.append(f"gap, inherited - alone: mean {shown(mean, '+.2f')} {unit}, {span}")
    regrets = [f"{WORDS[name]} {shown(fidelity.regrets[name].top)}" for name in PREDICTORS]
    lines.append(f"regret of the top pick: {', '.join(regrets)} {unit}")
    regrets = [f"{WORDS[name]} {shown(fidelity.regrets[name].mean)}" for name in PREDICTORS]
    budget = COSTS[fidelity.cost].phrase
    lines.append(f"regret over {budget} budgets, mean: {', '.join(regrets)} {unit}")
    if fidelity.pair_differences:
        lines.append(
            f"seed noise: standard deviation {shown(fidelity.seed_noise)} {unit}, of "
            f"{plural(len(fidelity.pair_differences), 'network')} trained twice"
        )
        lines.append(f"two trainings alone would agree at Kendall {interval_words(fidelity.ceiling)}")
    else:
        lines.append("seed noise: unknown, since no network was trained twice (--repeated)")
    return lines


def interval_words(found: Interval) -> str:
    """`0.82 [0.61, 0.94]`; a hyphen where there is none."""
    if not math.isfinite(found.value):
        return "-"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


@dataclass(frozen=True)
class Dot:
    """A network at its inherited and its stand-alone quality; `again`: the height of a second training."""

    x: float
    y: float
    again: float | None
    title: str


@dataclass(frozen=True)
class Scatter:
    """Inherited against stand-alone quality; on the diagonal from `ends` the two are equal."""

    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]  # position along the axis, and text
    y_ticks: tuple[tuple[float, str], ...]
    ends: tuple[float, float, float, float]
    dots: tuple[Dot, ...]
    width, height, left, right, top, bottom = WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM


@dataclass(frozen=True)
class FidelitySection:
    """The content of the report's section."""

    sentence: str
    facts: list[str]
    titles: list[str]
    rows: list[tuple[str, list[str]]]
    scatter: Scatter
    networks: str


def fidelity_section(fidelity: Fidelity) -> FidelitySection:
    """The section of a comparison: the verdict, the correlations by group, and the chart."""
    rows = [
        (f"{name} ({len(fidelity.groups[name])})", [interval_words(by[one]) for one in PREDICTORS])
        for name, by in fidelity.kendall.items()
    ]
    titles = ["Kendall with alone", *(WORDS[name] for name in PREDICTORS)]
    networks = f"{plural(len(fidelity.networks), 'network')}, on {fidelity.split}"
    return FidelitySection(fidelity.sentence, facts(fidelity), titles, rows, _scatter(fidelity), networks)


def _scatter(fidelity: Fidelity) -> Scatter:
    from matplotlib.ticker import MaxNLocator  # takes a second

    quality, split = task_outputs(fidelity.task).quality, fidelity.split
    inherited = [quality.scale * one.inherited[split] for one in fidelity.networks]
    alone = [quality.scale * one.alone[split] for one in fidelity.networks]
    alone += [quality.scale * one.again[split] for one in fidelity.networks if one.again]
    x_values, y_values = (
        [float(tick) for tick in MaxNLocator(5).tick_values(min(values), max(values))] for values in (inherited, alone)
    )

    def x_at(value: float) -> float:
        low, high = x_values[0], x_values[-1]
        return round(LEFT + (value - low) / (high - low) * (RIGHT - LEFT), 1)

    def y_at(value: float) -> float:
        low, high = y_values[0], y_values[-1]
        return round(BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP), 1)

    low, high = max(x_values[0], y_values[0]), min(x_values[-1], y_values[-1])
    dots = []
    for one in fidelity.networks:
        again = y_at(quality.scale * one.again[split]) if one.again else None
        place = x_at(quality.scale * one.inherited[split]), y_at(quality.scale * one.alone[split])
        dots.append(Dot(*place, again, _title(one, split, quality)))
    return Scatter(
        x_label=f"{quality.phrase} inherited, {quality.unit}",
        y_label=f"{quality.phrase} trained alone, {quality.unit}",
        x_ticks=tuple((x_at(x), f"{x:g}") for x in x_values),
        y_ticks=tuple((y_at(y), f"{y:g}") for y in y_values),
        ends=(x_at(low), y_at(low), x_at(max(low, high)), y_at(max(low, high))),
        dots=tuple(dots),
    )


def _title(one: Compared, split: str, quality: Metric) -> str:
    words = f"{one.name}: inherited {quality.format(one.inherited[split])}, alone {quality.format(one.alone[split])}"
    again = f", again {quality.format(one.again[split])}" if one.again else ""
    return f"{words}{again}; {MACS.format(one.costs[MACS.name])} MACs: {one.architecture}"
