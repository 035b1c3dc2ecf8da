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

from search_throughput import SAMPLERS, MacsAsLatency

from ffnet_search.attempt import Ended, Evaluate, GoOn, Report
from ffnet_search.pareto import Candidate
from ffnet_search.proposal import Proposal
from ffnet_search.reachable import CheapMetrics
from ffnet_search.search import ENGINES
from ffnet_search.search.ask_tell import Search
from ffnet_search.search.connect import start_here
from ffnet_search.search.loop import run_loop
from ffnet_search.search.study import open_study
from ffnet_search.search_space import SearchSpace
from ffnet_search.sections import SamplerSection, SearchSection


def sleeper(seconds: float) -> Evaluate:
    """What makes the evaluator. It travels by value, so the workers load little: there are many on one machine."""

    def evaluate(proposal: Proposal, report: Report) -> Candidate:
        time.sleep(seconds)
        accuracy = int(hashlib.sha256(proposal.key.encode()).hexdigest()[:8], 16) / 2**32
        return Candidate(proposal.architecture, {"accuracy": accuracy})

    return evaluate


class Timed(Search):
    """Notes when each candidate was told."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.times: list[float] = []

    def tell(self, proposal: Proposal, outcome: Ended) -> None:
        super().tell(proposal, outcome)
        self.times.append(time.perf_counter())


def measure(sampler: str, workers: int, seconds: float, candidates: int, space: SearchSpace) -> tuple[float, float]:
    """Candidates per second, and milliseconds that this process spent on each: proposing, storing."""
    section = SearchSection(
        engine="ray",
        trials=candidates,
        workers=workers,
        sampler=SamplerSection(name=sampler, args=SAMPLERS[sampler]),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with open_study(path / "study.db", section.directions, "benchmark") as (writer, finished):
            search = Timed(space, CheapMetrics(MacsAsLatency()), section, 0, writer, finished)
            with ENGINES["ray"](partial(sleeper, seconds), section, path, GoOn(), space) as engine:
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
        print(f"{name:<16}{rate:>14.1f}{ideal:>8.0f}{100 * rate / ideal:>7.1f}%{own:>14.2f}", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
