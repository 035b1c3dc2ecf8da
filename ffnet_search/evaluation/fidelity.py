"""The fidelity of a supernet: how well its ranking of sub-networks predicts that of the same networks trained alone.

Networks are chosen evenly over the logarithm of MACs, and compared by their quality on the supernet's weights
(`inherited`) and after a training of their own (`alone`). MACs and parameters, which cost nothing, are ranked beside:
a supernet earns its cost where it ranks better than they do. No training here, and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.rank_statistics import Interval, agreement, correlate, difference, kendall, spearman
from ffnet_search.files.bounded import read_json
from ffnet_search.files.digest import sha256_of
from ffnet_search.metrics import LATENCY, MACS, PARAMS
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.registry import task_outputs

SPLITS = ("validation", "test")
INHERITED = "inherited"
PREDICTORS = (INHERITED, MACS.name, PARAMS.name)  # of the quality of networks that are trained alone
MIN_NETWORKS = 4  # networks that a ranking needs
NONE = Interval(math.nan, math.nan, math.nan)
FILE = "fidelity.json"
FORMAT = 1


@dataclass(frozen=True)
class Compared:
    """One network. `costs`: metric -> value; `inherited`, `alone` and `again` (trained with another seed; empty where
    it was not): split -> quality."""

    name: str
    architecture: Architecture
    costs: Mapping[str, float]
    inherited: Mapping[str, float]
    alone: Mapping[str, float]
    again: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Compared:
        """The network of plain data, its architecture as `Architecture.to_dict` writes it."""
        return cls(**{**content, "architecture": Architecture.from_dict(content["architecture"])})


@dataclass(frozen=True)
class Regret:
    """The quality that is lost by taking the network that a predictor ranks first; 0 if that is the best one.

    `top`: of all networks. `mean`, `worst`: over budgets, each network's cost as one."""

    top: float
    mean: float
    worst: float


