"""One study that grows long: what a configuration costs and how much memory the driver holds, as candidates are told.

    python benchmarks/long_study.py [--candidates 10000] [--begin 0] [--samplers TPESampler]

The evaluator costs nothing and can be learnt: more MACs are better, with noise. The first `--begin` candidates are
random ones. `propose` and `else` (all that is not proposing) are medians of the last hundred candidates, `mean` and
`worst` those of proposing, `CPU` the mean of its CPU time; `volume` is the front's share of what lies between the
largest network and a perfect one.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search_throughput import SAMPLERS, MacsAsLatency, Stopwatch

from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.engines.local import LocalEngine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Ended, NopPruner, Report
from ffnet_search.formatting import figure
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.loop import run_loop
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.search.storage.trial_params import configuration_of, distributions
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

LAST = 100  # candidates that a row tells of


def saturating(configuration: Configuration, report: Report) -> Candidate:
    """An accuracy that rises with the MACs, and a little that the key decides."""
    assert configuration.architecture is not None
    noise = int(hashlib.sha256(configuration.key.encode()).hexdigest()[:8], 16) / 2**32
    return Candidate(
        configuration.architecture,
        {"accuracy": 0.9 - 0.5 * math.exp(-configuration.architecture.macs_m / 60) + 0.05 * noise},
    )


class Watched(Stopwatch):
    """Prints a row every so often."""

    every = 1000

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.cpu_ms: list[float] = []
        ask = self.sampler.ask

        def timed(*args: Any) -> Any:
            start = time.process_time()
            try:
                return ask(*args)
            finally:
                self.cpu_ms.append(1e3 * (time.process_time() - start))

        self.sampler.ask = timed  # type: ignore[method-assign]

    def tell(self, configuration: Configuration, outcome: Ended) -> TrialRecord:
        record = super().tell(configuration, outcome)
        told, front = self.archive.finished, self.archive.front
        if told % self.every == 0:
            propose, store, rest = (statistics.median(column) for column in zip(*self.rows[-LAST:], strict=True))
            times = [row[0] for row in self.rows[-LAST:]]
            proposing = (propose, statistics.fmean(times), max(times), statistics.fmean(self.cpu_ms[-LAST:]))
            figures = f"{told:>10}" + "".join(f"{figure(x):>10}" for x in proposing)
            figures += f"{figure(store + rest):>8}{resident_mb():>8.0f}"
            print(f"{figures}{len(front.candidates):>8}{front.volume or 0:>9.4f}", flush=True)
        return record


def random_candidates(space: SearchSpace, count: int) -> Iterator[Candidate]:
    """Candidates of random architectures."""
    rng, axes = random.Random(0), distributions(space)
    for _ in range(count):
        params = {name: rng.choice(getattr(axis, "choices", ())) for name, axis in axes.items()}
        yield saturating(configuration_of(space, params), lambda *report: True)


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--begin", type=int, default=0, metavar="N")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=["TPESampler"])
    options = parser.parse_args()
    space = SearchSpace.from_yaml(root / "search_spaces" / "ffnet_cifar.yaml")
    Watched.every = max(1, options.candidates // 10)
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{options.candidates} candidates of {space.name}, {machine}; ms each, medians of {LAST}, MB resident")
    for name in options.samplers:
        print(
            f"{name}\n{'told':>10}{'propose':>10}{'mean':>10}{'worst':>10}{'CPU':>10}{'else':>8}{'MB':>8}{'front':>8}{'volume':>9}"
        )
        sampler = SamplerSection(class_path=name, init_args=SAMPLERS[name])
        section = SearchSection(trials=options.candidates, sampler=sampler)
        problem = SearchProblem(space, section, CostModel(MacsAsLatency()))
        with (
            tempfile.TemporaryDirectory() as folder,
            open_storage(problem, Path(folder) / "study.db") as storage,
        ):
            search = Watched(problem, storage)
            search.adopt(random_candidates(space, options.begin))
            context = EngineContext(lambda: saturating, section, NopPruner(), Path(folder), space)
            with LocalEngine(context) as engine:
                run_loop(search, engine)


if __name__ == "__main__":
    main()
