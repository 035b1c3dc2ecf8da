"""Images with labels or numbers in a CSV (see `data.table`), for the task of the sweep.

classification: one column of names. multilabel: a column of 0 and 1 per label. regression: a column of numbers per
target, whose name may have its unit: `weight [g]`. Images are resized whole to the resolution of the search space; for
classification, as from folders, cut to their centre square first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from glob import escape
from pathlib import Path

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, Indices, OnDemand, Source, must_match
from ffnet_search.data.files import Files, files_on_demand, open_files
from ffnet_search.data.image_folder import must_have_colours
from ffnet_search.data.layout import TRAIN, image_bytes
from ffnet_search.data.table import Table, is_number, read_table
from ffnet_search.errors import SweepError, shown
from ffnet_search.formatting import first_few
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets, task_of

YES = ("1", "1.0", "true", "yes")
NO = ("0", "0.0", "false", "no")
FLOAT32_MAX = float(np.finfo(np.float32).max)
CHECKED_FILES = 2000  # files whose presence a check looks for
Outputs = tuple[str, ...]


class PictureTable(DataSet):
    """`data.name: picture_table`. Images as by `image_folder`; labels and numbers are held in memory."""

    tasks = ("classification", "multilabel", "regression")
    options = ("path", "columns")

    def read(self, section: DataSection, input: Input) -> Source:
        table, task = read_table(section), task_of(input)
        outputs, targets_N = read_targets(table, task.name)
        digest = hashlib.sha256(" ".join(_digest(table, rows) for rows in table.parts().values()).encode())
        source = open_files(table_files(table, targets_N), outputs, section, input, digest.hexdigest())
        must_vary(source.train.targets_N, outputs)
        return source

    def check(self, section: DataSection, input: Input) -> None:
        must_have_colours(section, input)
        table, task = read_table(section), task_of(input)
        outputs, targets_N = read_targets(table, task.name)
        must_match(section, input, outputs=len(outputs))
        must_vary(targets_N[table.parts()[TRAIN]], outputs)
        paths = table.paths
        for index in range(0, len(paths), max(1, len(paths) // CHECKED_FILES)):
            must_exist(table, paths[index], index)

    def on_demand(self, section: DataSection, input: Input) -> OnDemand | None:
        return files_on_demand(self.parts(section, input), section, input)

    def output_names(self, section: DataSection, input: Input) -> tuple[str, ...]:
        return read_targets(read_table(section), task_of(input).name)[0]

    def parts(self, section: DataSection, input: Input) -> dict[str, Files]:
        table = read_table(section)
        return table_files(table, read_targets(table, task_of(input).name)[1])

    def contents(self, section: DataSection, input: Input) -> dict[str, dict[str, str]]:
        table = read_table(section)
        parts = table.parts().items()
        return {split: {"rows": f"{len(rows)} rows, {_digest(table, rows)[:8]}"} for split, rows in parts}


def table_files(table: Table, targets_N: Targets) -> dict[str, Files]:
    """The files of each split that the table has."""
    files = Files(tuple(map(str, table.paths)), table.files, targets_N)
    return {split: files.part(rows) for split, rows in table.parts().items()}


def _digest(table: Table, rows: Indices) -> str:
    """The sha256 of some rows: names, sizes and cells."""
    sha, paths = hashlib.sha256(), table.paths
    for index in rows.tolist():
        cells = "\0".join(cells[index] for cells in table.columns.values())
        row = f"{table.files[index]}\0{image_bytes(paths[index])}\0{cells}\n"
        sha.update(row.encode(errors="surrogateescape"))
    return sha.hexdigest()


def must_exist(table: Table, path: Path, index: int) -> None:
    """Raise SweepError if the image of a row is missing or no file; it names the row, and a file of the same name with
    an ending, which some tables leave out."""
    try:
        image_bytes(path)
    except SweepError as error:
        near = sorted(one.name for one in path.parent.glob(f"{escape(path.name)}.*"))
        hint = f"; did you mean {near[0]!r}, with its ending?" if near else ""
        raise SweepError(f"{error}; {table.places[index]} names it{hint}") from None


def read_targets(table: Table, task: str) -> tuple[Outputs, Targets]:
    """The names of the outputs and the targets (N, ...) of all rows for a task. Raises SweepError."""
    return READERS[task](table)


def read_classes(table: Table) -> tuple[Outputs, Targets]:
    """Classes by name, sorted, those of numbers by their size; int64 (N,)."""
    names = list(table.columns)
    if len(names) != 1:
        raise SweepError(
            f"data.columns must name one column for task 'classification', but there are {first_few(names)}; "
            "name one, or use task 'multilabel' or 'regression'"
        )
    [(name, cells)] = table.columns.items()
    for cell, place in zip(cells, table.places, strict=True):
        if not cell:
            raise SweepError(
                f"data.path: {place}: {name} must be the name of a class, but is empty; fill it, or remove the row"
            )
    trained = [cell for cell, split in zip(cells, table.splits, strict=True) if split == TRAIN]
    classes = sorted(set(trained), key=lambda cell: (float(cell) if is_number(cell) else math.inf, cell))
    if len(classes) < 2:
        raise SweepError(
            f"data.path: {_file_of(table)}: {name} must hold two classes at least for training, but holds "
            f"{', '.join(classes)}; add rows of others, or name another column in data.columns"
        )
    numbers = {cell: number for number, cell in enumerate(classes)}
    for cell, place in zip(cells, table.places, strict=True):
        if cell not in numbers:
            raise SweepError(
                f"data.path: {place}: {name} must be a class of the training rows, but is {shown(cell)}; add such rows "
                "for training, or remove this one"
            )
    return tuple(classes), np.array([numbers[cell] for cell in cells], np.int64)


def _file_of(table: Table) -> str:
    """The file of a table's first row."""
    return table.places[0].rpartition(", line")[0]


