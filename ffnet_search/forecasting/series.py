"""A CSV of time series as a LightningDataModule for `data.name`: windows of past and future, standardised.

Rows are steps in order, columns variables; left out are columns that hold no numbers, those named date, time or
timestamp, and those without a name, which count the rows. The first rows are for training, then come those for
validation and those for testing, whose windows begin with the past before them. Shape keys: T steps, L past and S
future steps, M variables.
"""

from __future__ import annotations

import csv
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ffnet_search.data.table import UNNAMED, csv_rows, is_number, open_csv
from ffnet_search.errors import SweepError, shown
from ffnet_search.formatting import first_few

TIMES = ("date", "datetime", "time", "timestamp")  # names of columns that say when, in any case
SPLITS = ("train", "val", "test")


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """All windows of (past, future) of some steps."""

    def __init__(self, steps_TM: Tensor, past: int, future: int) -> None:
        self.steps_TM, self.past, self.future = steps_TM, past, future

    def __len__(self) -> int:
        return max(0, len(self.steps_TM) - self.past - self.future + 1)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        middle = index + self.past
        return self.steps_TM[index:middle], self.steps_TM[middle : middle + self.future]


class Series(LightningDataModule):
    """`path`: the CSV. `window`: past and future steps. `split`: steps for training, validation and testing, or their
    shares; `[8640, 2880, 2880]` are the 12, 4 and 4 months of the ETT benchmarks by the hour.

    Raises SweepError if the file is no such table, or too short."""

    predict_script = Path(__file__).with_name("predict_series.py.txt")  # of exported forecasters

    def __init__(
        self,
        path: str,
        window: Sequence[int] = (96, 96),
        split: Sequence[float] = (0.7, 0.1, 0.2),
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        self.path, self.batch_size = Path(os.path.expanduser(path)), batch_size
        if len(window) != 2 or min(window) < 1 or len(split) != 3 or min(split) <= 0:
            raise SweepError(
                "data.init_args must have a window of past and future steps, and a split of three parts, but has "
                f"window {list(window)} and split {list(split)}"
            )
        self.past, self.future, self.split = int(window[0]), int(window[1]), tuple(split)
        self.variables: tuple[str, ...] = ()

    def setup(self, stage: str) -> None:
        """Read the file, and standardise by the steps for training."""
        self.variables, steps_TM = read_series(self.path)
        counts = self._counts(len(steps_TM))
        train_TM = steps_TM[: counts[0]].astype(np.float64)
        is_constant_M = (train_TM == train_TM[:1]).all(0)  # rounding gives their std a trace
        constant = [name for name, is_constant in zip(self.variables, is_constant_M, strict=True) if is_constant]
        if constant:
            warnings.warn(
                f"{self.path}: {first_few(constant)} must vary in the steps for training to be learnt, but does not; "
                "leave it out of the file, or change data.init_args.split",
                stacklevel=2,
            )
        mean_M, spread_M = train_TM.mean(0), np.where(is_constant_M, 1, train_TM.std(0))
        self.statistics = mean_M.tolist(), spread_M.tolist()
        standard_TM = torch.from_numpy(((steps_TM - mean_M) / spread_M).astype(np.float32))
        ends = np.cumsum(counts).tolist()
        starts = [0, *(end - self.past for end in ends[:-1])]
        self.windows = {
            name: Windows(standard_TM[start:end], self.past, self.future)
            for name, start, end in zip(SPLITS, starts, ends, strict=True)
        }
        empty = [name for name, windows in self.windows.items() if not len(windows)]
        if empty:
            raise SweepError(
                f"data.init_args.path: {self.path} must have enough rows for a window of {self.past} + {self.future} "
                f"steps in every part, but its {len(steps_TM)} give none for {', '.join(empty)}; change "
                "data.init_args.split, or shorten data.init_args.window and module.init_args.shape"
            )

    def input_facts(self) -> dict[str, Any]:
        """Facts of an exported forecaster for its card: the variables in their order, the window in steps, and the mean
        and the spread by which values are standardised."""
        if not self.variables:
            self.setup("fit")
        mean, spread = self.statistics
        window = [self.past, self.future]
        return {"variables": list(self.variables), "window": window, "mean": mean, "spread": spread}

    def _counts(self, steps: int) -> list[int]:
        """The steps of each part."""
        if math.fsum(self.split) <= 1:
            return [int(steps * share) for share in self.split]
        if sum(self.split) > steps:
            raise SweepError(
                f"data.init_args.split must be of {steps} rows at most ({self.path}), but asks for {sum(self.split):g}"
            )
        return [int(count) for count in self.split]

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(self.windows["train"], self.batch_size, shuffle=True, drop_last=self._has_whole_batches)

    @property
    def _has_whole_batches(self) -> bool:
        return len(self.windows["train"]) >= self.batch_size

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(self.windows["val"], self.batch_size)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(self.windows["test"], self.batch_size)


def read_series(path: Path) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The names of the variables and their values, float64 (T, M). Raises SweepError, which names the line."""
    where = f"data.init_args.path: {path}"
    if not os.path.isfile(path):
        problem = "is no regular file" if os.path.exists(path) else "there is no such file"
        raise SweepError(f"{where} must be a CSV file in UTF-8, but {problem}")
    try:
        with open_csv(path) as file:
            lines = csv_rows(file)
            rows = [(lines.line_num, row) for row in lines if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SweepError(
            f"{where} must be a CSV file in UTF-8, but cannot be read so ({error}); save it again as one"
        ) from None
    if len(rows) < 2:
        found = "is empty" if not rows else "has its first line alone"
        raise SweepError(f"{where} must have a line of names and then a row for each step, but {found}")
    (_, header), *content = rows
    return _values([name.strip() for name in header], content, where)


def _values(
    header: Sequence[str], content: Sequence[tuple[int, Sequence[str]]], where: str
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The variables among the columns, and their values (T, M). `content`: the rows with their lines."""
    if all(map(is_number, header)):
        raise SweepError(f"{where}, line 1 must name the columns, but holds numbers ({first_few(header)}); add a line")
    timeless = [index for index, name in enumerate(header) if name.lower() not in (*UNNAMED, *TIMES)]
    repeated = sorted({header[index] for index in timeless if header.count(header[index]) > 1})
    if repeated:
        raise SweepError(f"{where} must name each column once, but repeats {first_few(repeated)}; rename some")
    for line, row in content:
        if len(row) != len(header):
            raise SweepError(
                f"{where}, line {line} must have {len(header)} cells, but has {len(row)}; give it as many as the first "
                "line has"
            )
    chosen = [index for index in timeless if any(is_number(row[index]) for _, row in content)]
    if not chosen:
        raise SweepError(
            f"{where} must have columns of numbers (decimals with a point) beside {', '.join(TIMES)}, which are left "
            f"out, but its first row is {first_few([shown(cell) for cell in content[0][1]])}"
        )
    for line, row in content:
        for index in chosen:
            if not is_number(row[index]):
                raise SweepError(
                    f"{where}, line {line}: {header[index]} must be a number, but is {shown(row[index])}; fill it, or "
                    "remove the column or the steps up to there"
                )
    values_TM = np.array([[float(row[index]) for index in chosen] for _, row in content])
    return tuple(header[index] for index in chosen), values_TM
