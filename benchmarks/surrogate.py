"""How well the surrogate of our sampler ranks networks near the front: a second tells more than an hour of searches.

    python benchmarks/surrogate.py [--table nb201.npz] [--chains 28] [--networks 30 60 120] [--seeds 3]

Trained on few networks, half of them random and half bred from the best so far, as a search has them, it ranks others:
members of the true front with some choices changed. Mean rank correlation (Spearman) of those above the reference.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from optuna.distributions import CategoricalDistribution
from sampler_tasks import CHAINS, Table, Task, chain, front_of, tables
from scipy.stats import spearmanr

from ffnet_search.search.samplers.candidates import offspring
from ffnet_search.search.samplers.encoding import Encoding
from ffnet_search.search.samplers.improvement import non_dominated
from ffnet_search.search.samplers.inputs import Inputs
from ffnet_search.search.samplers.surrogate import Surrogate

MINIMISED = np.array([-1.0, 1.0])


def measured(task: Task, rows_NA: np.ndarray) -> np.ndarray:
    """Quality and latency (N, 2)."""
    return np.array([task.table.measured(tuple(row)) for row in rows_NA.astype(int).tolist()])


def networks_of_a_search(task: Task, encoding: Encoding, rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows (count, A)."""
    rows_NA = encoding.draw(rng, count // 2)
    while len(rows_NA) < count:
        points_NM = measured(task, rows_NA) * MINIMISED
        near = np.argsort(np.maximum(0, points_NM[:, 1] - 1.1 * task.limit), kind="stable")[: len(rows_NA) // 3]
        parents_PA = rows_NA[near[non_dominated(points_NM[near])]]
        rows_NA = np.vstack([rows_NA, offspring(encoding, parents_PA, rng, 4)])
    return rows_NA[:count]


def rank_correlation(task: Task, networks: int, seed: int) -> float:
    """Of what the surrogate says of networks near the front with what they are."""
    rng = np.random.default_rng([seed, networks])
    encoding = Encoding({name: CategoricalDistribution(choices) for name, choices in task.table.axes.items()})
    rows_NA = networks_of_a_search(task, encoding, rng, networks)
    quality_N = np.maximum(measured(task, rows_NA)[:, 0], task.worst)
    surrogate = Surrogate(encoding, Inputs.of(encoding, rows_NA), quality_N)
    front_KA = front_of(task)
    others_SA = offspring(encoding, front_KA, rng, 400)
    truth_S = measured(task, others_SA)[:, 0]
    mean_S, _ = surrogate.predict(Inputs.of(encoding, others_SA))
    useful_S = truth_S > task.worst
    return float(np.nan_to_num(spearmanr(mean_S[useful_S], truth_S[useful_S]).statistic))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--chains", nargs="*", type=int, default=[28], help="numbers of axes")
    parser.add_argument("--networks", nargs="+", type=int, default=[30, 60, 120])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("runs/samplers"))
    options = parser.parse_args()
    tasks = [] if options.table is None else list(tables(options.table, (0.25,)))
    tasks += [chain(kind, axes, seed, options.results) for axes in options.chains for kind in CHAINS for seed in (0, 1)]
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for task in tasks:
        group = "table" if isinstance(task.table, Table) else task.name.split(" #")[0]
        for networks in options.networks:
            found[group, networks] += [rank_correlation(task, networks, seed) for seed in range(options.seeds)]
    print(f"{'networks':<20}" + "".join(f"{networks:>8}" for networks in options.networks))
    for group in dict.fromkeys(group for group, _ in found):
        print(f"{group:<20}" + "".join(f"{statistics.fmean(found[group, n]):>8.2f}" for n in options.networks))


if __name__ == "__main__":
    main()
