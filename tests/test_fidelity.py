"""The comparison of a supernet with networks trained alone, on made-up qualities: selection, statistics, verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fidelities import ALONE, DIGITS, compared
from networks import space

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.fidelity import FILE, INHERITED, Compared, Fidelity, read_fidelity
from ffnet_search.evaluation.fidelity_networks import choose_networks, choose_repeated


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
def test_networks_are_even_over_the_logarithm_of_macs(name: str) -> None:
    chosen = choose_networks(space(name), 16)
    logs = np.log(sorted(arch.macs_m for arch in chosen.values()))
    assert len(set(chosen.values())) == 16
    assert {"smallest", "largest"} < chosen.keys()
    assert np.diff(logs).max() < 2.5 * (logs[-1] - logs[0]) / 15


def test_more_networks_keep_the_others_and_another_seed_has_others() -> None:
    few, many = choose_networks(DIGITS, 6), choose_networks(DIGITS, 11)
    assert few.items() < many.items()
    assert choose_networks(DIGITS, 6) == few != choose_networks(DIGITS, 6, seed=1)


def test_presets_of_the_space_are_among_the_networks() -> None:
    assert list(choose_networks(space("ffnet_imagenet"), 6))[:5] == [
        "smallest",
        "largest",
        "ffnet_1",
        "ffnet_2",
        "ffnet_3",
    ]


def test_a_space_with_fewer_networks_gives_all() -> None:
    few = DIGITS.model_validate(
        {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": [1, 2, 3], "width": [8, 16]}]}
    )
    assert len(choose_networks(few, 16)) == few.size == 6


def test_repeated_networks_are_spread_over_the_sizes() -> None:
    chosen = choose_networks(DIGITS, 9)
    ordered = sorted(chosen, key=lambda name: chosen[name].macs_m)
    assert choose_repeated(chosen, 3) == [ordered[0], ordered[4], ordered[8]] == ["smallest", ordered[4], "largest"]
    assert choose_repeated(chosen, 0) == []
    assert set(choose_repeated(chosen, 99)) == set(chosen)


def test_a_supernet_that_ranks_as_training_does_is_better_than_macs() -> None:
    found = compared([value - 0.1 for value in ALONE], ALONE)
    assert found.kendall["all"][INHERITED].value == 1
    assert found.kendall["all"]["macs_m"].value == pytest.approx((66 - 2 * 15) / 66)
    assert found.verdict == "yes"
    assert "Yes: Kendall 1.00 against 0.55 on 12 networks, a difference of +0.45" in found.sentence
    assert {regret for one in (found.regrets[INHERITED],) for regret in (one.top, one.mean, one.worst)} == {0}
    assert found.gaps == pytest.approx([-0.1] * 12)


def test_three_rankings_with_errors_of_their_own_rank_better_together() -> None:
    """Networks 0 to 11, each ranking with another swap of the ends of a third."""
    truth = [float(place) for place in range(12)]

    def swapped(first: int, second: int) -> list[float]:
        values = list(truth)
        values[first], values[second] = values[second], values[first]
        return values

    archs = sorted(choose_networks(DIGITS, 12).values(), key=lambda arch: arch.macs_m)
    networks = tuple(
        Compared(arch.key, arch, {"macs_m": macs, "params_m": params}, {"validation": shared}, {"validation": quality})
        for arch, macs, params, shared, quality in zip(
            archs, swapped(0, 3), swapped(4, 7), swapped(8, 11), truth, strict=True
        )
    )
    found = Fidelity("classification", "validation", "macs_m", networks)
    assert all(one.value == pytest.approx((66 - 2 * 5) / 66) for one in found.kendall["all"].values())
    assert found.together.value > found.kendall["all"][INHERITED].value
    assert found.to_dict()["kendall_together"]["value"] == found.together.value


def test_a_supernet_that_ranks_the_other_way_round_is_worse() -> None:
    found = compared([-value for value in ALONE], ALONE)
    assert found.kendall["all"][INHERITED].value == -1
    assert found.verdict == "no" and "No: Kendall -1.00" in found.sentence
    assert found.regrets[INHERITED].top == pytest.approx(0.85 - 0.50)


def test_a_supernet_that_ranks_as_macs_do_is_not_told_apart() -> None:
    found = compared([float(place) for place in range(12)], ALONE)
    assert (found.better_than_macs.value, found.verdict) == (0, "not told apart")
    assert "Not told apart: Kendall 0.55 against 0.55" in found.sentence
    assert found.regrets[INHERITED] == found.regrets["macs_m"]
    assert found.regrets["macs_m"].top == pytest.approx(0.85 - 0.75)
    assert found.regrets["macs_m"].worst == pytest.approx(0.78 - 0.61)  # of budgets, the seventh
    assert found.regrets["macs_m"].mean == pytest.approx(0.88 / 12)


def test_networks_that_promise_the_same_share_their_regret() -> None:
    found = compared([0.0] * 10 + [1.0] * 2, ALONE)
    assert found.regrets[INHERITED].top == pytest.approx(0.85 - (0.80 + 0.75) / 2)


def test_thirds_are_by_cost_and_the_front_by_inherited_quality() -> None:
    inherited = [0.5, 0.1, 0.6, 0.1, 0.7, 0.1, 0.8, 0.1, 0.9, 0.1, 0.95, 0.1]
    found = compared(inherited, ALONE)
    assert [len(group) for group in found.groups.values()] == [12, 4, 4, 4, 6]
    assert found.groups["fastest third"] == list(found.networks[:4])
    assert found.groups["near the front"] == list(found.networks[::2])
    assert list(compared(inherited, ALONE, cost="macs_m").groups)[1::2] == ["smallest third", "largest third"]


def test_seed_noise_is_of_the_networks_that_were_trained_twice() -> None:
    found = compared(ALONE, ALONE, again=(0, 5, 11))
    assert found.seed_noise == pytest.approx(0.02 / math.sqrt(2))
    assert 0.5 < found.ceiling.value < 1
    never = compared(ALONE, ALONE)
    assert math.isnan(never.seed_noise) and math.isnan(never.ceiling.value)


def test_a_quality_that_is_better_the_smaller_is_turned_round() -> None:
    errors = [1 - value for value in ALONE]
    found, mirrored = compared(errors, errors, task="user_task:Regression"), compared(ALONE, ALONE)
    assert found.kendall["all"][INHERITED] == mirrored.kendall["all"][INHERITED]
    assert found.regrets["macs_m"].worst == pytest.approx(mirrored.regrets["macs_m"].worst)
    assert found.verdict == "yes"


def test_splits_are_not_mixed() -> None:
    assert math.isnan(compared(ALONE, ALONE, split="test").kendall["all"]["macs_m"].value)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = compared(ALONE, ALONE, again=(0,))
    text = json.dumps(found.to_dict(), allow_nan=False)
    (tmp_path / FILE).write_text(text)
    again = read_fidelity(tmp_path)
    assert again == found
    assert again is not None and again.to_dict() == found.to_dict()
    assert json.loads(text)["kendall"]["all"]["networks"] == 12
    assert read_fidelity(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["{", '{"format": 0}', '{"format": 1}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(
        SweepError, match=r"fidelity.json: must be what `ffnet-search fidelity` wrote, but cannot be read"
    ):
        read_fidelity(tmp_path)
