"""Tasks to judge samplers by: tables of measured networks, and made-up chains whose front is known by a long search.

A task is two objectives, quality to be maximised and latency to be minimised, and a limit on the latency. Its score is
the hypervolume of the feasible points found over that of the true constrained front; reference point: the median
quality of the feasible networks, and the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ffnet_search.pareto.front import no_worse
from ffnet_search.search.samplers.improvement import non_dominated

CHAINS = ("alike", "blocks", "free", "saturating")
GENERATIONS, POPULATION = 250, 600  # of the search for the true front of a chain


@dataclass(frozen=True)
class Task:
    """A space, and a `limit` on the latency.

    `worst`: the quality of the reference point. `table`: see `Table` and `Chain`."""

    name: str
    table: Table | Chain
    limit: float
    worst: float
    front_KM: np.ndarray  # (quality, latency) of the true front
    front_KA: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))  # its networks, of a chain

    @cached_property
    def best(self) -> float:
        """The hypervolume of the true front."""
        return self.volume(self.front_KM)

    def volume(self, points_NM: np.ndarray) -> float:
        """The hypervolume of points (quality, latency)."""
        height, volume = self.worst, 0.0
        for quality, latency in sorted(points_NM.tolist(), key=lambda point: (point[1], -point[0])):
            if latency < self.limit and quality > height:
                volume += (quality - height) * (self.limit - latency)
                height = quality
        return volume

    def score(self, points_NM: np.ndarray) -> float:
        """The share of the true front's hypervolume."""
        return self.volume(points_NM) / self.best


class Table:
    """Every network of a space: choices `ops` (N, A), quality and latency (N,)."""

    def __init__(self, ops_NA: np.ndarray, quality_N: np.ndarray, latency_N: np.ndarray) -> None:
        self.sizes = [int(size) for size in ops_NA.max(axis=0) + 1]
        self.axes = {f"edge{at}": tuple(range(size)) for at, size in enumerate(self.sizes)}
        self.quality_N, self.latency_N = quality_N, latency_N
        self.rows = {tuple(row): at for at, row in enumerate(ops_NA.tolist())}

    def measured(self, x: tuple[int, ...]) -> tuple[float, float]:
        """The quality and the latency that an evaluation gives."""
        row = self.rows[x]
        return float(self.quality_N[row]), float(self.latency_N[row])

    true = measured  # without the luck of an evaluation


def tables(path: Path, quantiles: tuple[float, ...] = (0.10, 0.25, 0.50)) -> Iterator[Task]:
    """The tasks of a file of arrays: `ops` (N, A), `accuracy` (N, datasets), `latency_ms` (N, devices)."""
    arrays = np.load(path)
    for column, data in enumerate(arrays["datasets"]):
        for device_column, device in enumerate(arrays["devices"]):
            quality_N = arrays["accuracy"][:, column].astype(float)
            latency_N = arrays["latency_ms"][:, device_column].astype(float)
            table = Table(arrays["ops"], quality_N, latency_N)
            for quantile in quantiles:
                limit = float(np.quantile(latency_N, quantile))
                points_NM = np.stack([quality_N, latency_N], axis=1)[latency_N <= limit]
                name = f"{data} {str(device).removeprefix('help_')} {quantile:g}"
                yield Task(name, table, limit, float(np.median(points_NM[:, 0])), points_NM)


