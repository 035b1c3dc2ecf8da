"""The content of a CSV of images: the columns that a first sweep learns, and their task. See `data.table`.

A column named label or class, or one of words, is for classification; columns of 0 and 1, or of yes and no, are labels;
others of numbers are for regression. Empty cells decide nothing: reading the column refuses them. It is a guess, which
the written sweep states: `task` and `data.columns` change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ffnet_search.autoconfig.image_set import MIN_IMAGES, RARE, ImageSet, sample_images
from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.config.schema import DataSection
from ffnet_search.data.layout import TRAIN
from ffnet_search.data.mask_folder import has_masks
from ffnet_search.data.picture_table import NO, YES, must_exist, read_targets, table_files
from ffnet_search.data.table import SUFFIXES, is_number, read_table, tables_in
from ffnet_search.errors import SweepError
from ffnet_search.formatting import figure, first_few
from ffnet_search.space.registry import task_outputs
from ffnet_search.tasks.base import Targets

CLASS_COLUMNS = ("label", "class", "category", "species")
NUMBERED = ("id", "index", "idx", "number")  # columns that count the rows


@dataclass(frozen=True)
class TableSet(ImageSet):
    """Images with a CSV. `classes`: names of classes, labels or targets; `counts`: images that have each of them, or
    those of each class. `columns`: those to learn; `skipped`: the others."""

    dataset = "picture_table"
    layout = "a CSV of files and what is known of them"
    task: str = "classification"
    columns: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:  # type: ignore[override]
        return self.task != "classification"

    @property
    def targets_N(self) -> Targets:
        """The targets of the training images."""
        return self.parts[TRAIN].targets_N

    @property
    def others(self) -> str:
        """The columns that are not learnt, in words."""
        return f"not {first_few(self.skipped)}" if self.skipped else "there are no others"

    @property
    def is_uneven(self) -> bool:
        if self.task == "multilabel":
            return any(self.total > (1 + RARE) * count for count in self.counts if count)
        return super().is_uneven

    @property
    def has_rare(self) -> bool:
        return self.is_uneven if self.task == "multilabel" else super().has_rare

    @property
    def uneven_warnings(self) -> list[str]:
        if self.task != "multilabel" or not self.is_uneven:
            return super().uneven_warnings
        rare = min(count for count in self.counts if count)
        return [
            f"labels are rare (one of {rare:,} of {self.total:,} images): training weighs the images that have one "
            "(train.class_weights), so that predict.py finds more of them"
        ]

    def __str__(self) -> str:
        if self.task == "regression":
            each = [f"{name} {_range(self.targets_N[:, k])}" for k, name in enumerate(self.classes)]
            return self.described(f"with numbers ({first_few(each)})")
        if self.task == "multilabel":
            each = [f"{name} {count}" for name, count in zip(self.classes, self.counts, strict=True)]
            return self.described(f"with {len(self.classes)} labels ({first_few(each)})")
        return self.described(f"of {len(self.classes)} classes")

    @property
    def warnings(self) -> list[str]:
        word = task_outputs(self.task).outputs_word
        warnings = [
            f"taken as task {self.task}, from the column{'s' * (len(self.columns) > 1)} {first_few(self.columns)}"
        ]
        if self.rare:
            warnings.append(f"few images to learn {word} from, fewer than {MIN_IMAGES}: {self.rare}")
        if self.skipped:
            warnings.append(f"not learnt: {first_few(self.skipped)}; to learn others, change data.columns and task")
        return warnings + self.uneven_warnings + self.sample.warnings


def _range(values_N: Targets) -> str:
    is_whole = bool((values_N == np.round(values_N)).all())
    quantiles = [float(value) for value in np.quantile(values_N, (0, 0.5, 1))]
    low, middle, high = (f"{one:,.0f}" if is_whole and one.is_integer() else figure(one) for one in quantiles)
    return f"{low} to {high}, {middle} in the middle"


def holds_table(path: Path) -> bool:
    """Return whether a path is a CSV, or a folder that has one and no folders of classes: also one without a column of
    files, or one that cannot be read, which reading tells."""
    if path.is_file():
        return path.suffix.lower() in SUFFIXES
    if not path.is_dir() or has_masks(path) or not tables_in(path):
        return False
    try:
        inspect(path)
    except SweepError:
        return True
    return False


def inspect_table(path: Path) -> TableSet:
    """Inspect a CSV and some of its images. Raises SweepError if it is no table of images."""
    section = DataSection(name="picture_table", path=path)
    table = read_table(section)
    task, columns = guess(table.columns)
    skipped = tuple(name for name in table.columns if name not in columns)
    table = read_table(section.model_copy(update={"columns": columns}))
    outputs, targets_N = read_targets(table, task)
    parts = table_files(table, targets_N)
    train = parts[TRAIN]
    must_exist(table, Path(train.paths[0]), int(train.indices_N[0]))
    sample = sample_images(table.root, train.paths)
    return TableSet(
        folder=path,
        classes=outputs,
        counts=_counts(train.targets_N, len(outputs), task),
        sample=sample,
        parts=parts,
        task=task,
        columns=columns,
        skipped=skipped,
    )


def _counts(targets_N: Targets, outputs: int, task: str) -> tuple[int, ...]:
    if task == "classification":
        return tuple(np.bincount(targets_N, minlength=outputs).tolist())
    counts_K = np.full(outputs, len(targets_N)) if task == "regression" else targets_N.sum(0).astype(int)
    return tuple(counts_K.tolist())


def guess(columns: Mapping[str, Sequence[str]]) -> tuple[str, tuple[str, ...]]:
    """The task, and the columns to learn. Raises SweepError if there is none."""
    named = [name for name in columns if name.lower() in CLASS_COLUMNS]
    if named:
        return "classification", (named[0],)
    filled = {name: [cell.lower() for cell in cells if cell] for name, cells in columns.items()}
    varied = {name: cells for name, cells in filled.items() if len(set(cells)) > 1 and name.lower() not in NUMBERED}
    numbers = tuple(name for name, cells in varied.items() if all(map(is_number, cells)))
    labels = tuple(name for name, cells in varied.items() if set(cells) <= {*YES, *NO})
    if labels and set(numbers) <= set(labels):
        return "multilabel" if len(labels) > 1 else "classification", labels
    if numbers:
        return "regression", numbers
    words = {name: len(set(cells)) for name, cells in columns.items() if 1 < len(set(cells)) <= len(cells) // 2}
    if not words:
        raise SweepError(
            f"data.path: a column must have classes, labels or numbers, but {first_few(list(columns))} have none; add "
            "one, in which values repeat"
        )
    return "classification", (min(words, key=words.__getitem__),)
