"""The exported front of a run as a table, best first, with the most important columns first and as many as fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ffnet_search.cli.printing import Column, Grid, print_plain
from ffnet_search.cli.resolve import Front
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.answer import answer, offers, ranked_on
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.export.groups import WORDS as LETTERS
from ffnet_search.export.groups import First, Groups, read_first, read_groups
from ffnet_search.export.yardstick.gains import read_gains
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import ERROR, FOLDS, IMAGES, INHERITED, INT8, JUDGED, LATENCY, MACS, PARAMS, Metric
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task

SPREAD = "measured_spread"  # prefix of metrics that are not columns
SPLIT_TITLES: Mapping[str, str] = {"search": "validation", FOLDS: "folds", "test": "test"}
WORDS: Mapping[str, str] = {"measured_ms": "measured", "predicted_ms": "predicted", PARAMS.name: "params"}
LATE = 4  # the importance from which on a column stands after the folder


def print_run(front: Front) -> None:
    """The exported front, best first, with a column for each metric in its unit; then the run's files."""
    if front.networks:
        chosen, why = chosen_of(front)
        print_plain(front_grid(front, chosen))
        print_plain(f"* {why}")
        pareto = front.networks[0].folder.parent
        for line in front_words(front, read_first(pareto), read_groups(pareto)):
            print_plain(line)
    print_files(front)


def print_files(front: Front) -> None:
    """The files of a run that exist, with their purpose."""
    files = front.sweep.files
    words = {
        files.report: "interactive report (open in a browser)",
        files.pareto: "the networks: architecture, weights, ONNX, card",
        files.candidates: "all candidates",
        files.study: "the study, for Optuna",
        files.supernet: "the supernet's weights",
        files.latency: "latency tables",
    }
    existing = [path for path in words if path.exists()]
    width = max((len(str(path)) for path in existing), default=0)
    for path in existing:
        print_plain(f"{path!s:<{width}}  {words[path]}")


def front_grid(front: Front, chosen: int | None = None) -> Grid:
    """The columns in order of importance: rank, qualities with their error, measured latency, parameters, folder, and
    then the rest, which are details. `chosen`: the index of the network that is marked."""
    networks, sweep = front.networks, front.sweep
    ranks = [f"{rank}{'*' if rank - 1 == chosen else ''}" for rank in range(1, len(networks) + 1)]
    folders = [network.folder.name for network in networks]
    words = [str(Configuration(one.architecture, one.hyperparameters)) for one in networks]
    is_ffnet = networks[0].architecture is not None
    configuration = Column("architecture" if is_ffnet else "hyper-parameters", words, "words", is_detail=is_ffnet)
    early, late = metric_columns(sweep, networks, read_groups(networks[0].folder.parent))
    rest = [*late, configuration] if is_ffnet else [configuration, *late]
    columns = [Column("#", ranks, "key"), *early, Column("folder", folders, "key"), *rest]
    return Grid(columns, frozenset() if chosen is None else frozenset({chosen}))


def chosen_of(front: Front) -> tuple[int, str]:
    """The index of the network that `pick` names within the sweep's own limit of latency, and why it is that."""
    sweep, path = front.sweep, front.sweep.latency_path
    if sweep.module is not None or not path.exists():
        return 0, f"first by {sweep.metric(next(iter(sweep.search.objectives))).phrase}"
    limit = sweep.search.constraints.get(LATENCY.name, math.inf)
    known = offers(sweep, (), front.networks, LatencyTable.load(path))
    quality = ranking(sweep)
    best = answer(known, quality, limit).exported or answer(known, quality).exported
    assert best is not None
    within = "" if math.isinf(limit) else f" within {LATENCY.format(limit)}"
    keys = [network.key for network in front.networks]
    split = JUDGED[ranked_on(front.networks, quality)]
    return keys.index(best.key), f"ranked first by {quality.phrase} {split}{within}"


