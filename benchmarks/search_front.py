"""How good a front a sampler finds with the supernet of a finished run, by the evaluations that it took.

    python benchmarks/search_front.py runs/digits [--samplers ParetoSampler TPESampler] [--seeds 5] [--after 50 100 200]

Every search is the run's own (space, objectives, limits, latency table, supernet), in this process and with another
seed. A front's score is its hypervolume over that of all networks that any of the searches evaluated; the reference
point lies a tenth beyond the worst values of that front, as in `early_stopping.py`. Evaluations are kept in a file
beside the run's study, so that no network is evaluated twice and an interrupted benchmark continues.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import optuna
from samplers import mean_and_error

from ffnet_search.config.search_schema import SamplerSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.engines.local import LocalEngine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.outcome import NopPruner
from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import hypervolume, pareto_front
from ffnet_search.run.stages import cost_model
from ffnet_search.search.loop import run_search
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.hyperparameters import Configuration


class Remembered:
    """The supernet's evaluator, whose metrics are kept in a file of lines."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep, self.path = sweep, sweep.files.folder / "search_front.jsonl"
        self.metrics: dict[str, Mapping[str, float]] = {}
        if self.path.exists():
            self.metrics = dict(map(json.loads, self.path.read_text(encoding="utf-8").splitlines()))

    @cached_property
    def evaluate(self) -> Evaluator:
        return Evaluator.from_sweep(self.sweep)

    def __call__(self, configuration: Configuration, report: object = None) -> Candidate:
        key = configuration.key
        if key not in self.metrics:
            self.metrics[key] = dict(self.evaluate(configuration).metrics)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.metrics[key]]) + "\n")
        return Candidate(configuration.architecture, dict(self.metrics[key]))


def searched(sweep: Sweep, sampler: str, seed: int, trials: int, evaluate: Remembered) -> list[Candidate]:
    """The feasible candidates of a search, in the order in which they were evaluated."""
    section = sweep.search.model_copy(
        update={"sampler": SamplerSection(class_path=sampler), "trials": trials, "engine": "local"}
    )
    problem = SearchProblem(sweep.search_space, section, cost_model(sweep), seed)
    with tempfile.TemporaryDirectory() as folder, open_storage(problem, Path(folder) / "study.db") as storage:
        optimizer = Optimizer(problem, storage)
        context = EngineContext(lambda: evaluate, section, NopPruner(), Path(folder), sweep.search_space)
        return run_search(optimizer, LocalEngine(context), storage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run whose search has ended")
    parser.add_argument("--samplers", nargs="+", default=["ParetoSampler", "TPESampler"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--after", nargs="+", type=int, default=[50, 100, 200])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sweep = Sweep.of_run(options.run)
    directions, evaluate = sweep.search.directions, Remembered(sweep)
    found: dict[str, list[list[Candidate]]] = {name: [] for name in options.samplers}
    for seed in range(options.seeds):
        for name in options.samplers:
            found[name].append(searched(sweep, name, seed, max(options.after), evaluate))
            print(f"seed {seed}, {name}: {len(evaluate.metrics)} networks evaluated so far", flush=True)

    def points(candidates: Sequence[Candidate]) -> list[list[float]]:
        return [[one.metrics[name] for name in directions] for one in candidates]

    ways = list(directions.values())
    front = points(pareto_front([one for searches in found.values() for each in searches for one in each], directions))
    reference = [worst + 0.1 * (worst - best) for worst, best in map(ends, zip(*front, strict=True), ways)]
    whole = hypervolume(front, reference, ways)
    print(f"{os.cpu_count()} CPUs ({platform.machine()}); {len(front)} networks on the front of all searches")
    for name, searches in found.items():
        for after in options.after:
            scores = [hypervolume(points(each[:after]), reference, ways) / whole for each in searches]
            print(f"{name:<16}{after:>5}  {mean_and_error(scores)}  ({' '.join(f'{score:.3f}' for score in scores)})")


def ends(values: Sequence[float], way: Direction) -> tuple[float, float]:
    """The worst and the best."""
    return (min(values), max(values)) if way == "maximize" else (max(values), min(values))


if __name__ == "__main__":
    main()
