"""The answer of `ffnet-search fidelity` as tables on standard output, at most 80 characters wide."""

from __future__ import annotations

from ffnet_search.cli.printing import make_table, print_plain
from ffnet_search.evaluation.fidelity import PREDICTORS, Fidelity
from ffnet_search.formatting import plural
from ffnet_search.metrics import COSTS, LATENCY, MACS, PARAMS
from ffnet_search.report.fidelity import WORDS, facts, interval_words
from ffnet_search.space.registry import task_outputs


def print_fidelity(fidelity: Fidelity) -> None:
    """The networks, the rank correlations with their intervals, gap, regret and seed noise; at last the verdict."""
    quality, pairs = task_outputs(fidelity.task).quality, len(fidelity.pair_differences)
    epochs = fidelity.record.get("epochs", 0)
    twice = f", {pairs} of them twice" if pairs else ""
    print_plain(f"{plural(len(fidelity.networks), 'network')} trained alone for {plural(epochs, 'epoch')}{twice}")
    print_plain(f"{quality.label}, on {fidelity.split}")
    _print_networks(fidelity)
    print_plain("")
    by_group = {
        f"{name} ({len(fidelity.groups[name])})": [interval_words(by[one]) for one in PREDICTORS]
        for name, by in fidelity.kendall.items()
    }
    rows = [[name, *cells] for name, cells in by_group.items()]
    rows.append(["Spearman, all", *(interval_words(fidelity.spearman[name]) for name in PREDICTORS)])
    titles = ["Kendall with alone", *(WORDS[name] for name in PREDICTORS)]
    print_plain(make_table(titles, rows, right=len(PREDICTORS)))
    print_plain("")
    for line in facts(fidelity):
        print_plain(line)
    for name, reason in fidelity.failed.items():
        print_plain(f"{name} is left out: {reason}")
    print_plain(fidelity.sentence)


def _print_networks(fidelity: Fidelity) -> None:
    quality, split = task_outputs(fidelity.task).quality, fidelity.split
    costs = [COSTS[name] for name in (MACS.name, PARAMS.name, LATENCY.name) if name in fidelity.networks[0].costs]
    rows = []
    for one, gap in zip(fidelity.networks, fidelity.gaps, strict=True):
        qualities = [
            quality.format(values[split], unit=False) if values else ""
            for values in (one.inherited, one.alone, one.again)
        ]
        cells = [cost.format(one.costs[cost.name], unit=False) for cost in costs]
        rows.append([one.name, *cells, *qualities, f"{quality.scale * gap:+.2f}"])
    titles = [f"{WORDS.get(cost.name, '')} {cost.unit}".strip() for cost in costs]
    titles += ["inherited", "alone", "again", "gap"]
    print_plain(make_table(["network", *titles], rows, right=len(titles)))