def front_words(front: Front, first: First, groups: Groups) -> Iterator[str]:
    """The lines below the table: the letters, the images, a better network that is not exported, and the yardstick."""
    task, metrics = find_task(front.sweep.task), front.networks[0].metrics
    shape = front.networks[0].architecture
    if shape is not None and (note := task.quality_note(shape.input.outputs)):
        yield f"{note}; `ffnet-search show FOLDER` of one network has each in its own unit"
    if any(groups.values()):
        yield f"letters: {LETTERS}"
    counts = {split: metrics[key] for split in SPLIT_TITLES if (key := f"{split}_{IMAGES.name}") in metrics}
    folded = counts.pop(FOLDS, None)
    if counts:
        images = [f"{count:,.0f} {SPLIT_TITLES[split]}" for split, count in counts.items()]
        yield (
            f"± one standard error: {' and '.join(images)} images; "
            "the search chose by validation, which is optimistic for that; test chose nothing"
        )
    if folded is not None:
        yield (
            f"folds: such networks trained {front.sweep.export.folds} times from new weights, each time judged on "
            f"images left out of the training: {folded:,.0f} images"
        )
    if first.hint:
        yield first.hint
    for gain in read_gains(front.sweep.files.yardstick):
        if gain.by_hand.startswith(("width", "baseline")):
            yield gain.words(task.quality)


def metric_columns(
    sweep: Sweep, networks: Sequence[ExportedNetwork], groups: Groups
) -> tuple[list[Column], list[Column]]:
    """The metrics that networks have, as columns: those that stand before a network's name, and those after it.
    `groups`: the letters beside the qualities."""
    names = sorted(_names(networks), key=lambda name: importance(name, sweep))
    columns = []
    for name in names:
        split, _, quality = name.partition("_")
        letters = groups.get(split, {}) if quality == sweep.quality.name else {}
        cells = _cells(sweep.metric(name), name, networks)
        cells = [
            f"{cell} {letters.get(one.folder.name, '')}".rstrip() for cell, one in zip(cells, networks, strict=True)
        ]
        columns.append(Column(_title(sweep.metric(name)), cells, is_detail=importance(name, sweep) >= LATE))
    early = sum(not column.is_detail for column in columns)
    return columns[:early], columns[early:]


def _names(networks: Iterable[ExportedNetwork]) -> list[str]:
    names = dict.fromkeys(name for network in networks for name in network.metrics)
    errors = {name for name in names if name.endswith(ERROR) and name.removesuffix(ERROR) in names}
    aside = errors | {name for name in names if name.startswith(SPREAD) or name.split("_")[-1] == IMAGES.name}
    return [name for name in names if name not in aside]


def importance(name: str, sweep: Sweep) -> int:
    """The place of a metric among the columns, 0 for the first."""
    splits = (f"{split}_" for split in (*SPLIT_TITLES, f"{INT8}test"))
    if any(name == f"{split}{quality}" for split in splits for quality in (ranking(sweep).key, sweep.quality.name)):
        return not name.startswith(("search", FOLDS))
    if sweep.module is not None:
        if name in sweep.search.objectives:
            return 0
        return 1 if name.startswith("test_") else 2
    first = ("measured_ms", "params_m", "predicted_ms", MACS.name)
    base = name.partition("@")[0]
    if base in first:
        return 2 + first.index(base)
    return len(first) + 2 + name.startswith(INHERITED)


def _title(metric: Metric) -> str:
    """A title of two lines: what, and its split or unit."""
    device, unit = f" @{metric.device}" if metric.device else "", metric.unit
    prefix = next((one for one in (INHERITED, INT8) if metric.name.startswith(one)), "")
    split, _, quality = metric.name.removeprefix(prefix).partition("_")
    if split in SPLIT_TITLES and quality:
        word = (metric.word or metric.name).removesuffix(f" {JUDGED[split]}").replace("_", " ")
        return f"{word}{metric.device and f' of {metric.device}'}{unit and f' {unit}'}\n{SPLIT_TITLES[split]}"
    return f"{WORDS.get(metric.name, metric.word or metric.name)}\n{unit}{device}".rstrip()


def _cells(metric: Metric, name: str, networks: Iterable[ExportedNetwork]) -> list[str]:
    return [
        ""
        if name not in network.metrics
        else metric.format(network.metrics[name], unit=False) + _error(metric, network.metrics.get(name + ERROR))
        for network in networks
    ]


def _error(metric: Metric, error: float | None) -> str:
    return "" if error is None else f" ± {metric.format(error, unit=False)}"
