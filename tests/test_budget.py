"""The choice of a draft and its amounts for a time, and the measurements that it is made by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from first_sweeps import image_set, paint, throughput_of
from masks import write_masks

from ffnet_search.autoconfig import benchmark
from ffnet_search.autoconfig.benchmark import measure_throughput
from ffnet_search.autoconfig.budget import EPOCHS, MIN_HELD_OUT, TRIALS, Throughput, choose_budget
from ffnet_search.autoconfig.draft import Draft, drafts
from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.autoconfig.start import remarks
from ffnet_search.autoconfig.sweep_text import _number, space_text, sweep_text
from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.formatting import figure
from ffnet_search.latency.plan import Plan
from ffnet_search.run.cost_comparison import advice, compare_ways
from ffnet_search.space.by_hand import by_hand as by_hand_of


def test_a_budget_fills_the_time() -> None:
    some = drafts(image_set(2000, 96))
    chosen = [
        choose_budget(some, throughput_of, minutes=minutes, imports_s=5, latency_ms=None)
        for minutes in (1, 5, 30, 300, 3000)
    ]
    macs = [budget.throughput.draft.step_macs for budget in chosen]
    assert macs == sorted(macs) and macs[0] < macs[-1]
    for budget, minutes in zip(chosen, (1, 5, 30, 300, 3000), strict=True):
        assert TRIALS[0] <= budget.trials <= TRIALS[1]
        assert budget.epochs <= EPOCHS[1]
        if minutes > 5:
            assert budget.minutes <= minutes
    assert chosen[0].minutes > 1  # a remark says so


@pytest.mark.parametrize(("images", "size"), [(30, 8), (100, 16), (250, 32), (400, 64), (2000, 64), (50_000, 128)])
def test_few_images_are_in_small_batches(images: int, size: int) -> None:
    budget = choose_budget(drafts(image_set(images, 96)), throughput_of, minutes=15, imports_s=5, latency_ms=None)
    assert budget.batch_size == size
    assert yaml.safe_load("\n".join(sweep_text(budget, "x", None)))["data"]["batch_size"] == size


@pytest.mark.parametrize("images", [16, 24, 32, 48])
def test_few_images_leave_enough_to_compare_networks_on(images: int) -> None:
    budget = choose_budget(drafts(image_set(images, 96)), throughput_of, minutes=15, imports_s=5, latency_ms=None)
    written = yaml.safe_load("\n".join(sweep_text(budget, "x", None)))["data"]["validation"]
    assert written == budget.validation <= 0.4
    assert budget.held_out >= MIN_HELD_OUT and budget.images > budget.held_out


@pytest.mark.parametrize("value", [3e-05, 3.33e-05, 0.0, 1.0, 12.5, 123456.0])
def test_numbers_are_those_of_yaml(value: float) -> None:
    assert yaml.safe_load(_number(value)) == value


@pytest.mark.parametrize(("images", "minutes"), [(24, 1), (400, 15), (2000, 1), (2000, 300)])
def test_check_says_the_number_of_init(images: int, minutes: float, tmp_path: Path) -> None:
    """From how many networks on a supernet pays, and so which way is cheaper."""
    budget = choose_budget(drafts(image_set(images, 96)), throughput_of, minutes=minutes, imports_s=5, latency_ms=None)
    draft = budget.throughput.draft
    (tmp_path / "x.yaml").write_text("\n".join(sweep_text(budget, "x", None)))
    (tmp_path / "x_space.yaml").write_text("\n".join(space_text(draft, "x")))
    sweep = Sweep.from_yaml(tmp_path / "x.yaml")
    assert compare_ways(sweep) == budget.comparison
    assert advice(sweep, budget.comparison) == "", "the sweep of init is on the cheaper way"
    counted = compare_ways(sweep.model_copy(update={"estimate": {}}))
    assert counted is not None and counted.unit.endswith("by MACs")


def test_the_minutes_of_retraining_are_planned() -> None:
    budget = choose_budget(drafts(image_set(2000, 96)), throughput_of, minutes=15, imports_s=5, latency_ms=None)
    sweep = yaml.safe_load("\n".join(sweep_text(budget, "x", None)))
    assert sweep["export"]["retrain"] == {"epochs": budget.epochs // 3}
    networks = sweep["export"]["top"] + 5  # and the yardstick
    without = replace(budget, throughput=replace(budget.throughput, alone_s=0.0))
    saved_s = budget.seconds["export"] - without.seconds["export"]
    draft = budget.throughput.draft
    epochs = (budget.epochs // 3) * min(3.0, (draft.space.largest.macs_m / draft.median.macs_m) ** 0.5)
    assert saved_s == pytest.approx(networks * epochs * budget.images * budget.throughput.alone_s)
    assert 0.8 * 15 < budget.minutes <= 15
    assert any("cheaper is a supernet" in line for line in remarks(budget, 15, None))


def test_where_a_supernet_does_not_pay_each_network_trains() -> None:
    """To bring a network into the form that is evaluated takes as long as its training here."""

    def slow(draft: Draft, batch_size: int, step_s: float | None) -> Throughput:
        return replace(throughput_of(draft), deploy_s=300.0)

    budget = choose_budget(drafts(image_set(2000, 32)), slow, minutes=300, imports_s=5, latency_ms=None)
    sweep = yaml.safe_load("\n".join(sweep_text(budget, "x", None)))
    assert (sweep["search"]["evaluator"], sweep["search"]["early_stopping"]) == ("train", {"rule": "asha"})
    assert "retrain" not in sweep["export"]
    assert "train" not in budget.seconds
    assert any("cheaper is training each of them" in line for line in remarks(budget, 300, None))
    by_hand = len(by_hand_of(budget.throughput.draft.space))
    without = replace(budget, throughput=replace(budget.throughput, alone_s=0.0))
    saved_s = budget.seconds["export"] - without.seconds["export"]
    assert saved_s == pytest.approx(by_hand * budget.epochs * budget.images * budget.throughput.alone_s)


def test_few_drafts_are_measured() -> None:
    asked: list[Draft] = []

    def measure(draft: Draft, batch_size: int, step_s: float | None) -> Throughput:
        asked.append(draft)
        slow = throughput_of(draft)
        return replace(slow, step_s=100 * slow.step_s) if len(asked) > 1 else slow  # never as expected

    some = drafts(image_set(20_000, 224))
    chosen = choose_budget(some, measure, minutes=600, imports_s=0, latency_ms=None)
    assert len(asked) == len(set(asked)) <= 3
    assert chosen.throughput.draft == some[-1]


def test_a_latency_that_no_network_keeps_is_refused() -> None:
    some = drafts(image_set())
    least = throughput_of(some[-1]).smallest_ms
    with pytest.raises(SweepError, match=f"--latency-ms must be >= {figure(least)} .* but got 0.0001"):
        choose_budget(some, throughput_of, minutes=10, imports_s=0, latency_ms=0.0001)
    within = choose_budget(some, throughput_of, minutes=1e5, imports_s=0, latency_ms=1.01 * least)
    assert within.throughput.smallest_ms <= 1.01 * least


def test_measurements_are_positive(tmp_path: Path) -> None:
    [*_, cheapest] = drafts(inspect(paint(tmp_path, {"a": 30, "b": 30})))
    cost = measure_throughput(cheapest, 16)
    assert (
        min(cost.decode_s, cost.step_s, cost.alone_s, cost.deploy_s, cost.pass_s, cost.table_s, cost.smallest_ms) > 0
        and cost.image_s >= 0
    )
    assert cost.smallest_ms < cost.largest_ms


def test_a_draft_with_masks_is_timed(tmp_path: Path) -> None:
    [*_, cheapest] = drafts(inspect(write_masks(tmp_path / "data", 24)))
    cost = measure_throughput(cheapest, 8)
    assert (
        min(cost.decode_s, cost.step_s, cost.deploy_s, cost.pass_s, cost.table_s, cost.smallest_ms) > 0
        and cost.image_s >= 0
    )


def test_a_table_costs_a_trace_of_each_network_its_passes_and_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    [*_, cheapest] = drafts(image_set())
    seconds = iter([10 * 0.05, 10 * 0.05 + 2 * 0.3, 10 * 0.1])  # of files that are there, of none, of parts
    monkeypatch.setattr(benchmark, "_seconds", lambda bench, jobs, rounds: next(seconds) if len(jobs) == 10 else 0)
    table_s, pass_s, *_ = benchmark.time_latency(cheapest.space)
    plan = Plan(cheapest.space, LatencySection(), 0)
    assert pass_s == pytest.approx(0.05)
    assert table_s == pytest.approx(60 * (0.3 + 5 * 0.05) + 0.1 * len(plan.part_jobs))
