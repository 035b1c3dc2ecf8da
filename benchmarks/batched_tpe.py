"""What it costs a search that TPE draws several proposals from one fit where many are pending.

    python benchmarks/batched_tpe.py [--spaces digits cifar] [--candidates 600] [--pending 64] [--at-once 1 4]

The hypervolume at equal candidates, from the same seeds, where one result at a time comes back, and where several do,
which then several proposals replace. Results come in the order in which they were asked for, when `--pending` are.
The accuracy is made up and can be learnt: it rises with the MACs, each choice on each axis adds or takes a little, and
so does luck.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import platform
import statistics
import tempfile
from collections import deque
from pathlib import Path
from types import TracebackType

from search_throughput import SAMPLERS, MacsAsLatency, Stopwatch

from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.evaluation.outcome import Ended
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.loop import run_loop
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).resolve().parent.parent


def chance(*of: object) -> float:
    """A number in [0, 1) out of what is given."""
    return int(hashlib.sha256(repr(of).encode()).hexdigest()[:8], 16) / 2**32


class Late:
    """An engine whose results come when `pending` proposals are, `at_once` of them. See `loop.Engine`."""

    utilisation: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, space: SearchSpace, pending: int, at_once: int) -> None:
        self.space, self.pending, self.at_once = space, pending, at_once
        self.waiting: deque[Configuration] = deque()

    @property
    def free_slots(self) -> int:
        return self.pending - len(self.waiting)

    @property
    def is_ready(self) -> bool:
        return 0 < self.free_slots < self.at_once and bool(self.waiting)

    def submit(self, configuration: Configuration) -> None:
        self.waiting.append(configuration)

    def next(self) -> tuple[Configuration, Ended]:
        configuration = self.waiting.popleft()
        arch = configuration.architecture
        assert arch is not None
        choices = self.space.choices_of(arch).items()
        worth = statistics.fmean(chance(axis, value) for axis, value in choices)
        rise = 1 - math.exp(-arch.macs_m / self.space.largest.macs_m * 4)
        return configuration, Candidate(arch, {"accuracy": 0.4 * rise + 0.5 * worth + 0.02 * chance(arch.key)})

    def __enter__(self) -> Late:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def measure(space: SearchSpace, candidates: int, pending: int, at_once: int, seed: int) -> tuple[float, float, float]:
    """The hypervolume, repeats per candidate, and milliseconds that a configuration took."""
    sampler = SamplerSection(class_path="TPESampler", init_args=SAMPLERS["TPESampler"])
    section = SearchSection(trials=candidates, sampler=sampler)
    problem = SearchProblem(space, section, CostModel(MacsAsLatency()), seed)
    with tempfile.TemporaryDirectory() as folder, open_storage(problem, Path(folder) / "study.db") as storage:
        search = Stopwatch(problem, storage)
        run_loop(search, Late(space, pending, at_once))
    archive = search.archive
    return archive.front.volume or 0.0, archive.repeats / candidates, 1e3 * search.seconds["propose"] / candidates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=["digits", "cifar"])
    parser.add_argument("--candidates", type=int, default=600)
    parser.add_argument("--pending", type=int, default=64)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    print(f"{options.candidates} candidates, {options.pending} pending, {options.seeds} seeds, {machine}; medians")
    print(f"{'space':<10}{'at once':>9}{'hypervolume':>14}{'least':>9}{'most':>9}{'repeats':>9}{'ms each':>9}")
    for name in options.spaces:
        space = SearchSpace.from_yaml(ROOT / "search_spaces" / f"ffnet_{name}.yaml")
        for at_once in options.at_once:
            rows = [measure(space, options.candidates, options.pending, at_once, seed) for seed in range(options.seeds)]
            volumes, repeats, own = zip(*rows, strict=True)
            medians = f"{statistics.median(repeats):>9.2f}{statistics.median(own):>9.1f}"
            spread = f"{statistics.median(volumes):>14.4f}{min(volumes):>9.4f}{max(volumes):>9.4f}"
            print(f"{name:<10}{at_once:>9}{spread}{medians}", flush=True)


if __name__ == "__main__":
    main()
