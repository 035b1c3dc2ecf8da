"""The plan of a latency table: parts, networks, jobs and anchors."""

from __future__ import annotations

import random

import pytest
from latency_spaces import DIGITS, QUICK, SPACES, few

from ffnet_search.latency.anchors import anchors, mix
from ffnet_search.latency.jobs import groups
from ffnet_search.latency.part_model import by_family, choose
from ffnet_search.latency.plan import Plan, parts_of
from ffnet_search.space.enumeration import enumerated_networks
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


def test_a_few_networks_are_planned_whole_and_others_by_parts() -> None:
    for widths in (1, 2, 5, 6):
        plan = Plan(few(widths), QUICK, seed=0)
        assert len(set(plan.networks)) == len(plan.networks) == widths
        assert plan.is_exact == (widths < 6) == (not plan.part_jobs) and plan.fitted == (2 if widths == 6 else 0)


def test_a_few_networks_are_listed_where_choices_are_alike() -> None:
    """Kernels make no difference to attention: eight choices of axes are two networks."""
    stage = {"depth": [1, 2], "width": 16, "mixer": "attention", "token_kernel": [3, 5, 7, 9]}
    space = SearchSpace.model_validate({"input": {"resolution": 8, "classes": 2}, "stages": [stage]})
    assert space.size == 2 and set(enumerated_networks(space)) == {space.smallest, space.largest}
    assert enumerated_networks(few(1)) == (few(1).largest,) and not enumerated_networks(few(6))


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
    assert sum(mix(0.0, 0.0, image)) > 0  # a mixer without MACs, as in docs/block.md: its times are ratios to the mix
