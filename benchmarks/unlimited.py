"""How good the whole front is that a sampler finds where nothing limits the latency, fast end and slow end.

    python benchmarks/unlimited.py [--samplers ParetoSampler TPESampler] [--seeds 4] [--after 100 200]

The space is that of `sweeps/cifar_cpu.yaml`. Latency and quality are made up, from the measured front of CIFAR-10: both
rise with MACs (0.04 to 0.6 ms, 72 to 85 %), with effects of each choice and of pairs, and an evaluation has a little
luck; another seed is another space. The latency is known before a proposal, and the smallest and the largest network
come first, as in a search. A figure is the mean regret in points: what is lost, at budgets even over the logarithm of
the latency, against the best network within the budget; of all budgets and of their slowest third. The true front comes
from a genetic search.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import platform
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from samplers import mean_and_error

from ffnet_search.config.sweep import Sweep
from ffnet_search.search.samplers.improvement import non_dominated
from ffnet_search.search.samplers.pareto import Known, ParetoSampler
from ffnet_search.search.storage.trial_params import architecture_of, distributions, params_of
from ffnet_search.space.hyperparameters import Configuration

SWEEP = Path(__file__).parents[1] / "sweeps" / "cifar_cpu.yaml"
BUDGETS, PAIRS, LUCK = 33, 25, 0.3
GENERATIONS, POPULATION = 40, 150  # of the search for the true front
MINIMISED = np.array([-1.0, 1.0])
Params = Mapping[str, Any]


class Networks:
    """Made-up quality (percent) and latency (ms) of the networks of a space."""

    def __init__(self, seed: int) -> None:
        self.space = Sweep.from_yaml(SWEEP).search_space
        self.axes = distributions(self.space)
        self.rng = np.random.default_rng(seed)
        names, sizes = list(self.axes), {name: len(axis.choices) for name, axis in self.axes.items()}
        self.effects, self.costs = ({name: self.rng.normal(size=sizes[name]) for name in names} for _ in range(2))
        drawn = self.rng.choice(names, size=(PAIRS, 2)).tolist()
        self.pairs = {(a, b): self.rng.normal(size=(sizes[a], sizes[b])) for a, b in drawn if a != b}
        self.seen: dict[str, tuple[float, float]] = {}
        raw = [self._effect(self._numbers(self.random())) for _ in range(300)]
        self.middle, self.spread = np.mean(raw), np.std(raw)
        self.middle_quality = float(np.median([self.of(self.random())[0] for _ in range(300)]))

    def random(self) -> dict[str, Any]:
        return {name: axis.choices[int(self.rng.integers(len(axis.choices)))] for name, axis in self.axes.items()}

    def effective(self, params: Params) -> dict[str, Any]:
        """The parameters that have an effect."""
        choices = self.space.effective_choices(architecture_of(self.space, params))
        return {name: choices[name] for name in params if name in choices}

    def of(self, params: Params) -> tuple[float, float]:
        """Quality without luck, and latency."""
        arch = architecture_of(self.space, params)
        if arch.key not in self.seen:
            numbers = self._numbers(params)
            effect = (self._effect(numbers) - self.middle) / self.spread
            cost = sum(self.costs[name][at] for name, at in numbers.items()) / math.sqrt(len(numbers))
            latency = 0.07 * arch.macs_m**0.71 * math.exp(0.1 * cost)
            self.seen[arch.key] = 90 - 14 * arch.macs_m**-0.36 + 0.5 * effect, latency
        return self.seen[arch.key]

    def evaluated(self, params: Params) -> tuple[float, float]:
        """Quality with luck, the same each time, and latency."""
        quality, latency = self.of(params)
        digest = hashlib.sha256(architecture_of(self.space, params).key.encode()).digest()
        return quality + LUCK * np.random.default_rng(list(digest[:8])).normal(), latency

    def _numbers(self, params: Params) -> dict[str, int]:
        return {name: self.axes[name].choices.index(value) for name, value in self.effective(params).items()}

    def _effect(self, numbers: Mapping[str, int]) -> float:
        alone = sum(self.effects[name][at] for name, at in numbers.items()) / math.sqrt(len(numbers))
        both = (table[numbers[a], numbers[b]] for (a, b), table in self.pairs.items() if a in numbers and b in numbers)
        return float(alone + 0.5 * sum(both) / math.sqrt(PAIRS))

    def front(self) -> np.ndarray:
        """The true front (K, 2), by a genetic search."""
        ends = [params_of(self.space, Configuration(arch)) for arch in (self.space.smallest, self.space.largest)]
        parents = [*ends, *(self.random() for _ in range(POPULATION))]
        for _ in range(GENERATIONS):
            points_NM = np.array([self.of(params) for params in parents])
            parents = [parents[at] for at in non_dominated(points_NM * MINIMISED)]
            parents += [self._child(parents) for _ in range(POPULATION)]
        points_NM = np.array([self.of(params) for params in parents])
        return points_NM[non_dominated(points_NM * MINIMISED)]

    def _child(self, parents: list[dict[str, Any]]) -> dict[str, Any]:
        one, two = (parents[int(self.rng.integers(len(parents)))] for _ in range(2))
        child = {name: two[name] if self.rng.random() < 0.3 else value for name, value in one.items()}
        random, few = self.random(), self.rng.integers(1, 4) / len(child)
        return {name: random[name] if self.rng.random() < few else value for name, value in child.items()}


def make(name: str, networks: Networks, seed: int) -> BaseSampler:
    """A sampler by name; ours knows the latency."""
    if name == "RandomSampler":
        return RandomSampler(seed=seed)
    if name == "TPESampler":
        return TPESampler(seed=seed, multivariate=True)
    return ParetoSampler(seed, known=lambda params: Known({1: networks.of(params)[1]}, {}, networks.effective(params)))


def regrets(true_KM: np.ndarray, found_NM: np.ndarray, worst: float) -> np.ndarray:
    """Points lost at each budget (B,), from the fastest network of the true front that is better than `worst`."""
    true_KM = true_KM[true_KM[:, 0] > worst]
    budgets_B = np.geomspace(true_KM[:, 1].min(), true_KM[:, 1].max(), BUDGETS)
    best = [
        [points[points[:, 1] <= budget * 1.000001, 0].max(initial=worst) for budget in budgets_B]
        for points in (true_KM, found_NM)
    ]
    return np.asarray(np.subtract(*best))


def searched(networks: Networks, name: str, seed: int, after: list[int]) -> list[np.ndarray]:
    """Quality and latency of what was evaluated (N, 2), after so many evaluations each."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=make(name, networks, seed))
    for arch in (networks.space.smallest, networks.space.largest):
        study.enqueue_trial(params_of(networks.space, Configuration(arch)))
    points: list[tuple[float, float]] = []
    for _ in range(max(after)):
        trial = study.ask(networks.axes)
        study.tell(trial, networks.evaluated(trial.params))
        points.append(networks.of(trial.params))
    return [np.array(points[:count]) for count in after]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["ParetoSampler", "TPESampler"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--after", nargs="+", type=int, default=[100, 200])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    print(f"{os.cpu_count()} CPUs ({platform.machine()}), Optuna {optuna.__version__}, {options.seeds} seeds")
    found: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    for seed in range(options.seeds):
        networks = Networks(seed)
        true_KM = networks.front()
        for name in options.samplers:
            for count, points in zip(options.after, searched(networks, name, seed, options.after), strict=True):
                found[name, count].append(regrets(true_KM, points, networks.middle_quality))
    for (name, count), of_seeds in found.items():
        everywhere = mean_and_error([float(one.mean()) for one in of_seeds])
        slowest = mean_and_error([float(one[2 * BUDGETS // 3 :].mean()) for one in of_seeds])
        print(f"{name:<16} after {count:<4} points lost: {everywhere}, in the slowest third {slowest}", flush=True)


if __name__ == "__main__":
    main()
