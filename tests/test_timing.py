"""The timing protocol, on a clock that the test turns."""

from __future__ import annotations

import time

import pytest

from ffnet_search.latency.timing import (
    BURST_S,
    RUNTIME_CLOCK,
    WARMUP_S,
    Clock,
    Rounds,
    Run,
    Stopwatch,
    compare,
    contention,
    gather,
)

ALONE = [(1.0,)]  # the mix of a run that is timed against one anchor


class Machine:
    """A clock that only the runs advance."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock("of the test", lambda: self.now)

    def run(self, milliseconds: float, speed: list[float] | None = None) -> Run:
        """A run that takes so long, times the present factor."""

        def run() -> None:
            self.now += milliseconds / 1e3 * (speed[0] if speed else 1.0)

        return run


def slowing(run: Run, speed: list[float]) -> Run:
    """A run after which the machine is slower by 1 %."""

    def slower() -> None:
        run()
        speed[0] *= 1.01

    return slower


def test_times_are_in_units_of_the_anchor() -> None:
    machine = Machine()
    watch = Stopwatch([machine.run(1.0)], machine.clock)
    [one, three], anchors_ms = gather(watch.time([machine.run(1.0), machine.run(3.0)], [5, 5], ALONE * 2), 2)
    assert one.ratios == pytest.approx([1] * 5) and three.ratios == pytest.approx([3] * 5)
    assert anchors_ms == pytest.approx((1.0,))


@pytest.mark.parametrize("milliseconds", [0.01, 0.15, 50.0])
def test_short_and_long_runs_are_timed_alike(milliseconds: float) -> None:
    """Below SAMPLE_S several runs make a sample; long ones are sampled three times."""
    machine = Machine()
    watch = Stopwatch([machine.run(1.0)], machine.clock)
    [taken], _ = gather(watch.time([machine.run(milliseconds)], [3], ALONE), 1)
    assert taken.median == pytest.approx(milliseconds) and taken.spread == pytest.approx(0, abs=1e-9)


def test_a_first_run_that_compiles_does_not_count() -> None:
    """It takes longer than a whole warm-up; the burst after it has as many runs as without it."""
    machine, runs = Machine(), list[float]()
    run = machine.run(0.1)

    def compiling() -> None:
        if not runs:
            machine.now += 60.0
            time.sleep(1.2 * WARMUP_S)
        run()
        runs.append(machine.now)

    watch = Stopwatch([run], machine.clock)
    list(watch.time([compiling], [1], ALONE))
    assert len(runs) > BURST_S / 0.0001


def test_the_anchor_divides_out_drift() -> None:
    machine, speed = Machine(), [1.0]
    drifting = slowing(machine.run(1.0, speed), speed)
    watch = Stopwatch([drifting], machine.clock)
    timed = list(watch.time([drifting], [6], ALONE))
    [taken], _ = gather(timed, 1)
    assert timed[-1].anchors_s[0] > 1.5 * timed[0].anchors_s[0]
    assert taken.median == pytest.approx(1, rel=0.02) and taken.spread < 0.02


def test_two_drifts_are_divided_out_by_a_mix_of_both_anchors() -> None:
    """Memory gets slower and computing does not: half of one and half of the other keeps its ratio."""
    machine, speed = Machine(), [1.0]
    compute, fetch = machine.run(0.5), slowing(machine.run(0.5, speed), speed)

    def both() -> None:
        compute()
        fetch()

    watch = Stopwatch([compute, fetch], machine.clock)
    timed = list(watch.time([both, both], [6, 6], [(1.0, 1.0), (2.0, 0.0)]))
    [mixed, by_one], _ = gather(timed, 2)
    assert timed[-1].anchors_s[1] > 1.5 * timed[0].anchors_s[1]
    assert mixed.median == pytest.approx(1, rel=0.05)
    assert by_one.ratios[-1] > 1.3 * by_one.ratios[0]


def test_runs_of_the_runtime_clock_return_their_milliseconds() -> None:
    watch = Stopwatch([lambda: 2.0], RUNTIME_CLOCK)
    timed = list(watch.time([lambda: 3.0] * 12, [1] * 12, ALONE * 12))
    assert gather(timed, 12)[1] == (2.0,)
    assert [len(one.ratios) for one in timed] == [5, 5, 2], "the anchors are read after every five runs"
    assert {ratio for one in timed for _, ratio in one.ratios} == {1.5}


def test_each_run_is_timed_in_its_number_of_rounds() -> None:
    watch = Stopwatch([lambda: 1.0], RUNTIME_CLOCK)
    counts = [0, 0, 0]
    for timed in watch.time([lambda: 1.0] * 3, [1, 4, 2], ALONE * 3, seed=5):
        for index, _ in timed.ratios:
            counts[index] += 1
    assert counts == [1, 4, 2]


def test_two_runs_are_compared_in_turns() -> None:
    machine = Machine()
    assert compare(machine.run(3.0), machine.run(0.5), clock=machine.clock) == pytest.approx((3.0, 0.5))


def test_one_disturbed_round_moves_neither_median_nor_spread() -> None:
    quiet, disturbed = Rounds((1.0, 1.02, 0.98, 1.01, 0.99)), Rounds((1.0, 1.02, 0.98, 1.01, 9.0))
    assert disturbed.median == pytest.approx(quiet.median, rel=0.02)
    assert disturbed.spread < 0.05


def test_passes_are_joined_or_reduced_to_their_medians() -> None:
    passes = [Rounds((1.0, 2.0, 9.0)), Rounds((4.0, 5.0, 6.0))]
    assert Rounds.joined(passes).ratios == (1.0, 2.0, 9.0, 4.0, 5.0, 6.0)
    assert Rounds.of_medians(passes).ratios == (2.0, 5.0)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_contention_is_wall_time_over_cpu_time(share: float) -> None:
    """A thread that gets a share of its core."""
    machine = Machine()

    def wall() -> float:
        machine.now += 0.01
        return machine.now

    ratio = contention(1, 0.03, wall=Clock("wall", wall), cpu=Clock("CPU", lambda: share * machine.now))
    assert ratio == pytest.approx(1 / share)
