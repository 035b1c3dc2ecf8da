"""The tables of a report: any records, classes and their confusion, outputs, and networks by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffnet_search.export.class_table import CLASS_TITLES, class_rows
from ffnet_search.report.data import Run
from ffnet_search.tasks.scores import LEVEL

Record = tuple[str, str, Mapping[str, object]]  # a name, a link to its files ("" for none), and its values by column
Row = tuple[str, str, Sequence[str]]  # the same with the cells of a row
Table = tuple[list[str], list[Row]]  # column titles and rows
YARDSTICK = ["by hand", "measured", "test", "front's network as quick", "its test", "gain", "told apart"]


def records_table(title: str, records: Sequence[Record]) -> Table:
    """The table of records, its first column called `title`; a cell that a record lacks is empty."""
    names = list(dict.fromkeys(name for _, _, values in records for name in values))
    rows: list[Row] = []
    for name, link, values in records:
        rows.append((name, link, [_plain(values[column]) if column in values else "" for column in names]))
    return [title, *names], rows


def _plain(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def class_tables(run: Run) -> dict[str, Any]:
    """The classes of the network that is ranked first: their table and their confusion."""
    details = run.first.details
    rows: list[Row] = [(name, "", cells) for name, *cells in class_rows(details)]
    confusion = details.get("confusion", [])
    most = max((count for row in confusion for count in row), default=0) or 1
    names = list(details.get("recall", {}))
    matrix = [
        (name, [(count, f"{count / most:.2f}", column == row) for column, count in enumerate(counts)])
        for row, (name, counts) in enumerate(zip(names, confusion, strict=False))
    ]
    return {"class_table": (list(CLASS_TITLES), rows) if rows else None, "confusion": matrix}


def output_table(run: Run) -> Table | None:
    """The quality of each output on test, a row for each and a column per network; None if the task has none.

    If the task knows the quality of a constant prediction, that is the last column."""
    names = [network.folder.name for network in run.exported]
    columns = [network.details.get(run.task.each, {}) for network in run.exported]
    if not any(columns):
        return None
    constant = run.exported[0].details.get("constant")
    if constant:
        columns, names = [*columns, constant], [*names, "the median alone"]
    values = [[column.get(name) for column in columns] for name in columns[0]]
    quality = run.task.quality
    rows: list[Row] = [
        (name, "", ["none in test" if value is None else quality.format(value) for value in row])
        for name, row in zip(columns[0], values, strict=True)
    ]
    return [run.task.outputs_word, *names], rows


def yardstick_table(run: Run) -> Table | None:
    """A row for each network by hand: its latency and quality, the front's network as quick, and what that gains.

    None if none was trained."""
    if not run.gains:
        return None
    quality = run.task.quality
    rows: list[Row] = []
    for gain in run.gains:
        front = ["none", "", "", ""]
        if gain.front:
            told_apart = "yes" if gain.p < LEVEL else "no"
            front = [gain.front, quality.format(gain.front_quality), gain.difference_words(quality), told_apart]
        ms = run.metric("measured_ms").format(gain.ms)
        rows.append((gain.by_hand, f"yardstick/{gain.folder}", [ms, quality.format(gain.quality), *front]))
    return YARDSTICK, rows
