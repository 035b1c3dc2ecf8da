"""The plan of a latency table: parts, networks, jobs and anchors."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from latency_spaces import DIGITS, QUICK, SPACES

from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import anchors, groups, mix
from ffnet_search.latency.build import profile
from ffnet_search.latency.part_model import by_family, choose
from ffnet_search.latency.plan import Plan, parts_of
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace


@pytest.mark.parametrize("name", SPACES)
def test_all_parts_of_a_space_are_known(name: str) -> None:
    space, rng = SearchSpace.from_yaml(SPACES[name]), random.Random(0)
    known = set(parts_of(space))
    networks = [space.smallest, space.largest, *space.presets.values(), *(space.sample(rng) for _ in range(300))]
    assert {part for arch in networks for part in arch.parts} <= known


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("tolerance", [0.05, 1.0])
def test_every_known_part_has_a_measured_one_of_its_family(tolerance: float, name: str) -> None:
    parts = parts_of(SearchSpace.from_yaml(SPACES[name]))
    chosen = choose(parts, tolerance)
    assert len(set(chosen)) == len(chosen) and set(chosen) <= set(parts)
    assert by_family(chosen).keys() == by_family(parts).keys()


def test_less_tolerance_measures_more() -> None:
    parts = parts_of(SearchSpace.from_yaml(SPACES["ffnet_cifar"]))
    counts = [len(choose(parts, tolerance)) for tolerance in (0.15, 0.08, 0.05)]
    assert counts == sorted(counts) and counts[0] < counts[-1] < len(parts) / 2


def test_networks_to_fit_and_to_check_on_are_apart() -> None:
    plan = Plan(DIGITS, QUICK, seed=1)
    assert len(set(plan.networks)) == len(plan.networks) == QUICK.calibration + QUICK.held_out
    assert DIGITS.smallest in plan.networks[: plan.fitted] and DIGITS.largest in plan.networks[: plan.fitted]
    assert all(arch in DIGITS for arch in plan.networks)


def test_a_plan_depends_on_its_seed_alone() -> None:
    assert [job.id for job in Plan(DIGITS, QUICK, 1).jobs] == [job.id for job in Plan(DIGITS, QUICK, 1).jobs]
    assert Plan(DIGITS, QUICK, 1).networks != Plan(DIGITS, QUICK, 2).networks


def test_groups_are_small_in_number_and_in_memory() -> None:
    plan = Plan(SearchSpace.from_yaml(SPACES["ffnet_imagenet"]), QUICK, seed=0)
    split = list(groups(plan.jobs))
    assert [job for group in split for job in group] == plan.jobs
    assert all(len(group) <= 10 for group in split)
    assert all(len(group) == 1 or sum(job.weights_m for job in group) <= 64 for group in split)


def test_a_space_too_small_to_check_a_table_on_is_refused(tmp_path: Path) -> None:
    def space(widths: int) -> SearchSpace:
        width = [16 + 8 * number for number in range(widths)]
        return SearchSpace.model_validate(
            {"input": {"resolution": 8, "classes": 2}, "stages": [{"depth": 1, "width": width}]}
        )

    with pytest.raises(SweepError, match="at least 6 networks .* but holds 5; add choices"):
        profile(space(5), QUICK, tmp_path / "table.json")
    assert len(Plan(space(6), QUICK, 0).networks) == 6


@pytest.mark.parametrize("image", [Input(1, 8, 10), Input(3, 32, 10), Input(3, 256, 1000)])
def test_anchors_fit_every_input_and_mix_to_anything_between(image: Input) -> None:
    light, heavy = anchors(image)
    assert light.input == heavy.input == image
    assert light.params_m < 0.25 and heavy.params_m > 20 * light.params_m
    assert mix(light.macs_m, light.params_m, image) == pytest.approx((1, 0))
    assert mix(heavy.macs_m, heavy.params_m, image) == pytest.approx((0, 1))
    both = mix(light.macs_m + heavy.macs_m, heavy.params_m, image)
    assert both == pytest.approx((1, 1))
    assert min(mix(1e-3, 50.0, image)) >= 0 and sum(mix(1e-6, 0.0, image)) > 0