def read_labels(table: Table) -> tuple[Outputs, Targets]:
    """Labels, float32 (N, K) of 0 and 1."""
    words = {**dict.fromkeys(YES, 1.0), **dict.fromkeys(NO, 0.0)}
    return _columns(table, lambda cell: words.get(cell.lower(), math.nan), "0 or 1")


def read_numbers(table: Table) -> tuple[Outputs, Targets]:
    """Numbers, float32 (N, K)."""
    return _columns(table, lambda cell: float(cell) if is_number(cell) else math.nan, "a number")


def _columns(table: Table, read: Callable[[str], float], wanted: str) -> tuple[Outputs, Targets]:
    columns = []
    for name, cells in table.columns.items():
        numbers = [read(cell) for cell in cells]
        for number, cell, place in zip(numbers, cells, table.places, strict=True):
            if not abs(number) <= FLOAT32_MAX:
                raise SweepError(
                    f"data.path: {place}: {name} must be {wanted}, but is {shown(cell)}; change it, or name the "
                    "columns to learn in data.columns"
                )
        columns.append(numbers)
    return tuple(table.columns), np.array(columns, np.float32).T.copy()


def must_vary(targets_N: Targets, outputs: Outputs) -> None:
    """Raise SweepError if a label or a number is the same in all training images: there is nothing to learn."""
    if targets_N.ndim == 1:
        return
    idle = [name for name, row_N in zip(outputs, targets_N.T, strict=True) if (row_N == row_N[:1]).all()]
    if idle:
        raise SweepError(
            f"data.path: every column to learn must vary among the training images, but {', '.join(idle)} "
            f"{'does' if len(idle) == 1 else 'do'} not; name the others in data.columns, or add images"
        )


READERS: Mapping[str, Callable[[Table], tuple[Outputs, Targets]]] = {
    "classification": read_classes,
    "multilabel": read_labels,
    "regression": read_numbers,
}
