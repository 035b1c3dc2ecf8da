"""A CSV of images with their labels or numbers: `file, columns ... [, split]`, read once, as text.

`file` is relative to the CSV, or to images/ beside it. `split` is train, val or test; instead there may be a CSV for
each. Without rows for testing a fifth of the others becomes the test split. Cells are separated by commas, semicolons
or tabs.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import Indices
from ffnet_search.data.layout import HIDDEN, SPLIT_NAMES, TEST, TRAIN, VALIDATION, given_path
from ffnet_search.errors import SweepError, did_you_mean, shown
from ffnet_search.files.bounded import is_bounded, open_regular
from ffnet_search.formatting import first_few

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

FILE = ("file", "file_name", "filename", "image", "path")  # names of the column of files, in any case
FILE_COLUMN = "a column with the image file of each row"
SPLIT = "split"
UNNAMED = ("", "unnamed: 0")  # a column of row numbers, as pandas writes it
DELIMITERS = ",;\t"
SUFFIXES = (".csv", ".tsv")  # of tables, in any case


@dataclass(frozen=True)
class Table:
    """The rows of one CSV or several. `files`: as they are written. `columns`: those to learn, name -> cells.

    `places`: file and line of each row, for errors. `splits`: of each row, train where none is given."""

    root: Path
    files: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    places: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files as they are found from here."""
        beside = self.root / "images"
        return tuple(_found(self.root, beside, file) for file in self.files)

    def parts(self) -> dict[str, Indices]:
        """Split -> its rows, train first, of the splits that the table has; without any, all rows are for training."""
        splits = np.array(self.splits)
        return {one: np.flatnonzero(splits == one) for one in (TRAIN, VALIDATION, TEST) if (splits == one).any()}


def _must_be_alike(path: Path, names: Sequence[str], first: Path, wanted: Sequence[str]) -> None:
    """Raise SweepError if the table of a split has other columns than that for training."""
    lacking, others = ([one for one in a if one not in b] for a, b in ((wanted, names), (names, wanted)))
    if lacking or others:
        but = [f"lacks {first_few(lacking)}"] * bool(lacking) + [f"also has {first_few(others)}"] * bool(others)
        raise SweepError(f"data.path: {path} must have the columns of {first}, but {' and '.join(but)}")


def _found(root: Path, beside: Path, file: str) -> Path:
    path = root / file
    # os.path: a name that no file can have is none
    return beside / file if not os.path.exists(path) and os.path.exists(beside / file) else path


def find_tables(section: DataSection) -> dict[str, Path]:
    """Split -> its CSV: train.csv, val.csv (or valid, validation) and test.csv of a folder; else the one CSV, as train.

    Raises SweepError if there are none, several that have other names, or two for one split."""
    path = given_path(section, "the CSV file, or the folder that holds it")
    if os.path.isfile(path):
        return {TRAIN: path}
    if not os.path.isdir(path):
        raise SweepError(f"data.path: {path} must be a CSV file, or a folder that holds one, but there is no such file")
    tables = tables_in(path)
    named: dict[str, Path] = {}
    for table in tables:
        split = SPLIT_NAMES.get(table.stem.lower())
        if split in named:
            raise SweepError(
                f"data.path: {path} must hold one CSV for {split}, but holds {named[split].name} and {table.name}; "
                "merge or rename them"
            )
        if split is not None:
            named[split] = table
    if TRAIN in named:
        return {split: named[split] for split in (TRAIN, VALIDATION, TEST) if split in named}
    if len(tables) != 1:
        names = first_few([table.name for table in tables])
        raise SweepError(
            f"data.path: {path} must hold one CSV file, or train.csv and test.csv, but holds {names or 'none'}; "
            f"{'give the path of one' if names else 'add one'}"
        )
    return {TRAIN: tables[0]}


def tables_in(folder: Path) -> list[Path]:
    """The CSV files of a folder, by their suffix, sorted; hidden ones aside."""
    tables = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(HIDDEN))
    return sorted(path for path in tables if not path.is_dir())


