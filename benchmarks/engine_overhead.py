"""What each engine costs per candidate: an evaluator that does nothing, two workers, the study on disk.

    python benchmarks/engine_overhead.py [--candidates 1000] [--engines local ray tune] [--tuner 20]

From the first candidate told to the last, so that what is paid once (Ray, workers) is beside it and not in it. For
comparison, `Tuner` is Ray Tune as it comes, with a function to train: an actor is started for each of `--tuner` trials.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from search_throughput import MacsAsLatency, Stopwatch, no_op

from ffnet_search.cluster.session import start_here
from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.engines.registry import ENGINES, find_engine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Evaluate, NopPruner
from ffnet_search.formatting import figure
from ffnet_search.search.loop import run_loop
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.search_space import SearchSpace

WORKERS = 2


def maker() -> Evaluate:
    """What makes the evaluator; found by name in the workers."""
    return no_op


class Clocked(Stopwatch):
    """Notes when candidates are told."""

    def tell(self, *args: object) -> None:
        super().tell(*args)  # type: ignore[arg-type]
        self.times = [*getattr(self, "times", [])[:1], time.perf_counter()]  # first and last


def measure(engine: str, candidates: int, space: SearchSpace, make: Callable[[], Evaluate]) -> tuple[float, float]:
    """Milliseconds per candidate, and seconds until the first one."""
    sampler = SamplerSection(class_path="RandomSampler", init_args={})
    section = SearchSection(engine=engine, trials=candidates, workers=WORKERS, sampler=sampler)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        problem = SearchProblem(space, section, CostModel(MacsAsLatency()))
        with open_storage(problem, Path(folder) / "study.db") as storage:
            search = Clocked(problem, storage)
            context = EngineContext(make, section, NopPruner(), Path(folder), space)
            with find_engine(section)(context) as running:
                run_loop(search, running)
    first, last = search.times
    return 1e3 * (last - first) / (candidates - 1), first - start


def plain_tuner(trials: int) -> float:
    """Milliseconds per trial of a Tuner with a function that does nothing, on as many CPUs as the engines have."""
    from ray import tune

    def train(config: dict[str, float]) -> dict[str, float]:
        return {"accuracy": config["x"]}

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ray = start_here(num_cpus=WORKERS)
    try:
        with tempfile.TemporaryDirectory() as folder:
            tuner = tune.Tuner(
                train,
                param_space={"x": tune.uniform(0, 1)},
                tune_config=tune.TuneConfig(num_samples=trials),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            )
            start = time.perf_counter()
            tuner.fit()
            return 1e3 * (time.perf_counter() - start) / trials
    finally:
        ray.shutdown()


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--tuner", type=int, default=20, metavar="TRIALS", help="0: without it")
    options = parser.parse_args()
    space = SearchSpace.from_yaml(root / "search_spaces" / "ffnet_cifar.yaml")
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{options.candidates} candidates of {space.name}, random proposals, {machine}")
    print(f"{'engine':<8}{'ms/candidate':>14}{'s to the first':>16}")
    for engine in options.engines:
        ms, first = measure(engine, options.candidates, space, partial(maker))
        print(f"{engine:<8}{figure(ms):>14}{first:>16.1f}", flush=True)
    if options.tuner:
        print(f"{'Tuner':<8}{figure(plain_tuner(options.tuner)):>14}{'':>16}({options.tuner} trials)")


if __name__ == "__main__":
    main()
