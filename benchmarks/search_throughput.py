"""What a search costs beside evaluation: candidates per second with an evaluator that does nothing, study on disk.

    python benchmarks/search_throughput.py [--candidates 1000] [--limit-ms 1.0] [--samplers TPESampler]

`propose` is the sampler (Optuna's ask), `store` the study on disk, `else` all that is left: building architectures,
their cost_model metrics, constraints, the front, progress. Latency stands in as 1 ms per 100 M MACs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.engines.local import LocalEngine
from ffnet_search.engines.registry import find_engine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Ended, Evaluate, NopPruner, Report
from ffnet_search.formatting import figure
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.loop import run_loop, run_search
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

SAMPLERS: dict[str, dict[str, Any]] = {
    "ParetoSampler": {},
    "TPESampler": {"multivariate": True},
    "NSGAIISampler": {"population_size": 20},
    "RandomSampler": {},
}


class MacsAsLatency:
    """1 ms per 100 M MACs."""

    def predict_ms(self, arch: Architecture) -> float:
        return arch.macs_m / 100

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return part.costs.macs / 1e8


def no_op(configuration: Configuration, report: Report) -> Candidate:
    """An accuracy out of the key: no two alike, nothing to wait for."""
    accuracy = int(hashlib.sha256(configuration.key.encode()).hexdigest()[:8], 16) / 2**32
    return Candidate(configuration.architecture, {"accuracy": accuracy})


def search(problem: SearchProblem, make_evaluate: Callable[[], Evaluate], folder: Path) -> list[Candidate]:
    """A search whose study and table are in `folder`."""
    with open_storage(problem, folder / "study.db", folder / "candidates.csv") as storage:
        optimizer = Optimizer(problem, storage)
        context = EngineContext(make_evaluate, problem.section, optimizer.pruner, folder, problem.space)
        return run_search(optimizer, find_engine(problem.section)(context), storage)


class Stopwatch(Optimizer):
    """Records the seconds spent in proposing and in storing, and the times of every candidate, from one `tell` to the
    next."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seconds: dict[str, float] = {"propose": 0.0, "store": 0.0}
        self.sampler.ask = self._timed("propose", self.sampler.ask)  # type: ignore[method-assign]
        self.storage.writer.add = self._timed("store", self.storage.writer.add)  # type: ignore[method-assign]
        self._clock = self._now()
        self.rows: list[tuple[float, float, float]] = []  # ms: propose, store, else

    def tell(self, configuration: Configuration, outcome: Ended) -> TrialRecord:
        record = super().tell(configuration, outcome)
        before, self._clock = self._clock, self._now()
        total, propose, store = (1e3 * (now - then) for now, then in zip(self._clock, before, strict=True))
        self.rows.append((propose, store, total - propose - store))
        return record

    def _timed(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*args)
            finally:
                self.seconds[what] += time.perf_counter() - start

        return timed

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), self.seconds["propose"], self.seconds["store"]


def measure(space: SearchSpace, section: SearchSection, folder: Path) -> tuple[Stopwatch, float]:
    """The search with its times, and the seconds that it took in all."""
    start = time.perf_counter()
    problem = SearchProblem(space, section, CostModel(MacsAsLatency()))
    with open_storage(problem, folder / "study.db") as storage:
        search = Stopwatch(problem, storage)
        with LocalEngine(EngineContext(lambda: no_op, section, NopPruner(), folder, space)) as engine:
            run_loop(search, engine)
    return search, time.perf_counter() - start


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--space", type=Path, default=root / "search_spaces" / "ffnet_cifar.yaml")
    parser.add_argument("--limit-ms", type=float, help="a constraint on latency")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    options = parser.parse_args()
    space = SearchSpace.from_yaml(options.space)
    axes = sum(len(choices) > 1 for choices in space.axes().values())
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{options.candidates} candidates of {space.name} ({axes} axes), {machine}; medians in ms per candidate")
    columns = ("candidates/s", "propose", "store", "else", "store + else", "infeasible")
    print(f"{'sampler':<16}" + "".join(f"{name:>14}" for name in columns))
    for name in options.samplers:
        section = SearchSection(
            trials=options.candidates,
            sampler=SamplerSection(class_path=name, init_args=SAMPLERS[name]),
            constraints={"latency_ms": options.limit_ms} if options.limit_ms else {},
        )
        with tempfile.TemporaryDirectory() as folder:
            search, seconds = measure(space, section, Path(folder))
        propose, store, rest = (statistics.median(column) for column in zip(*search.rows, strict=True))
        ours = statistics.median(store + rest for _, store, rest in search.rows)
        figures = (options.candidates / seconds, propose, store, rest, ours)
        print(
            f"{name:<16}" + "".join(f"{figure(x):>14}" for x in figures) + f"{search.archive.count('infeasible'):>14}",
            flush=True,
        )


if __name__ == "__main__":
    main()
