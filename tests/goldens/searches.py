"""Searches of the digits space on a stored latency table: configurations, their order, their results. Another default
sampler changes "default" on purpose."""

from __future__ import annotations

import csv
import math
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from goldens.sweeps import DIGITS_SPACE, FOLDER, write_sweep

import ffnet_search
from ffnet_search import Candidate, LatencyTable, SearchSpace, Sweep, hypervolume, pareto_front
from ffnet_search.engines.local import LocalEngine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Stopped
from ffnet_search.search.loop import run_search
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.cost_model import CostModel

TABLE = FOLDER / "latency_table.json"


class Score:
    """An evaluator without a network: more MACs are better, with noise; some fail. Trials that train report."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __call__(self, configuration: Any, report: Any) -> Any:
        arch, values = configuration.architecture, configuration.hyperparameters
        luck = int(configuration.key[:4], 16) / 2**16
        if luck > 0.95:
            raise ValueError("unlucky")
        score = 1 - 1 / (1 + arch.macs_m + luck)
        if values:
            score *= 1 - abs(math.log10(values["learning_rate"]) + 2) / 4
        for epoch in range(1, self.epochs):
            metrics = {"accuracy": score * epoch / self.epochs}
            if not report(epoch, metrics):
                return Stopped(epoch, metrics)
        return Candidate(arch, {"accuracy": score}, values)


LIMITED: dict[str, Any] = {"trials": 40, "constraints": {"params_m": 0.08, "latency_ms": 0.07}}
SEARCHES: dict[str, dict[str, Any]] = {
    # The random start: which of the candidates after it is best may depend on the last bits of a machine's arithmetic.
    "default": {"search": {**LIMITED, "trials": 16}},
    "random": {"search": {**LIMITED, "sampler": {"class_path": "RandomSampler", "init_args": {}}}},
    "joint": {
        "hyperparameters": {
            "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
            "optimizer": ["adamw", "sgd"],
            "momentum": {"low": 0.5, "high": 0.95, "when": {"optimizer": "sgd"}},
            "batch_size": {"low": 32, "high": 128, "step": 32},
        },
        "search": {
            "trials": 30,
            "evaluator": "train",
            "sampler": {"class_path": "RandomSampler", "init_args": {}},
            "early_stopping": {"rule": "asha", "min_epochs": 1},
        },
    },
}


def searches(folder: Path) -> Any:
    """Searches of the digits space on a stored latency table, with a deterministic evaluator."""
    found: dict[str, Any] = {}
    table = LatencyTable.load(TABLE)
    digits, space = yaml.safe_load(DIGITS_SPACE.read_text(encoding="utf-8")), SearchSpace.from_yaml(DIGITS_SPACE)
    rng = random.Random(5)
    samples = [space.smallest, space.largest, *(space.sample(rng) for _ in range(20))]
    found["predicted_ms"] = {arch.key: table.predict_ms(arch) for arch in samples}
    found["raw_ms"] = {arch.key: table.raw_ms(arch) for arch in samples}
    for name, content in SEARCHES.items():
        chosen = {**digits, "hyperparameters": content.get("hyperparameters", {})}
        sweep = Sweep.from_yaml(write_sweep(folder / name, {"search_space": chosen, "search": content["search"]}))
        score = Score(epochs=9 if sweep.search.evaluator == "train" else 1)
        rows = folder / name / "candidates.csv"
        candidates = search(sweep, lambda score=score: score, table, folder / name)
        with rows.open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        front = pareto_front(candidates, sweep.search.directions)
        points = [(c.metrics["accuracy"], c.metrics["latency_ms"]) for c in front]
        found[name] = {
            "columns": list(read[0]),
            "trials": [[numbers(value) for value in row.values()] for row in read],
            "candidates": [candidate.key for candidate in candidates],
            "front": [candidate.key for candidate in front],
            "hypervolume": hypervolume(points, (0.0, 1.0), ("maximize", "minimize")),
        }
    return found


def search(sweep: Sweep, make_evaluate: Callable[[], Any], table: LatencyTable, folder: Path) -> list[Candidate]:
    """The candidates of a search on engine "local" with seed 0, whose files are written to `folder`."""
    problem = SearchProblem(sweep.search_space, sweep.search, CostModel(table), 0)
    with open_storage(problem, folder / "study.db", folder / "candidates.csv", digest="golden") as storage:
        optimizer = Optimizer(problem, storage)
        context = EngineContext(make_evaluate, sweep.search, optimizer.pruner, folder, sweep.search_space)
        return run_search(optimizer, LocalEngine(context), storage)


def numbers(text: str) -> Any:
    """The number that `text` spells, else `text`."""
    if re.fullmatch(r"-?\d+", text) and len(text) < 10:
        return int(text)
    return float(text) if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) else text


def write_table(folder: Path) -> None:
    """Measure the digits space once, quickly: the table must be reproducible, not accurate."""
    latency = {"rounds": 3, "calibration": 8, "held_out": 20, "noisy": True}
    sweep = Sweep.from_yaml(write_sweep(folder, {"search_space": str(DIGITS_SPACE), "latency": latency}))
    ffnet_search.profile(sweep.search_space, sweep.latency[0], folder / "table.json", seed=0)
    table = LatencyTable.load(folder / "table.json")
    setting = table.setting.model_copy(update={"device": "the machine of the goldens"})
    costs = {"intercept_ms": 0.004, "spill_ms_per_m": 0.05, "resident_m": 0.05}  # of few rounds they may be 0
    table.model_copy(update={"setting": setting, **costs}).save(TABLE)