def read_table(section: DataSection) -> Table:
    """Read the CSV of a section, with its columns to learn: all but file and split, or those of `data.columns`.

    Raises SweepError, which names file and line, where it is no such table."""
    found = find_tables(section)
    first = found[TRAIN]
    names, rows, places = _read(first)
    splits = [TRAIN] * len(rows)
    for split, path in list(found.items())[1:]:
        more_names, more_rows, more_places = _read(path)
        _must_be_alike(path, more_names, first, names)
        rows, places, splits = rows + more_rows, places + more_places, splits + [split] * len(more_rows)
    by_lower = {name.lower(): name for name in names}
    file_name = next((by_lower[name] for name in FILE if name in by_lower), None)
    if file_name is None:
        raise SweepError(
            f"data.path: {first} must have {FILE_COLUMN} ({', '.join(FILE)}, in any case), but has {first_few(names)}; "
            "rename one or add it"
        )
    split_name = by_lower.get(SPLIT)
    files = tuple(row[file_name] for row in rows)
    _must_be_files(files, places)
    if len(found) == 1 and split_name is not None:
        splits = _splits([row[split_name] for row in rows], places)
    others = [name for name in names if name not in (file_name, split_name)]
    chosen = _chosen(section, others, first)
    return Table(
        first.parent, files, {name: tuple(row[name] for row in rows) for name in chosen}, places, tuple(splits)
    )


def _read(path: Path) -> tuple[list[str], list[dict[str, str]], tuple[str, ...]]:
    """The names of the columns, the rows, and the place of each."""
    rows: list[dict[str, str]] = []
    places: list[str] = []
    try:
        with open_csv(path) as file:
            lines = csv_rows(file, strict=True)
            header = [" ".join(name.split()) for name in next(lines, [])]
            for cells in lines:
                if not any(cell.strip() for cell in cells):
                    continue
                place = f"{path}, line {lines.line_num}"
                if len(cells) != len(header):
                    raise SweepError(
                        f"data.path: {place} must have {len(header)} cells, but has {len(cells)}; give it as many as "
                        f"the first line has, and put a cell that holds {shown(lines.dialect.delimiter)} into quotes"
                    )
                rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=True)})
                places.append(place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SweepError(
            f"data.path: {path} must be a CSV file in UTF-8, but cannot be read so ({error}); save it again as one"
        ) from None
    names = [name for name in header if name.lower() not in UNNAMED]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SweepError(
            f"data.path: {path} must name each column once, but repeats {first_few(repeated)}; rename some"
        )
    if not rows:
        raise SweepError(f"data.path: {path} must have a line of names and then rows, but has no rows")
    return names, rows, tuple(places)


def open_csv(path: Path) -> TextIO:
    """Open a CSV as text. Raises OSError."""
    return TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def csv_rows(file: TextIO, strict: bool = False) -> CsvReader:
    """The rows of a CSV, separated by the delimiter that its first line has most often."""
    first = file.readline()
    file.seek(0)
    return csv.reader(file, delimiter=max(DELIMITERS, key=first.count), strict=strict)


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, and not beyond the bound of all files."""
    try:
        return is_bounded(float(cell)) and "_" not in cell
    except ValueError:
        return False


def _must_be_files(files: Sequence[str], places: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for file, place in zip(files, places, strict=True):
        if not file or "\0" in file:
            raise SweepError(f"data.path: {place} must name a file, but is {shown(file)}; name one, or remove the row")
        if file in seen:
            raise SweepError(f"data.path: {place} must not repeat {file}, which is in {seen[file]} too; remove one")
        seen[file] = place


def _splits(cells: Sequence[str], places: Sequence[str]) -> list[str]:
    """The split of each row."""
    for cell, place in zip(cells, places, strict=True):
        if cell.lower() not in SPLIT_NAMES:
            raise SweepError(f"data.path: {place}: {SPLIT} must be train, val or test, but is {shown(cell)}")
    splits = [SPLIT_NAMES[cell.lower()] for cell in cells]
    if TRAIN not in splits:
        raise SweepError(
            f"data.path: {places[0].rpartition(',')[0]} must have rows whose {SPLIT} is train, but has none"
        )
    return splits


def _chosen(section: DataSection, names: Sequence[str], path: Path) -> Sequence[str]:
    """The columns to learn."""
    if section.columns is None:
        if not names:
            raise SweepError(f"data.path: {path} must have a column beside the files, with what to learn, but has none")
        return names
    for name in section.columns:
        if name not in names:
            raise SweepError(
                f"data.columns must be columns of {path}, but {shown(name)} is none{did_you_mean(name, names)}"
            )
    return section.columns
