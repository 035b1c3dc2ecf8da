"""The cost of a front by a supernet, and by training each network with early stopping: which one is cheaper, and why.

A step of the supernet trains several networks, and the best are retrained; each of many networks costs a third of its
epochs where successive halving stops most of them (`benchmarks/early_stopping.py`). Costs are minutes where `init` has
measured them; else they are counted in multiply-accumulates, in epochs of one average network within the limits.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.formatting import figure, plural
from ffnet_search.space.cost_model import analytic_metrics

STOPPED_SHARE = 0.35  # of the epochs, that early stopping leaves: benchmarks/early_stopping.py
FORWARD_SHARE = 1 / 3  # of a training step
MINUTES = "minutes, as `init` measured"
SAMPLED_NETWORKS = 100  # architectures, for the average network


@dataclass(frozen=True)
class CostComparison:
    """Two ways to one front. `shared`, `retraining` and `each` in epochs of one network, or in any other unit."""

    networks: int  # that the search compares
    shared: float  # training the supernet, and evaluating all of them on its weights
    retraining: float  # of those that are exported
    each: float  # training one of them with early stopping
    unit: str = "epochs of one network, by MACs"

    @property
    def supernet(self) -> float:
        """The cost with a supernet."""
        return self.shared + self.retraining

    @property
    def separate(self) -> float:
        """The cost of training each network."""
        return self.networks * self.each

    @property
    def pays_from(self) -> int:
        """The least number of networks for which a supernet is cheaper."""
        return math.floor(self.supernet / self.each) + 1

    @property
    def supernet_is_cheaper(self) -> bool:
        return self.networks >= self.pays_from

    def __str__(self) -> str:
        shared, retraining, separate = (figure(cost) for cost in (self.shared, self.retraining, self.separate))
        ways = (
            f"a supernet with {plural(self.networks, 'network')} compared on its weights ({shared}) and the best "
            f"retrained ({retraining})",
            f"training each of them with early stopping ({separate})",
        )
        cheaper, other = ways if self.supernet_is_cheaper else reversed(ways)
        return f"cheaper is {cheaper}, not {other}, in {self.unit}: a supernet pays from {self.pays_from} networks on"


class Pace(NamedTuple):
    """The costs of an epoch of the supernet, of an epoch of one network alone, of comparing one network, and of
    retraining all that are exported."""

    epoch: float
    epoch_alone: float
    candidate: float
    retraining: float

    @classmethod
    def measured(cls, sweep: Sweep) -> Pace | None:
        """The minutes in the estimate of a sweep; None where it lacks some."""
        estimate: dict[str, float] = dict(sweep.estimate.items())
        if not estimate.keys() >= set(cls._fields) or not estimate["epoch_alone"]:
            return None
        return cls(*(estimate[name] for name in cls._fields))

    def compared(self, networks: int, epochs: int, unit: str) -> CostComparison:
        """The two ways for so many networks and epochs of the supernet."""
        shared, each = epochs * self.epoch + networks * self.candidate, STOPPED_SHARE * epochs * self.epoch_alone
        return CostComparison(networks, shared, self.retraining, each, unit)


def compare_ways(sweep: Sweep) -> CostComparison | None:
    """Compare the two ways for a sweep; None if there is no choice: nothing elastic, or hyper-parameters."""
    space, search = sweep.search_space, sweep.search
    if not space.is_elastic or space.hyperparameters or search.warm_start:
        return None
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(SAMPLED_NETWORKS)]
    limits = {name: limit for name, limit in search.cost_limits.items() if not name.startswith("latency_ms")}
    costs = [analytic_metrics(arch) for arch in drawn]
    within = [cost for cost in costs if all(cost[name] <= limit for name, limit in limits.items())] or costs
    average = fmean(cost["macs_m"] for cost in within)
    step = space.largest.macs_m + sweep.train.sampled * _mean_of_draws(space.smallest.macs_m, space.largest.macs_m)
    retraining = retraining_of(sweep.model_copy(update={"search": search.model_copy(update={"evaluator": "supernet"})}))
    retrained = 0.0
    if retraining is not None:
        teacher = FORWARD_SHARE * space.largest.macs_m / average if retraining.distil else 0.0
        retrained = min(retraining.candidates, space.size) * retraining.epochs_for(average) * (1 + teacher)
    networks, validation, measured = min(search.trials, space.size), sweep.data.validation, Pace.measured(sweep)
    by_macs = Pace(step / average, 1.0, FORWARD_SHARE * validation / (1 - validation), retrained)
    pace, unit = (by_macs, CostComparison.unit) if measured is None else (measured, MINUTES)
    return pace.compared(networks, sweep.train.epochs, unit)


def _mean_of_draws(low: float, high: float) -> float:
    """The mean of numbers drawn evenly over their logarithm, as the sub-networks of a step are by MACs."""
    return (high - low) / math.log(high / low) if high > low else high


def advice(sweep: Sweep, comparison: CostComparison) -> str:
    """The change of a sweep to the cheaper way; empty if it is on that way."""
    is_supernet = sweep.search.evaluator == "supernet"
    if is_supernet and not comparison.supernet_is_cheaper:
        return "search: {evaluator: train, early_stopping: {rule: asha}}"
    if not is_supernet and comparison.supernet_is_cheaper:
        return "search: {evaluator: supernet}, without early_stopping"
    return ""
