"""A CSV of images and what is known of each: `file, columns ... [, split]`, read once, as text.

`file` is relative to the CSV, or to images/ beside it. `split` is train, test or val; where both test and val occur,
val is for training, of which the search holds out its own validation. Without it, or without a second CSV, a fifth of
the rows becomes the test split. Cells are separated by commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import Indices
from ffnet_search.data.image_folder import TEST_FOLDERS
from ffnet_search.errors import SweepError, did_you_mean, shown

FILE = ("file", "file_name", "filename", "image", "path")  # names of the column of files, in any case
SPLIT = "split"
TRAIN = ("train", "training")
UNNAMED = ("", "unnamed: 0")  # a column of row numbers, as pandas writes it
DELIMITERS = ",;\t"
SHOWN = 5  # of many, in an error


@dataclass(frozen=True)
class Table:
    """The rows of one or two CSVs. `files`: as they are written. `columns`: those to learn, name -> cells.

    `places`: file and line of each row, for errors. `is_test`: of each row; None where no split is given."""

    root: Path
    files: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    places: tuple[str, ...]
    is_test: tuple[bool, ...] | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files as they are found from here."""
        beside = self.root / "images"
        return tuple(_found(self.root, beside, file) for file in self.files)

    def parts(self) -> tuple[Indices, Indices] | None:
        """Rows of (train, test), where the table says so."""
        if self.is_test is None:
            return None
        is_test_N = np.array(self.is_test)
        return np.flatnonzero(~is_test_N), np.flatnonzero(is_test_N)


def _found(root: Path, beside: Path, file: str) -> Path:
    path = root / file
    return beside / file if not path.exists() and (beside / file).exists() else path


def find_tables(section: DataSection) -> tuple[Path, Path | None]:
    """The CSV, and a second one of the test split: train.csv and test.csv (or val, valid, validation) of a folder.

    Raises SweepError where there are none, or several that have other names."""
    if section.path is None:
        raise SweepError(f"data.path must be given for {section.name}: the CSV file, or the folder that holds it")
    path = section.path.expanduser()
    if path.is_file():
        return path, None
    if not path.is_dir():
        raise SweepError(f"data.path: {path} must be a CSV file, or a folder that holds one, but there is no such file")
    train, tests = path / "train.csv", [path / f"{name}.csv" for name in TEST_FOLDERS]
    found = [test for test in tests if test.is_file()]
    if train.is_file():
        return train, found[0] if found else None
    tables = sorted(path.glob("*.csv"))
    if len(tables) != 1:
        names = _some([table.name for table in tables]) or "none"
        raise SweepError(
            f"data.path: {path} must hold one CSV file, or train.csv and test.csv, but holds {names}; name the file"
        )
    return tables[0], None


def read_table(section: DataSection) -> Table:
    """Read the CSV of a section, with its columns to learn: all but file and split, or those of `data.columns`.

    Raises SweepError, which names file and line, where it is no such table."""
    first, second = find_tables(section)
    tables = [_read(path) for path in ([first] if second is None else [first, second])]
    names, rows, places = tables[0]
    if second is not None:
        if sorted(tables[1][0]) != sorted(names):
            raise SweepError(
                f"data.path: {second} must have the columns of {first} ({', '.join(names)}), but has "
                f"{', '.join(tables[1][0])}"
            )
        rows, places = rows + tables[1][1], places + tables[1][2]
    by_lower = {name.lower(): name for name in names}
    file_name = next((by_lower[name] for name in FILE if name in by_lower), None)
    if file_name is None:
        raise SweepError(f"data.path: {first} must have a column `file`, but has {', '.join(names)}; rename one")
    split_name = by_lower.get(SPLIT)
    files = tuple(row[file_name] for row in rows)
    _must_be_files(files, places)
    is_test: tuple[bool, ...] | None = None
    if second is not None:
        is_test = tuple(index >= len(tables[0][1]) for index in range(len(rows)))
    elif split_name is not None:
        is_test = _tests([row[split_name] for row in rows], places)
    others = [name for name in names if name not in (file_name, split_name)]
    chosen = _chosen(section, others, first)
    return Table(first.parent, files, {name: tuple(row[name] for row in rows) for name in chosen}, places, is_test)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]], tuple[str, ...]]:
    """The names of the columns, the rows, and the place of each."""
    rows: list[dict[str, str]] = []
    places: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            lines = csv.reader(file, delimiter=max(DELIMITERS, key=first.count), strict=True)
            header = [name.strip() for name in next(lines, [])]
            for cells in lines:
                if not any(cell.strip() for cell in cells):
                    continue
                place = f"{path}, line {lines.line_num}"
                if len(cells) != len(header):
                    raise SweepError(f"data.path: {place} must have {len(header)} cells, but has {len(cells)}")
                rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=True)})
                places.append(place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SweepError(f"data.path: {path} must be a CSV file in UTF-8, but cannot be read so ({error})") from None
    names = [name for name in header if name.lower() not in UNNAMED]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SweepError(f"data.path: {path} must name each column once, but repeats {_some(repeated)}")
    if not rows:
        raise SweepError(f"data.path: {path} must have a line of names and then rows, but has no rows")
    return names, rows, tuple(places)


def _must_be_files(files: Sequence[str], places: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for file, place in zip(files, places, strict=True):
        if not file or "\0" in file:
            raise SweepError(f"data.path: {place} must name a file, but is {shown(file)}")
        if file in seen:
            raise SweepError(f"data.path: {place} must not repeat {file}, which is in {seen[file]} too; remove one")
        seen[file] = place


def _tests(cells: Sequence[str], places: Sequence[str]) -> tuple[bool, ...] | None:
    """True for each row of the test split; None where all are for training."""
    lower = [cell.lower() for cell in cells]
    for cell, place in zip(lower, places, strict=True):
        if cell not in (*TRAIN, *TEST_FOLDERS):
            raise SweepError(
                f"data.path: {place}: {SPLIT} must be train, {', '.join(TEST_FOLDERS)}, but is {shown(cell)}"
            )
    held = set(lower)
    tests = {"test"} if "test" in held else held - set(TRAIN)
    if not tests:
        return None
    if held <= tests:
        raise SweepError(f"data.path: {places[0].rpartition(',')[0]} must have rows for training, but has none")
    return tuple(cell in tests for cell in lower)


def _chosen(section: DataSection, names: Sequence[str], path: Path) -> Sequence[str]:
    """The columns to learn."""
    if section.columns is None:
        if not names:
            raise SweepError(f"data.path: {path} must have a column beside the files, with what to learn, but has none")
        return names
    for name in section.columns:
        if name not in names:
            raise SweepError(
                f"data.columns must be columns of {path} ({', '.join(names)}), but {name!r} is none"
                f"{did_you_mean(name, names)}"
            )
    return section.columns


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