@dataclass(frozen=True)
class Fidelity:
    """The comparison of a supernet's sub-networks with the same networks trained alone, judged on one `split`.

    `cost`: the metric that defines thirds and budgets, `latency_ms` if a table exists. `record`: its provenance.
    Everything else is computed from these. Qualities and their differences are in the units of the task's metric."""

    task: str
    split: str
    cost: str
    networks: tuple[Compared, ...]  # in order of MACs
    failed: Mapping[str, str] = field(default_factory=dict)  # name -> the reason
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sign(self) -> float:
        """The factor that makes more better."""
        return -task_outputs(self.task).quality.sign

    @property
    def alone(self) -> list[float]:
        """The quality of each network, trained alone."""
        return [network.alone[self.split] for network in self.networks]

    def predictor(self, name: str, networks: Sequence[Compared] | None = None) -> list[float]:
        """The values of one of `PREDICTORS`, for networks (or for all): higher ones predict a better quality."""
        networks = self.networks if networks is None else networks
        if name == INHERITED:
            return [self.sign * network.inherited[self.split] for network in networks]
        return [network.costs[name] for network in networks]

    @cached_property
    def groups(self) -> dict[str, list[Compared]]:
        """All networks; the thirds by cost; and the half that is nearest to the front of cost and inherited quality:
        among these a search chooses."""
        ordered = sorted(self.networks, key=lambda network: network.costs[self.cost])
        first, second = (round(len(ordered) * share) for share in (1 / 3, 2 / 3))
        least, most = ("fastest", "slowest") if self.cost == LATENCY.name else ("smallest", "largest")
        near = sorted(ordered, key=self._behind)[: -(-len(ordered) // 2)]
        return {
            "all": list(self.networks),
            f"{least} third": ordered[:first],
            "middle third": ordered[first:second],
            f"{most} third": ordered[second:],
            "near the front": near,
        }

    def _behind(self, network: Compared) -> float:
        """The inherited quality by which the best network at no more cost is ahead."""
        rivals = [one for one in self.networks if one.costs[self.cost] <= network.costs[self.cost]]
        return max(self.predictor(INHERITED, rivals)) - self.predictor(INHERITED, [network])[0]

    @cached_property
    def kendall(self) -> dict[str, dict[str, Interval]]:
        """Group -> predictor -> Kendall's tau-b with the quality of networks trained alone; NaN if a group is small."""
        return {name: self._correlations(kendall, group) for name, group in self.groups.items()}

    @cached_property
    def spearman(self) -> dict[str, Interval]:
        """Predictor -> Spearman's rho with the quality of networks trained alone, over all."""
        return self._correlations(spearman, self.networks)

    def _correlations(self, statistic: Callable[..., Any], group: Sequence[Compared]) -> dict[str, Interval]:
        if len(group) < MIN_NETWORKS:
            return dict.fromkeys(PREDICTORS, NONE)
        alone = [self.sign * network.alone[self.split] for network in group]
        return {name: correlate(statistic, self.predictor(name, group), alone) for name in PREDICTORS}

    @cached_property
    def together(self) -> Interval:
        """Kendall's tau of the mean of each network's ranks by all `PREDICTORS`: no weight has to be chosen."""
        values_PN = np.array([self.predictor(name) for name in PREDICTORS])
        # The rank of a network: those below it less those above it, so that ties share one.
        ranks_PN = np.sign(values_PN[:, :, None] - values_PN[:, None, :]).sum(axis=-1)
        return correlate(kendall, ranks_PN.sum(axis=0).tolist(), [self.sign * one for one in self.alone])

    @cached_property
    def better_than_macs(self) -> Interval:
        """Kendall's tau of the inherited quality less that of MACs, by a paired bootstrap."""
        alone = [self.sign * value for value in self.alone]
        return difference(kendall, self.predictor(INHERITED), self.predictor(MACS.name), alone)

    @property
    def verdict(self) -> str:
        """The answer to whether the supernet ranks better than MACs: `yes`, `no` (worse), or `not told apart`."""
        if self.better_than_macs.low > 0:
            return "yes"
        return "no" if self.better_than_macs.high < 0 else "not told apart"

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with its figures."""
        by, found = self.kendall["all"], self.better_than_macs
        taus = f"Kendall {by[INHERITED].value:.2f} against {by[MACS.name].value:.2f}"
        return (
            f"Does the supernet rank better than MACs here? {self.verdict.capitalize()}: {taus} on "
            f"{len(self.networks)} networks, a difference of {_signed(found.value)} (95 % interval "
            f"{_signed(found.low)} to {_signed(found.high)})."
        )

    @property
    def gaps(self) -> list[float]:
        """Inherited less alone, for each network."""
        return [network.inherited[self.split] - network.alone[self.split] for network in self.networks]

    @property
    def pair_differences(self) -> list[float]:
        """The second training alone less the first, for each network that was trained twice."""
        return [one.again[self.split] - one.alone[self.split] for one in self.networks if one.again]

    @property
    def seed_noise(self) -> float:
        """The standard deviation of the quality over seeds of one training alone; NaN if none was repeated."""
        pairs = self.pair_differences
        return math.sqrt(sum(pair**2 for pair in pairs) / (2 * len(pairs))) if pairs else math.nan

    @cached_property
    def ceiling(self) -> Interval:
        """Kendall's tau between two trainings alone of these networks, by the seed noise: no predictor can be expected
        to reach more."""
        if not self.pair_differences:
            return NONE
        return agreement(self.alone, self.pair_differences)

    @cached_property
    def regrets(self) -> dict[str, Regret]:
        """Predictor -> the regret of its picks."""
        return {name: self._regret(name) for name in PREDICTORS}

    def _regret(self, name: str) -> Regret:
        def lost(networks: Sequence[Compared]) -> float:
            promised, alone = self.predictor(name, networks), [self.sign * one.alone[self.split] for one in networks]
            picked = [value for promise, value in zip(promised, alone, strict=True) if promise == max(promised)]
            return max(alone) - sum(picked) / len(picked)  # the mean of those that tie for the first place

        budgets = [network.costs[self.cost] for network in self.networks]
        within = [lost([one for one in self.networks if one.costs[self.cost] <= budget]) for budget in budgets]
        return Regret(lost(self.networks), sum(within) / len(within), max(within))

    def to_dict(self) -> dict[str, Any]:
        """The content of fidelity.json as plain data, computed figures included."""
        networks = [{**asdict(one), "key": one.architecture.key} for one in self.networks]
        for row, one in zip(networks, self.networks, strict=True):
            row["architecture"] = one.architecture.to_dict()
        statistics = {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "kendall": {
                group: {"networks": len(self.groups[group]), **{name: asdict(one) for name, one in by.items()}}
                for group, by in self.kendall.items()
            },
            "spearman": {name: asdict(one) for name, one in self.spearman.items()},
            "kendall_together": asdict(self.together),
            "kendall_better_than_macs": asdict(self.better_than_macs),
            "gap": {"mean": sum(self.gaps) / len(self.gaps), "least": min(self.gaps), "most": max(self.gaps)},
            "regret": {name: asdict(one) for name, one in self.regrets.items()},
            "seed_noise": {"pairs": len(self.pair_differences), "sd": self.seed_noise, "kendall": asdict(self.ceiling)},
        }
        head = {"format": FORMAT, "task": self.task, "split": self.split, "cost": self.cost}
        return {**head, **statistics, "networks": networks, "failed": dict(self.failed), "record": dict(self.record)}


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def supernet_digest(path: Path) -> str:
    """16 hexadecimal digits of a supernet's file. A comparison is of this one: a supernet made again has another."""
    return sha256_of(path)[:16]


def read_fidelity(folder: Path) -> Fidelity | None:
    """Read `FILE` of a folder; None if it holds none. Raises SweepError for one that cannot be read."""
    path = folder / FILE
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        networks = [{name: one[name] for name in Compared.__dataclass_fields__} for one in content["networks"]]
        fields = {name: content[name] for name in ("task", "split", "cost", "failed", "record")}
        return Fidelity(networks=tuple(map(Compared.from_dict, networks)), **fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepError(
            f"{path}: must be what `ffnet-search fidelity` wrote, but cannot be read ({error}); move it away and run "
            "that again"
        ) from None
