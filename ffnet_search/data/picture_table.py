"""Images with labels or numbers in a CSV (see `data.table`), for the task of the sweep.

classification: one column of names. multilabel: a column of 0 and 1 per label. regression: a column of numbers per
target, whose name may have its unit: `weight [g]`. Images are resized whole to the resolution of the search space; for
classification, as from folders, cut to their centre square first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, Images, InMemory, Source, must_match, split_test
from ffnet_search.data.image_folder import MIB, Decoder, OnDisk, image_bytes
from ffnet_search.data.table import Table, read_table
from ffnet_search.errors import SweepError, shown
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets, task_of

YES = ("1", "1.0", "true", "yes")
NO = ("0", "0.0", "false", "no")
MOST = float(np.finfo(np.float32).max)
CHECKED = 2000  # files whose presence a check looks for
Outputs = tuple[str, ...]


class PictureTable(DataSet):
    """`data.name: picture_table`. Images as by `image_folder`; labels and numbers are held in memory."""

    tasks = ("classification", "multilabel", "regression")

    def read(self, section: DataSection, input: Input) -> Source:
        table, task = read_table(section), task_of(input)
        outputs, targets_N = read_targets(table, task.name)
        paths, digest = table.paths, hashlib.sha256()
        for index, (file, path) in enumerate(zip(table.files, paths, strict=True)):
            cells = "\0".join(cells[index] for cells in table.columns.values())
            digest.update(f"{file}\0{image_bytes(path)}\0{cells}\n".encode(errors="surrogateescape"))
        train, test = table.parts() or split_test(task.strata(targets_N))
        must_vary(targets_N[train], outputs, task.name)
        mode = "L" if input.channels == 1 else "RGB"
        whole = task.name != "classification"
        decoder = Decoder(tuple(map(str, paths)), input.resolution, mode, section.workers, 0.0, whole=whole)
        sets: list[Images]
        if len(paths) * input.resolution**2 * input.channels <= section.in_memory_mb * MIB:
            pixels_NHWC = decoder.read(range(len(paths)))
            sets = [InMemory(pixels_NHWC[part], targets_N[part]) for part in (train, test)]
        else:
            sets = [OnDisk(decoder, part, targets_N[part]) for part in (train, test)]
        digest.update(repr(table.is_test).encode())
        return Source(sets[0], sets[1], outputs, digest.hexdigest())

    def check(self, section: DataSection, input: Input) -> None:
        if input.channels not in (1, 3):
            raise SweepError(
                f"data.name: {section.name!r} has images of 1 or 3 channels, but the search space has input.channels "
                f"{input.channels}; set input.channels: 3 in the search space's file"
            )
        table = read_table(section)
        outputs, _ = read_targets(table, task_of(input).name)
        must_match(section, input, outputs=len(outputs))
        paths = table.paths
        for index in range(0, len(paths), max(1, len(paths) // CHECKED)):
            must_exist(table, paths[index], index)


def must_exist(table: Table, path: Path, index: int) -> None:
    """Raise SweepError where the image of a row is missing or no file; it names the row."""
    try:
        image_bytes(path)
    except SweepError as error:
        raise SweepError(f"{error}; {table.places[index]} names it") from None


def read_targets(table: Table, task: str) -> tuple[Outputs, Targets]:
    """The names of the outputs and the targets (N, ...) of all rows for a task. Raises SweepError."""
    return READERS[task](table)


def read_classes(table: Table) -> tuple[Outputs, Targets]:
    """Classes by name, sorted, those of numbers by their size; int64 (N,)."""
    if len(table.columns) != 1:
        raise SweepError(
            f"data.columns must name one column for task 'classification', but there are {', '.join(table.columns)}; "
            "name one, or use task 'multilabel' or 'regression'"
        )
    [(name, cells)] = table.columns.items()
    for cell, place in zip(cells, table.places, strict=True):
        if not cell:
            raise SweepError(f"data.path: {place}: {name} must be the name of a class, but is empty")
    trained = [cell for cell, test in zip(cells, table.is_test or [False] * len(cells), strict=True) if not test]
    classes = sorted(set(trained), key=lambda cell: (float(cell) if _is_number(cell) else math.inf, cell))
    if len(classes) < 2:
        raise SweepError(
            f"data.path: {name} must hold two classes at least for training, but holds {', '.join(classes)}"
        )
    numbers = {cell: number for number, cell in enumerate(classes)}
    for cell, place in zip(cells, table.places, strict=True):
        if cell not in numbers:
            raise SweepError(f"data.path: {place}: {name} must be a class of the training rows, but is {shown(cell)}")
    return tuple(classes), np.array([numbers[cell] for cell in cells], np.int64)


def read_labels(table: Table) -> tuple[Outputs, Targets]:
    """Labels, float32 (N, K) of 0 and 1."""
    words = {**dict.fromkeys(YES, 1.0), **dict.fromkeys(NO, 0.0)}
    return _columns(table, lambda cell: words.get(cell.lower(), math.nan), "0 or 1")


def read_numbers(table: Table) -> tuple[Outputs, Targets]:
    """Numbers, float32 (N, K)."""
    return _columns(table, lambda cell: float(cell) if _is_number(cell) else math.nan, "a number")


def _columns(table: Table, read: Callable[[str], float], wanted: str) -> tuple[Outputs, Targets]:
    columns = []
    for name, cells in table.columns.items():
        numbers = [read(cell) for cell in cells]
        for number, cell, place in zip(numbers, cells, table.places, strict=True):
            if not abs(number) <= MOST:
                raise SweepError(
                    f"data.path: {place}: {name} must be {wanted}, but is {shown(cell)}; change it, or name the "
                    "columns to learn in data.columns"
                )
        columns.append(numbers)
    return tuple(table.columns), np.array(columns, np.float32).T.copy()


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def must_vary(targets_N: Targets, outputs: Outputs, task: str) -> None:
    """Raise SweepError where a label or a number is the same in all training images: there is nothing to learn."""
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
