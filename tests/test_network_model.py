"""The model of whole networks, fitted to times that are known."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from latency_spaces import SPACES
from part_costs import cost

from ffnet_search.config.sweep import Sweep
from ffnet_search.latency.network_model import NetworkModel, Sample, by_kind
from ffnet_search.latency.plan import parts_of
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).parents[1]
POOLING = {("mixer", "token_mixer", "pool"): 0.4}
ONE_SLOPE = NetworkModel(0.0, 1.1)


def samples(count: int, seed: int, truth: NetworkModel, noise: float = 0.0) -> list[Sample]:
    """Random networks of the CIFAR space that take the time of `truth`, with relative noise."""
    space, rng = SearchSpace.from_yaml(SPACES["ffnet_cifar"]), random.Random(seed)
    draw = np.random.default_rng(seed)
    alone_ms = {part: cost(part) for part in parts_of(space)}
    networks = []
    for _ in range(count):
        arch = space.sample(rng)
        sums = by_kind(arch.parts, alone_ms)
        ms = truth(sums, arch.params_m) * float(np.exp(draw.normal(0, noise)))
        networks.append(Sample(sums, arch.params_m, ms))
    return networks


@pytest.mark.parametrize(
    "truth",
    [
        NetworkModel(0.03, 1.2),
        NetworkModel(0.1, 1.1, {}, 0.4, 2.0),
        NetworkModel(0, 1, {}, 0.3, 0),
        NetworkModel(0, 1, POOLING),
    ],
)
def test_the_fit_recovers_what_a_network_adds_to_its_parts(truth: NetworkModel) -> None:
    model = NetworkModel.fit(samples(40, 0, truth))
    for other in samples(50, 1, truth):
        assert model(other.alone_ms, other.params_m) == pytest.approx(other.measured_ms, rel=0.03)


def test_widths_that_a_runtime_fills_up_have_slopes_of_their_own() -> None:
    """ONNX Runtime computes 24 channels as 32: of the octave of 16 or of 32 they would have the slope of these."""
    space = Sweep.from_yaml(ROOT / "sweeps" / "super_resolution.yaml").search_space  # of widths 16, 24 and 32
    rng, alone_ms = random.Random(0), {part: cost(part) for part in parts_of(space)}
    known = [
        Sample(
            by_kind(arch.parts, alone_ms),
            arch.params_m,
            sum(alone_ms[part] * (1.0 if part.out_width == 24 else 0.7) for part in arch.parts),
        )
        for arch in (space.sample(rng) for _ in range(80))
    ]
    model = NetworkModel.fit(known[:40])
    errors = [model(one.alone_ms, one.params_m) / one.measured_ms - 1 for one in known[40:]]
    assert np.abs(errors).max() < 0.03


def test_noise_alone_is_not_taken_for_a_cache_nor_for_slopes() -> None:
    spilt = 0
    for seed in range(10):
        model = NetworkModel.fit(samples(40, seed, ONE_SLOPE, noise=0.03))
        spilt += model.spill_ms_per_m > 0
        others = samples(40, 1000 + seed, ONE_SLOPE)
        errors = [abs(model(one.alone_ms, one.params_m) / one.measured_ms - 1) for one in others]
        assert np.mean(errors) < 0.03, "no more than the noise that it was fitted to"
    assert spilt <= 3


def test_few_networks_give_no_negative_slope() -> None:
    few = samples(8, 0, NetworkModel(0.01, 0.2))
    model = NetworkModel.fit(few)
    assert all(model.slope_of(kind) >= 0 for one in few for kind in one.alone_ms)
    assert model.intercept_ms >= 0 and model.spill_ms_per_m >= 0


def test_a_kind_of_another_space_has_the_common_slope() -> None:
    model = NetworkModel.fit(samples(8, 0, ONE_SLOPE))
    assert model.slope_of(("token_mixer", "of another space", 3, 8, 1, 1)) == model.slope
