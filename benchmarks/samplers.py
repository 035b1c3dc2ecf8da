"""How good the fronts are that samplers find with few evaluations, and what a proposal costs.

    python benchmarks/samplers.py --table nb201.npz [--chains 28 44] [--samplers ParetoSampler TPESampler]
        [--seeds 10] [--after 50 100 200] [--free repeats over-limit known] [--workers 1] [--results FOLDER]

The table is a file of measured networks as arrays (`ops`, `accuracy`, `latency_ms`, `datasets`, `devices`), such as
NAS-Bench-201 with the latencies of HW-NAS-Bench; it is not shipped. Without one the made-up chains alone are searched.
A task asks for the front of accuracy and latency under a limit; its score is the hypervolume found over that of the
true front (`sampler_tasks.py`). A repeat is answered from a cache and is free. Over-limit networks cost an evaluation
(`repeats`), or nothing (`over-limit`); with `known` the sampler computes the latency itself before it proposes.
A line ends with the CPU time of a proposal, its mean and that of the last tenth, and the growth of the peak memory in
the second half of the last search. Searches that are in `--results` are not made again. `surrogate.py` beside this file
tells more in a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import time
import warnings
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from sampler_tasks import CHAINS, Task, chain, tables

from ffnet_search.formatting import figure
from ffnet_search.plugins import find_class
from ffnet_search.search.samplers.pareto import Known, ParetoSampler

FREE = ("repeats", "over-limit", "known")
PATIENCE = 100  # free proposals in a row, after which a random network is evaluated


def make(name: str, task: Task, seed: int, free: str) -> BaseSampler:
    """A sampler by name or import path."""
    if name == "RandomSampler":
        return RandomSampler(seed=seed)
    if name == "TPESampler":
        return TPESampler(seed=seed, multivariate=True)
    if name == "NSGAIISampler":
        return NSGAIISampler(seed=seed, population_size=20)
    args: dict[str, Any] = {"seed": seed}
    if free == "known":
        args["known"] = partial(known, task)
    kind = ParetoSampler if name == "ParetoSampler" else find_class(name, "--samplers", BaseSampler)
    sampler: BaseSampler = kind(**args)
    return sampler


def known(task: Task, params: Mapping[str, int]) -> Known:
    """The facts about a network before its evaluation: the latency, the second objective, and its excess."""
    latency = task.table.measured(tuple(params[name] for name in task.table.axes))[1]
    return Known({1: latency}, {"latency": latency / task.limit - 1})


class Search:
    """One search of a task by a sampler, with `workers` evaluations at a time."""

    def __init__(self, task: Task, name: str, seed: int, free: str) -> None:
        self.task, self.free = task, free
        self.study = optuna.create_study(directions=["maximize", "minimize"], sampler=make(name, task, seed, free))
        self.axes = {axis: CategoricalDistribution(choices) for axis, choices in task.table.axes.items()}
        self.known: dict[tuple[int, ...], tuple[float, float]] = {}
        self.rng = np.random.default_rng(seed)
        self.asked, self.seconds = 0, [0.0]  # of each proposal, with what is told before it

    def run(self, after: Sequence[int], workers: int) -> list[float]:
        """The score after each of these numbers of evaluations."""
        pending: deque[tuple[Any, tuple[int, ...]]] = deque()
        scores, evaluated, idle, half_mb = [], 0, 0, 0.0
        while evaluated < max(after):
            trial, x = self._ask(random=idle >= PATIENCE)
            latency = self.task.table.true(x)[1]
            repeat = x in self.known or any(x == other for _, other in pending)
            over = latency > self.task.limit and self.free != "repeats"
            if repeat or over:
                idle += 1
                self._tell(trial, x, over)
                continue
            idle = 0
            pending.append((trial, x))
            if len(pending) < workers:
                continue
            self._tell(*pending.popleft(), over=False)
            evaluated += 1
            half_mb = half_mb or (peak_mb() if 2 * evaluated >= max(after) else 0.0)
            if evaluated in after:
                points = [self.task.table.true(x) for x in self.known]
                scores.append(self.task.score(np.array(points)))
        self.grown_mb = peak_mb() - half_mb
        return scores

    def _ask(self, random: bool) -> tuple[optuna.Trial, tuple[int, ...]]:
        if random:
            sizes = self.task.table.sizes
            x = tuple(int(self.rng.integers(size)) for size in sizes)
            self.study.enqueue_trial(dict(zip(self.axes, x, strict=True)))
        start = time.process_time()
        trial = self.study.ask(self.axes)
        self.seconds.append(time.process_time() - start)
        self.asked += 1
        return trial, tuple(trial.params.values())

    def _tell(self, trial: optuna.Trial, x: tuple[int, ...], over: bool) -> None:
        quality, latency = self.task.table.measured(x)
        trial.set_constraint("latency", latency / self.task.limit - 1)
        start = time.process_time()
        if over:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.known[x] = quality, latency
            self.study.tell(trial, (quality, latency))
        self.seconds[-1] += time.process_time() - start


def peak_mb() -> float:
    """The most memory that this process has had, in MB (of Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """The tasks that are asked for."""
    if options.table is not None:
        yield from tables(options.table)
    for axes, kind, seed in itertools.product(options.chains, CHAINS, range(options.spaces)):
        yield chain(kind, axes, seed, options.results)


def searched(task: Task, name: str, free: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The searches of all seeds: those on disk, and those that are made now."""
    path = options.results / "searches.jsonl"
    stored: dict[tuple[Any, ...], dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            stored[tuple(row["of"])] = row
    rows = []
    for seed in range(options.seeds):
        of = (task.name, name, free, options.workers, options.label, seed, *options.after)
        if of not in stored:
            search = Search(task, name, seed, free)
            scores = search.run(options.after, options.workers)
            stored[of] = {"of": of, "scores": scores, "asked": search.asked, "grown_mb": search.grown_mb}
            stored[of] |= {"ms": 1e3 * sum(search.seconds) / search.asked}
            stored[of] |= {"last_ms": 1e3 * statistics.fmean(search.seconds[-max(1, search.asked // 10) :])}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(stored[of]) + "\n")
        rows.append(stored[of])
    return rows


def mean_and_error(values: Sequence[float]) -> str:
    """The mean and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {error:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--chains", nargs="*", type=int, default=[28], help="numbers of axes")
    parser.add_argument("--spaces", type=int, default=2, help="chains of each kind")
    parser.add_argument("--samplers", nargs="+", default=["ParetoSampler", "TPESampler"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--after", nargs="+", type=int, default=[50, 100, 200])
    parser.add_argument("--free", nargs="+", choices=FREE, default=["repeats"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[""], help="part of the names of the tasks")
    parser.add_argument("--label", default="", help="of this version of the samplers, in the results")
    parser.add_argument("--results", type=Path, default=Path("runs/samplers"))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    options.results.mkdir(parents=True, exist_ok=True)
    machine = (
        f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}, Optuna {optuna.__version__}"
    )
    print(machine)
    print(
        f"{options.seeds} seeds, {options.workers} pending; score after {options.after} evaluations, mean ± its error"
    )
    searches: dict[tuple[str, str, str], list[list[dict[str, Any]]]] = defaultdict(list)  # of each task, by seed
    for task in tasks(options):
        if not any(part in task.name for part in options.only):
            continue
        for name, free in itertools.product(options.samplers, options.free):
            rows = searched(task, name, free, options)
            columns = list(zip(*(row["scores"] for row in rows), strict=True))
            costs = statistics.fmean(row["ms"] for row in rows)
            group = f"chains {len(task.table.axes)}" if "#" in task.name else "table"
            searches[group, name, free].append(rows)
            told = "   ".join(map(mean_and_error, columns))
            last, grown = rows[-1].get("last_ms", 0.0), rows[-1].get("grown_mb", 0.0)
            cost = f"{figure(costs)} ms, {figure(last)} at the end, +{grown:.1f} MB"
            print(f"{task.name:<24}{name:<16}{free:<12}{told}   {cost}", flush=True)
    for (group, name, free), of_tasks in searches.items():
        scores_TSN = np.array([[row["scores"] for row in rows] for rows in of_tasks])
        told = "   ".join(mean_and_error(scores_S.tolist()) for scores_S in scores_TSN.mean(axis=0).T)  # over seeds
        costs = statistics.fmean(row["ms"] for rows in of_tasks for row in rows)
        print(f"mean of {len(of_tasks):<3} {group:<12}{name:<16}{free:<12}{told}   {figure(costs)} ms", flush=True)


if __name__ == "__main__":
    main()
