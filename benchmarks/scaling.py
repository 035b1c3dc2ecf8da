"""How much of the ideal throughput a pool keeps: many workers, an evaluator that sleeps, one machine.

    python benchmarks/scaling.py [--workers 32] [--seconds 0.2] [--candidates 1600] [--samplers TPESampler]

Ideal is workers / seconds. Measured over the second half of the candidates, when all workers have started, but for the
last ones, when there is nothing left to hand out. The CPUs are fake, the sleep is real: what is measured is this
process, which proposes, tells and stores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from search_throughput import SAMPLERS, MacsAsLatency, Stopwatch

from ffnet_search.cluster.session import start_here
from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.engines.ray_pool import RayPoolEngine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Ended, Evaluate, NopPruner, Report
from ffnet_search.formatting import figure
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.loop import run_loop
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace


def sleeper(seconds: float) -> Evaluate:
    """What makes the evaluator. It travels by value, so the workers load little: there are many on one machine."""

    def evaluate(configuration: Configuration, report: Report) -> Candidate:
        time.sleep(seconds)
        accuracy = int(hashlib.sha256(configuration.key.encode()).hexdigest()[:8], 16) / 2**32
        return Candidate(configuration.architecture, {"accuracy": accuracy})

    return evaluate


class Timed(Stopwatch):
    """Records when each candidate was told."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.times: list[float] = []

    def tell(self, configuration: Configuration, outcome: Ended) -> None:
        super().tell(configuration, outcome)
        self.times.append(time.perf_counter())


def measure(sampler: str, workers: int, seconds: float, candidates: int, space: SearchSpace) -> tuple[float, float]:
    """Candidates per second, and milliseconds that this process spent on each: proposing, storing."""
    section = SearchSection(
        engine="ray",
        trials=candidates,
        workers=workers,
        sampler=SamplerSection(class_path=sampler, init_args=SAMPLERS[sampler]),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        problem = SearchProblem(space, section, CostModel(MacsAsLatency()))
        with open_storage(problem, path / "study.db") as storage:
            search = Timed(problem, storage)
            context = EngineContext(partial(sleeper, seconds), section, NopPruner(), path, space)
            with RayPoolEngine(context) as engine:
                run_loop(search, engine)
        own = sum(search.seconds.values())
    begin, end = candidates // 2, candidates - 2 * workers
    return (end - begin) / (search.times[end] - search.times[begin]), 1e3 * own / candidates


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--candidates", type=int, default=1600)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=["RandomSampler", "TPESampler"])
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), str(Path(__file__).parent)])  # for the workers
    space = SearchSpace.from_yaml(root / "search_spaces" / "ffnet_cifar.yaml")
    ideal = options.workers / options.seconds
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(
        f"{options.workers} workers of {options.seconds} s, {options.candidates} candidates of {space.name}, {machine}"
    )
    print(f"{'sampler':<16}{'candidates/s':>14}{'ideal':>8}{'kept':>8}{'own ms each':>14}")
    ray = start_here(num_cpus=options.workers)
    for name in options.samplers:
        rate, own = measure(name, options.workers, options.seconds, options.candidates, space)
        print(f"{name:<16}{rate:>14.1f}{ideal:>8.0f}{100 * rate / ideal:>7.1f}%{figure(own):>14}", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
