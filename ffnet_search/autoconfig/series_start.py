"""A first sweep for a CSV of time series: FFNet-TS by its hyper-parameters, each trial trained by itself, with the
minutes that a run costs on this machine. Figures are times of pieces of the real stages, as in `benchmark`."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from PIL import Image

from ffnet_search.config.json_schema import schema_line
from ffnet_search.config.schema import LatencySection
from ffnet_search.data.table import FILE, SUFFIXES, csv_rows, is_number, open_csv
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few, plural
from ffnet_search.progress import say
from ffnet_search.run.cost_comparison import FORWARD_SHARE, STOPPED_SHARE

FIRST = 100  # rows that tell whether a CSV is of series: a first one may have gaps
WINDOWS = (96, 48, 24, 12, 6)  # past and future steps, where the validation part has as many windows
SPLIT = (0.7, 0.1, 0.2)  # of the steps: training, validation, testing
DIMS, RATIOS = (4, 8, 16), (1, 2, 4)
KERNELS = (3, 5, 9, 13, 25, 51)  # the three largest that fit the patches
BATCH, STEPS = 128, 3
EPOCHS, EXPORTED = 6, 4
TRIALS = (8, 60)


@dataclass(frozen=True)
class SeriesCost:
    """The cost of a mid-sized network on this machine, in seconds: of a training step, and of measuring its latency."""

    step_s: float
    latency_s: float
    imports_s: float


@dataclass(frozen=True)
class SeriesStart:
    """A series as inspected, and what its first sweep holds."""

    path: Path
    variables: tuple[str, ...]
    skipped: tuple[str, ...]  # columns that are not learnt
    steps: int
    window: int
    cost: SeriesCost
    minutes: float  # that were asked for

    def __str__(self) -> str:
        return f"{self.steps:,} steps of {len(self.variables)} series ({first_few(self.variables)})"

    @property
    def batch_size(self) -> int:
        return min(BATCH, max(2, self._windows(SPLIT[0]) // 8))

    def _windows(self, share: float) -> int:
        return max(1, int(share * self.steps) - 2 * self.window + 1)

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch and its validation."""
        batches = self._windows(SPLIT[0]) / self.batch_size
        return self.cost.step_s * (batches + FORWARD_SHARE * SPLIT[1] * self.steps / self.batch_size)

    @property
    def trial_s(self) -> float:
        return STOPPED_SHARE * EPOCHS * self.epoch_s + self.cost.latency_s

    @property
    def _export_s(self) -> float:
        tests = FORWARD_SHARE * SPLIT[2] * self.steps / self.batch_size
        return self.cost.imports_s + EXPORTED * (self.cost.latency_s + tests * self.cost.step_s)

    @property
    def trials(self) -> int:
        left_s = 60 * self.minutes - self.cost.imports_s - self._export_s
        return max(TRIALS[0], min(TRIALS[1], int(left_s / self.trial_s)))

    @property
    def stage_minutes(self) -> dict[str, float]:
        """The minutes of each stage."""
        return {"search": (self.cost.imports_s + self.trials * self.trial_s) / 60, "export": self._export_s / 60}

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines for the user: the series, the choices and their reasons."""
        chosen = f"chosen: {self.window} steps ahead from the {self.window} before, {plural(self.trials, 'trial')}"
        lines = [f"{self}", f"{chosen} of {EPOCHS} epochs at most; set module.shape and data's window to your horizon"]
        if self.skipped:
            lines.append(f"not learnt, since they count or date the steps or hold words: {first_few(self.skipped)}")
        whole = sum(self.stage_minutes.values())
        if whole > 1.25 * self.minutes:
            lines.append(f"{self.minutes:g} min is too little for this series here; this is the least that makes sense")
        return tuple(lines)

    def text(self, name: str) -> str:
        """The sweep's file."""
        return "\n".join(self._sweep_lines(name)) + "\n"

    def _sweep_lines(self, name: str) -> Iterator[str]:
        minutes = self.stage_minutes
        stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in minutes.items())
        yield schema_line("sweep")
        yield f"# Written by `ffnet-search init` on {date.today()} for {self}."
        yield f"# Run it: ffnet-search run {name}.yaml   (about {sum(minutes.values()):.0f} minutes here: {stages})"
        yield "search_space:"
        yield "  hyperparameters:  # what may vary: docs/forecasting.md"
        yield f"    module.dim: {list(DIMS)}"
        yield f"    module.kernel: {list(kernels(self.window))}"
        yield f"    module.ratio: {list(RATIOS)}"
        yield "    module.dropout: {low: 0.5, high: 0.9}"
        yield "    module.learning_rate: {low: 2.0e-4, high: 2.0e-3, log: true}"
        yield "module:"
        yield "  class_path: ffnet_search.forecasting.forecaster:RobustForecaster  # Forecaster: by squared errors"
        shape = [len(self.variables), self.window, self.window]
        yield f"  init_args: {{shape: {shape}}}  # variables, past steps (even), future steps"
        yield "seed: 0"
        yield f"estimate: {{{', '.join(f'{stage}: {max(0.1, spent):.1f}' for stage, spent in minutes.items())}}}"
        yield "data:"
        yield "  name: ffnet_search.forecasting.series:Series"
        yield "  init_args:"
        yield f"    path: {_quoted(self.path)}"
        yield f"    window: {[self.window, self.window]}  # past and future steps, as in module.shape"
        yield f"    split: {list(SPLIT)}  # shares of the steps, or their numbers: training, validation, testing"
        yield f"    batch_size: {self.batch_size}"
        yield f"train: {{epochs: {EPOCHS}, ema: 0.99}}  # {self.epoch_s:.1f} s each; averaged weights"
        yield "latency:  # measured here; another device: docs/device.md"
        yield "  backend: onnxruntime"
        yield "  noisy: true  # accept a busy machine, with a warning: remove this for figures to rely on"
        yield "search:"
        yield f"  trials: {self.trials}  # networks to train, {self.trial_s:.1f} s each"
        yield "  evaluator: train"
        yield "  metrics: {val_mse: minimize, val_mae: minimize}"
        yield "  objectives: [val_mse, latency_ms]"
        yield "  early_stopping: {rule: asha, min_epochs: 2}  # stops those that lag behind"
        yield f"export: {{top: {EXPORTED}}}"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def kernels(window: int) -> Sequence[int]:
    """The kernel sizes, in patches of two steps, that a first sweep offers for this number of past steps."""
    return [kernel for kernel in KERNELS if kernel <= window // 2 + 3][-3:]


def holds_series(path: Path) -> bool:
    """Return whether a path is a CSV of numbers in which no column names files, or a folder of such a CSV."""
    path = series_file(path)
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        return False
    try:
        with open_csv(path) as file:
            lines = csv_rows(file)
            header, cells = next(lines, []), [cell for row in islice(lines, FIRST) for cell in row]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    names_files = any(name.strip().lower() in FILE for name in header)
    images = any(Path(cell).suffix.lower() in Image.registered_extensions() for cell in cells)
    return any(map(is_number, cells)) and not names_files and not images


def series_file(path: Path) -> Path:
    """The one CSV of a folder that holds no other files or folders; else the path itself."""
    files = [one for one in path.iterdir() if not one.name.startswith(".")] if path.is_dir() else []
    return files[0] if len(files) == 1 else path


def start_series(path: Path, minutes: float, refused: dict[str, object]) -> SeriesStart:
    """Inspect a series and measure a network on this machine, which takes seconds. `refused`: options that are for
    images alone, with the user's values. Raises SweepError."""
    path = series_file(path)
    for option, value in refused.items():
        if value is not None:
            raise SweepError(f"{option} must be left out for {path.name}, a CSV of series, but is {value}; remove it")
    began = time.monotonic()
    from ffnet_search.forecasting.series import read_series

    try:
        variables, values_TM = read_series(path)
    except SweepError as error:
        raise SweepError(str(error).replace("data.init_args.path:", "--data:", 1)) from None
    steps = len(values_TM)
    fitting = [window for window in WINDOWS if 2 * window <= SPLIT[1] * steps]
    if not fitting:
        least = round(2 * WINDOWS[-1] / SPLIT[1])
        raise SweepError(f"--data: {path} must have {least} rows or more to forecast from, but has {steps}")
    imports_s = time.monotonic() - began
    say(f"measuring this machine on {len(variables)} series ...")
    with open_csv(path) as file:
        header = [name.strip() for name in next(csv_rows(file))]
    skipped = tuple(name or "a column without a name" for name in header if name not in variables)
    cost = _measure(len(variables), fitting[0], imports_s)
    return SeriesStart(path, variables, skipped, steps, fitting[0], cost, minutes)


def _measure(variables: int, window: int, imports_s: float) -> SeriesCost:
    import torch

    from ffnet_search.forecasting.forecaster import Forecaster
    from ffnet_search.latency.module import measure_module

    module = Forecaster((variables, window, window), DIMS[1], kernels(window)[1], RATIOS[1])
    x_BLM, taken = torch.randn(BATCH, window, variables), []
    for _ in range(STEPS):
        start = time.perf_counter()
        module.training_step((x_BLM, x_BLM), 0).backward()
        taken.append(time.perf_counter() - start)
    start = time.perf_counter()
    measure_module(module, (1, window, variables), LatencySection(noisy=True))
    return SeriesCost(min(taken), time.perf_counter() - start, imports_s)
