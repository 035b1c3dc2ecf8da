"""The checks before a latency table is used: accuracy, device, drift."""

from __future__ import annotations

from pathlib import Path

import pytest
from latency_spaces import QUICK, TINY
from synthetic_bench import SyntheticBench

from ffnet_search.errors import SweepError
from ffnet_search.latency.build import profile
from ffnet_search.latency.table import LatencyTable, TableError
from ffnet_search.latency.validation import choose_sentinels, refuse_inaccurate, refuse_stale

PATH = Path("t.json")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    path = tmp_path_factory.mktemp("latency") / "table.json"
    return profile(TINY, QUICK, path, make_bench=SyntheticBench)


def with_errors(table: LatencyTable, *errors: float) -> LatencyTable:
    even = {"measured_ms": 1.0, "halves_ms": (1.0, 1.0)}
    checks = [table.held_out[0].model_copy(update={**even, "predicted_ms": 1 + error}) for error in errors]
    return table.model_copy(update={"held_out": tuple(checks), "error": TableError.of(checks)})


def test_an_inaccurate_table_is_refused_with_its_worst_networks(
    table: LatencyTable, capfd: pytest.CaptureFixture[str]
) -> None:
    key = table.held_out[0].architecture.key
    refuse_inaccurate(with_errors(table, *[0.05] * 9, 0.3), QUICK, PATH)
    bad = with_errors(table, *[0.05] * 8, 0.3, -0.2)
    with pytest.raises(SweepError, match=rf"t.json: 90% .* but 80% are, .*: {key} \+30% .*; {key} -20% .*calibration"):
        refuse_inaccurate(bad, QUICK, PATH)
    refuse_inaccurate(bad, QUICK.model_copy(update={"min_within_10": 0.8}), PATH)
    assert not capfd.readouterr().err
    refuse_inaccurate(bad, QUICK.model_copy(update={"noisy": True}), PATH)
    assert "warning" in capfd.readouterr().err


@pytest.mark.parametrize(("noise_floor", "is_noise"), [(0.09, False), (0.11, True)])
def test_the_advice_depends_on_the_noise(noise_floor: float, is_noise: bool, table: LatencyTable) -> None:
    """From half of the error on, noise is the reason."""
    bad = with_errors(table, *[0.2] * 20)
    bad = bad.model_copy(update={"error": bad.error.model_copy(update={"noise_floor": noise_floor})})
    busy, hard = r"the machine was busy .* quieter one, or with more latency\.rounds", "hard to predict"
    with pytest.raises(SweepError, match=busy if is_noise else hard):
        refuse_inaccurate(bad, QUICK, PATH)


def slower(table: LatencyTable, factor: float) -> LatencyTable:
    """As if each network had taken so many times as long against the anchors when the table was made."""
    times = [
        {"measured_ms": factor * one.measured_ms, "predicted_ms": factor * one.predicted_ms} for one in table.held_out
    ]
    checks = tuple(check.model_copy(update=update) for check, update in zip(table.held_out, times, strict=True))
    return table.model_copy(update={"held_out": checks})


@pytest.mark.parametrize("factor", [1.0, 1.03])
def test_a_small_drift_is_accepted(factor: float, table: LatencyTable) -> None:
    assert refuse_stale(slower(table, factor), QUICK, PATH, SyntheticBench) < 0.05


@pytest.mark.parametrize("factor", [1.1, 2.0])
def test_a_table_is_stale_once_its_networks_have_drifted(
    factor: float, table: LatencyTable, capfd: pytest.CaptureFixture[str]
) -> None:
    stale = slower(table, factor)
    with pytest.raises(SweepError, match=r"t\.json: is stale: 5 of its networks, .* but have drifted by .*profile"):
        refuse_stale(stale, QUICK, PATH, SyntheticBench)
    noisy = QUICK.model_copy(update={"noisy": True})
    assert refuse_stale(stale, noisy, PATH, SyntheticBench) == pytest.approx(1 - 1 / factor, abs=0.03)
    warning = capfd.readouterr().err
    assert "warning, accepted by latency.noisy: t.json: is stale" in warning and "accept it" not in warning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": "a telephone"}, "must be of this device, a formula, but was measured with a telephone"),
        ({"versions": {"formula": "0.1"}}, r"must be of this runtime, .*, but .*0\.1"),
        ({"settings": {"kind": "another"}}, "must be of these settings"),
    ],
)
def test_a_table_of_another_device_is_refused(change: dict[str, object], words: str, table: LatencyTable) -> None:
    other = table.model_copy(update={"setting": table.setting.model_copy(update=change)})
    with pytest.raises(SweepError, match=words):
        refuse_stale(other, QUICK, PATH, SyntheticBench)


def test_sentinels_reach_from_the_fastest_to_the_slowest_certain_network(table: LatencyTable) -> None:
    sentinels = choose_sentinels(table.held_out)
    times = [check.measured_ms for check in sentinels]
    assert len(sentinels) == 5 and times == sorted(times)
    limit = sorted(check.spread for check in table.held_out)[len(table.held_out) // 2]
    assert all(check.spread <= limit for check in sentinels)
