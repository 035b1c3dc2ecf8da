"""The smallest reachable cost is exact: brute force agrees, on spaces with every kind of choice."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import CostModel, check_budget, least_latency, smallest_reachable, within_limits
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

SPACES = Path(__file__).parents[1] / "search_spaces"
SMALL = SearchSpace.model_validate(
    {
        "input": {"channels": 1, "resolution": 9, "classes": 3},
        "stem": {"width": [8, 16], "stride": [1, 4]},
        "stages": [
            {"depth": [1, 2], "width": [16, 32], "token_kernel": [3, 5]},
            {
                "depth": [1, 2],
                "width": [16, 48],
                "mixer": ["ffn_attention", "attention", "pool"],
                "token_kernel": 3,
                "expansion": [1, 2],
            },
        ],
    }
)


def random_cost(seed: int, low: float = 0.0) -> Callable[[Part], float]:
    """A cost that has nothing to do with sizes, so that no greedy choice is right by luck."""
    return cache(lambda part: low + int(hashlib.sha256(f"{seed} {part.key}".encode()).hexdigest()[:8], 16) / 2**32)


def everything(space: SearchSpace) -> list[Architecture]:
    axes = space.axes()
    return [space.build(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


@pytest.mark.parametrize("per_block", [(), ("mixer",), ("token_kernel", "expansion"), ("mixer", "expansion")])
@pytest.mark.parametrize("low", [0.0, -0.5])
def test_brute_force_finds_nothing_smaller(per_block: tuple[str, ...], low: float) -> None:
    space = SearchSpace.model_validate(SMALL.model_dump() | {"per_block": per_block})
    archs = {arch.key: arch for arch in everything(space)}
    assert len(archs) == space.size
    for seed in range(3):
        cost = random_cost(seed, low)
        arch, value = smallest_reachable(space, cost)
        sums = {key: sum(cost(part) for part in other.parts) for key, other in archs.items()}
        assert arch.key in archs
        assert value == pytest.approx(sums[arch.key]) == pytest.approx(min(sums.values()))


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("metric", ["params", "macs"])
def test_shipped_spaces_hold_nothing_smaller(path: Path, metric: str) -> None:
    space = SearchSpace.from_yaml(path)
    arch, value = smallest_reachable(space, lambda part: getattr(part.costs, metric) / 1e6)
    assert arch in space
    assert value == pytest.approx(getattr(arch, f"{metric}_m"))
    rng = random.Random(0)
    others = [space.smallest, *(space.sample(rng) for _ in range(200))]
    assert value <= min(getattr(other, f"{metric}_m") for other in others) + 1e-9


class Linear:
    """1 ms, and 1 ms per million MACs."""

    def predict_ms(self, arch: Architecture) -> float:
        return 1 + arch.macs_m

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return part.costs.macs / 1e6


class Spilling:
    """Latency as of a table: costs at random, and weights that are fetched beyond `resident` millions."""

    def __init__(self, seed: int, spill: float, resident: float) -> None:
        self.cost, self.spill, self.resident = random_cost(seed), spill, resident

    def predict_ms(self, arch: Architecture) -> float:
        spilt = self.spill * max(0.0, arch.params_m - self.resident)
        return 0.3 + sum(map(self.cost, arch.parts)) + spilt

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return self.cost(part) + spilt * self.spill * part.costs.params / 1e6


@pytest.mark.parametrize("spill", [0.0, 30.0, 200.0, 3000.0])
def test_the_least_latency_is_found_where_weights_spill(spill: float) -> None:
    """With and without spill it is another network; in between it is near the least, and nearly always that."""
    archs = everything(SMALL)
    exact = 0
    sizes = sorted(arch.params_m for arch in archs)
    for seed in range(4):
        for resident in (0.0, sizes[0] * 1.2, sizes[len(sizes) // 2], sizes[-1]):
            latency = Spilling(seed, spill, resident)
            found = latency.predict_ms(least_latency(SMALL, latency))
            least = min(map(latency.predict_ms, archs))
            assert least - 1e-9 <= found < 1.3 * least
            exact += found < least + 1e-9
    assert exact >= 15


class PerWeight(Linear):
    """1 ms per million weights."""

    def predict_ms(self, arch: Architecture) -> float:
        return arch.params_m

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return part.costs.params / 1e6


@pytest.mark.parametrize(
    "name", ["latency_ms", "latency_ms@phone", "params_m", "macs_m", "weights_mb", "peak_memory_mb"]
)
def test_an_impossible_budget_names_one_that_is_possible_and_what_reaches_it(name: str) -> None:
    cost_model = CostModel(Linear(), {"phone": PerWeight()})
    least = min(cost_model(arch)[name] for arch in everything(SMALL))
    check_budget(SMALL, cost_model, {name: least})
    with pytest.raises(SweepError) as caught:
        check_budget(SMALL, cost_model, {name: least * 0.999})
    message = str(caught.value)
    found = re.fullmatch(rf"search\.constraints\.{name} must be >= (\S+), the least .* is (\w{{12}}): .*", message)
    assert found, message
    check_budget(SMALL, cost_model, {name: float(found[1])})
    assert float(found[1]) == pytest.approx(least, rel=0.01)
    assert cost_model(next(arch for arch in everything(SMALL) if arch.key == found[2]))[name] == pytest.approx(least)


def test_several_limits_are_met_at_once() -> None:
    cost_model = CostModel(Linear())
    rng, met = random.Random(1), 0
    archs = everything(SMALL)
    for _ in range(20):
        metrics = cost_model(rng.choice(archs))
        limits = {name: metrics[name] * 1.05 for name in ("latency_ms", "params_m", "peak_memory_mb")}
        arch = within_limits(SMALL, cost_model, limits)
        if arch is not None:
            met += 1
            assert all(cost_model(arch)[name] <= limit for name, limit in limits.items())
    assert met >= 19  # a heuristic, but a good one
    assert within_limits(SMALL, cost_model, {"params_m": 1e-9, "macs_m": 1e9}) is None
    assert within_limits(SMALL, cost_model, {}) in SMALL
