"""Runs whose study is real, and whose evaluations cost nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from searches import search

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.outcome import Evaluate, Report
from ffnet_search.latency.plan import parts_of
from ffnet_search.latency.table import Check, Entry, LatencyTable, Setting, TableError
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run.folder.run_folder import RunFolder
from ffnet_search.search.problem import SearchProblem
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

DIGITS = Path(__file__).parents[2] / "search_spaces" / "ffnet_digits.yaml"


def table_of(space: SearchSpace, ms_per_mmac: float, ms_per_mparam: float, batch_size: int = 1) -> LatencyTable:
    check = Check(architecture=space.smallest, predicted_ms=1, measured_ms=1, halves_ms=(1, 1), spread=0)
    costs = {
        part.key: (ms_per_mmac * part.costs.macs + ms_per_mparam * part.costs.params) / 1e6 for part in parts_of(space)
    }
    return LatencyTable(
        setting=Setting(
            device="a test", backend="onnxruntime", settings={}, threads=1, batch_size=batch_size, dtype="float32",
            versions={}, date="2026-01-01T00:00:00+00:00", clock="none", rounds=3, contention=1,
            anchors_ms=(1, 1), build_seconds=0,
        ),
        error=TableError(networks=1, mean=0, max=0, within_10=1, kendall=1, noise_floor=0),
        intercept_ms=0,
        entries={key: Entry(ms=ms, raw_ms=ms) for key, ms in costs.items()},
        calibration=(),
        held_out=(check,),
    )  # fmt: skip


def score(configuration: Configuration, report: Report) -> Candidate:
    """Better where it is larger, with something that nobody knows."""
    arch = configuration.architecture
    assert arch is not None
    return Candidate(arch, {"accuracy": 0.9 + 0.02 * arch.macs_m**0.5 + int(arch.key[:4], 16) / 65536 / 1000})


def searched(folder: Path, evaluate: Evaluate, **content: Any) -> Sweep:
    """A run whose study is real, and whose networks have scores that cost nothing."""
    content = {"search_space": str(DIGITS), "runs": str(folder / "runs"), **content}
    (folder / "digits.yaml").write_text(yaml.safe_dump(content))
    sweep = Sweep.from_yaml(folder / "digits.yaml")
    sweep.files.folder.mkdir(parents=True)
    RunFolder(sweep.files).write_sweep(sweep)
    RunFolder(sweep.files).write_records({})
    table = table_of(sweep.search_space, 1.0, 0.0)
    table.save(sweep.latency_path)
    problem = SearchProblem(sweep.search_space, sweep.search, CostModel(table))
    search(problem, lambda: evaluate, sweep.files.folder)
    return sweep