class Chain:
    """A made-up space of `axes` choices; `kind` says what its axes share. The same seed gives the same space.

    alike: all axes have the same choices with the same effects, weighed by their place. blocks: stages of blocks of
    two choices, a width a stage that multiplies both. free: each axis has choices and effects of its own. saturating:
    as blocks, but a stage's quality is that of its weakest part. Neighbours interact in all of them, dear choices are
    better as a rule, and an evaluation has a little luck."""

    def __init__(self, kind: str, axes: int, seed: int) -> None:
        rng = np.random.default_rng([seed, axes, CHAINS.index(kind)])
        self.kind, self.seed = kind, seed
        self.stage_A = np.minimum(np.arange(axes) * 4 // axes, 3)
        self.family_A = np.zeros(axes, dtype=int)
        if kind in ("blocks", "saturating"):
            self.family_A = np.where(np.diff(self.stage_A, prepend=-1) > 0, 2, np.arange(axes) % 2)
        family_sizes = rng.integers(3, 6, size=3)
        sizes = rng.integers(2, 6, size=axes) if kind == "free" else family_sizes[self.family_A]
        self.sizes = [int(size) for size in sizes]
        self.axes = {f"axis{at:02d}": tuple(range(size)) for at, size in enumerate(self.sizes)}
        place_A = np.exp(0.5 * rng.normal() * np.linspace(-1, 1, axes) + 0.3 * rng.normal(size=axes))
        cost_A = np.exp(0.7 * rng.normal() * np.linspace(-1, 1, axes) + 0.4 * rng.normal(size=axes))
        most = max(self.sizes)
        shared_FV = rng.normal(size=(3, most))
        own_AV = rng.normal(size=(axes, most))
        share = 0.0 if kind == "free" else 0.85
        draws_AV = math.sqrt(share) * shared_FV[self.family_A] + math.sqrt(1 - share) * own_AV
        shared_cost_FV, own_cost_AV = rng.normal(size=(3, most)), rng.normal(size=(axes, most))
        dear_AV = math.sqrt(share) * shared_cost_FV[self.family_A] + math.sqrt(1 - share) * own_cost_AV
        self.effect_AV = place_A[:, None] * draws_AV
        self.cost_AV = cost_A[:, None] * np.exp(0.5 * (0.7 * draws_AV + 0.7 * dear_AV))
        self.pair_AVV = 0.35 * rng.normal(size=(axes, most, most)) * place_A[:, None, None]
        sample_NA = np.stack([rng.integers(0, size, size=4000) for size in self.sizes], axis=1)
        self.middle = self.spread = None
        raw_N = self._raw(sample_NA)
        self.middle, self.spread = float(np.median(raw_N)), float(raw_N.std())
        self.sample_NM = np.stack([self.quality(sample_NA), self.latency(sample_NA)], axis=1)

    def _raw(self, x_NA: np.ndarray) -> np.ndarray:
        at = np.arange(x_NA.shape[1])
        terms_NA = self.effect_AV[at, x_NA]
        terms_NA[:, 1:] += self.pair_AVV[at[1:], x_NA[:, :-1], x_NA[:, 1:]]
        if self.kind != "saturating":
            return np.asarray(terms_NA.sum(axis=1))
        parts = [terms_NA[:, (self.stage_A == stage)] for stage in range(4)]
        sums_NP = np.stack([part.sum(axis=1) / math.sqrt(part.shape[1]) for part in parts], axis=1)
        return np.asarray(-np.log(np.exp(-sums_NP).sum(axis=1)))

    def quality(self, x_NA: np.ndarray) -> np.ndarray:
        """Without luck, in percent: a bounded function that rises ever slower."""
        return np.asarray(95 - 25 * np.logaddexp(0, -(self._raw(x_NA) - self.middle) / self.spread / 1.5))

    def latency(self, x_NA: np.ndarray) -> np.ndarray:
        """In milliseconds: a sum; where there are widths, the width of a stage multiplies the other axes of it."""
        costs_NA = self.cost_AV[np.arange(x_NA.shape[1]), x_NA]
        if self.kind in ("blocks", "saturating"):
            for stage in range(4):
                inside_A = self.stage_A == stage
                width_N = costs_NA[:, inside_A][:, 0]
                costs_NA[:, inside_A & (self.family_A < 2)] *= width_N[:, None] / 1.5
        return np.asarray(costs_NA.sum(axis=1) / 10)

    def true(self, x: tuple[int, ...]) -> tuple[float, float]:
        """The quality without luck, and the latency."""
        x_1A = np.array([x])
        return float(self.quality(x_1A)[0]), float(self.latency(x_1A)[0])

    def measured(self, x: tuple[int, ...]) -> tuple[float, float]:
        """The quality and the latency that an evaluation gives: the same each time."""
        quality, latency = self.true(x)
        return quality + 0.3 * np.random.default_rng([self.seed, *x]).normal(), latency


def chain(kind: str, axes: int, seed: int, cache: Path) -> Task:
    """A made-up task; its true front comes from a long search, whose result is kept in the folder `cache`."""
    space, quantile = Chain(kind, axes, seed), (0.25, 0.5)[seed % 2]
    limit = float(np.quantile(space.sample_NM[:, 1], quantile))
    feasible_NM = space.sample_NM[space.sample_NM[:, 1] <= limit]
    path = cache / f"networks_{kind}_{axes}_{seed}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, long_search(space, limit))
    front_KA = np.load(path)
    points_KM = np.stack([space.quality(front_KA), space.latency(front_KA)], axis=1)
    return Task(f"{kind} {axes} #{seed}", space, limit, float(np.median(feasible_NM[:, 0])), points_KM, front_KA)


def long_search(space: Chain, limit: float) -> np.ndarray:
    """The networks (K, A) of the front that a genetic search with an archive finds in 150,000 evaluations."""
    rng = np.random.default_rng(0)
    sizes_A = np.array(space.sizes)
    x_NA = (rng.random((POPULATION, len(sizes_A))) * sizes_A).astype(int)
    archive_NA = x_NA[:0]
    for _ in range(GENERATIONS):
        both_NA = np.unique(np.vstack([archive_NA, x_NA]), axis=0)
        latency_N, quality_N = space.latency(both_NA), space.quality(both_NA)
        order = np.lexsort((-quality_N, latency_N))
        best = np.maximum.accumulate(np.append(-np.inf, quality_N[order][:-1]))
        archive_NA = both_NA[order[(quality_N[order] > best) & (latency_N[order] <= 1.3 * limit)]]
        archive_NA = archive_NA if len(archive_NA) else both_NA[order[:50]]
        one, two = (archive_NA[rng.integers(len(archive_NA), size=POPULATION)] for _ in range(2))
        cross = rng.random(one.shape) < np.where(rng.random((POPULATION, 1)) < 0.5, 0.5, 0.0)
        mutate = rng.random(one.shape) < rng.integers(1, 5, size=(POPULATION, 1)) / one.shape[1]
        x_NA = np.where(mutate, (rng.random(one.shape) * sizes_A).astype(int), np.where(cross, two, one))
    points_NM = np.stack([space.quality(archive_NA), space.latency(archive_NA)], axis=1)
    front = ~np.array([no_worse(points_NM * [-1, 1], point * [-1, 1]).sum() > 1 for point in points_NM])
    return archive_NA[front & (points_NM[:, 1] <= limit)]


def front_of(task: Task) -> np.ndarray:
    """The networks (K, A) of the true front."""
    if isinstance(task.table, Chain):
        return task.front_KA
    points_NM = np.stack([-task.table.quality_N, task.table.latency_N], axis=1)
    feasible = np.flatnonzero(points_NM[:, 1] <= task.limit)
    rows_NA = np.array(list(task.table.rows), dtype=float)
    return np.asarray(rows_NA[feasible[non_dominated(points_NM[feasible])]])
