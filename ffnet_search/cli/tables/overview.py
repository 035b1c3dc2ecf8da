"""Several runs as tables on standard output, and two fronts as an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from math import isfinite, nan
from typing import Any

from ffnet_search.cli.printing import Column, Grid, Kind, print_path, print_plain
from ffnet_search.cli.tables.front import SPLIT_TITLES, metric_columns
from ffnet_search.config.named_metrics import ranking
from ffnet_search.export.pair import Pair
from ffnet_search.formatting import percent
from ffnet_search.metrics import ERROR, find_metric
from ffnet_search.run.overview import ListedRun
from ffnet_search.run.run_comparison import RunComparison, quality_and_ms

LETTERS = ("A", "B")  # for what is compared, in tables


def print_runs(runs: Sequence[ListedRun]) -> None:
    """A line for each run: folder, state, best quality, measured latency, networks, candidates, size."""
    if not runs:
        print_plain("no runs here")
        return
    print_plain(
        Grid(
            [
                Column("run", [str(run.folder) for run in runs], "key"),
                Column("state", [run.state for run in runs], "words"),
                Column("best", [_best(run) for run in runs]),
                Column("measured\nms", ["" if run.measured_ms is None else _ms(run.measured_ms) for run in runs]),
                Column("size\nMB", [f"{run.size_mb:,.1f}" for run in runs]),
                Column("networks", [str(run.networks) for run in runs]),
                Column("candidates", [f"{run.candidates:,}" for run in runs]),
                Column("changed", [f"{run.changed:%Y-%m-%d %H:%M}" if run.changed else "" for run in runs]),
            ]
        )
    )


def _best(run: ListedRun) -> str:
    return "" if run.best is None or run.quality is None else run.quality.format_with(run.best, run.best_error)


def _ms(value: float) -> str:
    return find_metric("measured_ms").format(value, unit=False)


def print_comparison(comparison: RunComparison) -> None:
    """Both fronts as one table, the quickest network first; what each reaches; the settings that differ."""
    networks = [network for _, network, _ in comparison.rows]
    early, late = metric_columns(comparison.sweeps[0], networks, {})  # letters of groups are of one run
    joint = frozenset(index for index, row in enumerate(comparison.rows) if row[2])
    marks = [f"{LETTERS[run]}{'*' if is_joint else ''}" for run, _, is_joint in comparison.rows]
    folders = Column("folder", [network.folder.name for network in networks], "key")
    for letter, sweep in zip(LETTERS, comparison.sweeps, strict=True):
        print_path(f"{letter}  {sweep.files.folder}")
    print_plain(Grid([Column("run", marks, "key"), *early, folders, *late], joint))
    print_plain("* dominated by no network of either run")
    shares = (
        f"{letter} dominates {percent(share, 1)}" for letter, share in zip(LETTERS, comparison.shares, strict=True)
    )
    print_plain(f"of the box that both fronts span, {', '.join(shares)}")
    print_plain(_best_words(comparison))
    if comparison.devices[0] != comparison.devices[1]:
        print_plain(f"measured on different devices: {comparison.devices[0]}; {comparison.devices[1]}")
    if comparison.changes:
        cells = [cell for change in comparison.changes for cell in _cells(change.field, change.old, change.new)]
        columns = zip(["setting", *LETTERS], zip(*cells, strict=True), strict=True)
        print_plain(Grid([Column(title, column, "words") for title, column in columns], whole=True))
    else:
        print_plain("no setting differs")


def _cells(name: str, old: Any, new: Any) -> Iterator[list[str]]:
    """A setting of two runs as rows: of mappings and of lists of them, such as the stages of a space, what differs."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs: list[Any] = [(key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]
    elif all(isinstance(one, list) and one and isinstance(one[0], Mapping) for one in (old, new)):
        pairs = [(index, *both) for index, both in enumerate(zip_longest(old, new))]
    else:
        yield [name, str(old), str(new)]
        return
    for key, *both in pairs:
        yield from _cells(f"{name}.{key}", *both)


def _best_words(comparison: RunComparison) -> str:
    """The answer of a paired test of the best network of each run."""
    best = comparison.best
    if best is None:
        return "no test compares their best networks: they were judged on different images, or hold no scores of them"
    names = " and ".join(f"{letter} {one.folder.name}" for letter, one in zip(LETTERS, best.networks, strict=True))
    return f"first by {best.quality.phrase}: {names}; {best.verdict_of(LETTERS)}"


def print_pair(pair: Pair) -> None:
    """Two networks: their quality on each split, the difference, and whether a test tells it from none."""
    quality, rows = pair.quality, []
    for test in pair.tests:
        reached = map(quality.format_with, test.qualities, test.errors)
        sign = "+" if test.difference >= 0 else "-"
        difference = quality.format(abs(test.difference), unit=False)
        if isfinite(test.error):
            difference += f" ± {quality.format(test.error, unit=False)}"
        cells = [*reached, f"{sign}{difference}", f"{test.p:.2g}", "yes" if test.is_significant else "no"]
        rows.append([f"{SPLIT_TITLES[test.split]} ({test.images:,})", *cells])
    for name in ("measured_ms", "params_m"):
        metric = find_metric(name)
        values = [one.metrics[name] for one in pair.networks if name in one.metrics]
        if len(values) == len(pair.networks):
            rows.append([metric.phrase, *map(metric.format, values), "", "", ""])
    titles = ["images", *LETTERS, "difference", "p", "told apart"]
    kinds: list[Kind] = ["key", "number", "number", "number", "number", "key"]  # the answer is in every width
    grid = [Column(title, [row[index] for row in rows], kinds[index]) for index, title in enumerate(titles)]
    for letter, network in zip(LETTERS, pair.networks, strict=True):
        print_path(f"{letter}  {network.folder}")
    print_plain(Grid(grid))
    print_plain(pair.verdict)


def image_of(comparison: RunComparison) -> bytes:
    """Both fronts as a PNG file: quality on search validation, with its error, against latency."""
    from ffnet_search.report.front_image import as_png, draw_fronts

    fronts: dict[str, list[tuple[float, float, float]]] = {name: [] for name in comparison.names}
    first, _ = comparison.sweeps
    quality = first.metric(f"search_{ranking(first).key}")
    for run, network, _ in comparison.rows:
        value, ms = quality_and_ms(comparison.sweeps[run], network)
        fronts[comparison.names[run]].append((ms, value, network.metrics.get(quality.key + ERROR, nan)))
    return as_png(draw_fronts(fronts, find_metric("measured_ms"), quality))
