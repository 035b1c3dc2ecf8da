"""Time series as CSV files, for tests of forecasting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np


def waves(path: Path, steps: int = 400, seed: int = 0) -> Path:
    """Three variables with a day of 24 steps, a date before them."""
    rng, t_T = np.random.default_rng(seed), np.arange(steps)
    columns = [np.sin(2 * np.pi * (t_T / 24 + phase)) * scale for phase, scale in ((0, 1), (0.3, 50), (0.6, 0.01))]
    values_TM = np.stack(columns, 1) * (1 + 0.05 * rng.normal(size=(steps, 3)))
    lines = [f"2016-07-{day},{','.join(f'{value:.6g}' for value in row)}" for day, row in enumerate(values_TM)]
    path.write_text("\n".join(["date,a,b,c", *lines]) + "\n")
    return path


def forecast(folder: Path, *series: Path | str) -> subprocess.CompletedProcess[str]:
    """Run an exported forecaster's script, which must not need this program."""
    command = [sys.executable, "-P", str(folder / "predict.py"), *map(str, series)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)
