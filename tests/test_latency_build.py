"""Building a latency table, on a bench without a clock; once with a real runtime."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_spaces import DIGITS, QUICK, TINY, few
from synthetic_bench import SyntheticBench, milliseconds

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.files.temporary import scratch_in
from ffnet_search.latency import build
from ffnet_search.latency.bench import LocalBench
from ffnet_search.latency.build import profile
from ffnet_search.latency.jobs import Job, network_job
from ffnet_search.latency.journal import Journal
from ffnet_search.latency.plan import Plan
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import WALL_CLOCK, Timed
from ffnet_search.latency.validation import refuse_inaccurate, refuse_stale
from ffnet_search.space.cost_model import CostModel, cheapest, check_budget, within_limits
from ffnet_search.space.enumeration import enumerated_networks

PLANNED = sum(job.rounds(QUICK) for job in Plan(TINY, QUICK, 0).jobs)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    path = tmp_path_factory.mktemp("latency") / "table.json"
    return profile(TINY, QUICK, path, make_bench=SyntheticBench)


def test_the_numbers_of_the_digits_space_stay(tmp_path: Path) -> None:
    """From the same measurements the same table: predictions as they were when this test was written."""
    section = LatencySection(min_within_10=0.0)
    table = profile(DIGITS, section, tmp_path / "table.json", seed=3, make_bench=SyntheticBench)
    rng = random.Random(5)
    networks = [DIGITS.smallest, DIGITS.largest, DIGITS.sample(rng), DIGITS.sample(rng)]
    expected = [0.005464086127671498, 0.15519152240392306, 0.017571330062421533, 0.029705538172628616]
    assert table.predict_batch(networks) == pytest.approx(expected, rel=1e-9)
    assert table.intercept_ms == pytest.approx(0.0030338867942135625, rel=1e-9)
    assert table.error.max == pytest.approx(0.03758875892566271, rel=1e-9)


def test_a_table_knows_every_network_of_its_space(table: LatencyTable) -> None:
    rng = random.Random(9)
    for _ in range(50):
        assert table.predict_ms(TINY.sample(rng)) > 0
    assert any(entry.measured for entry in table.entries.values())


def test_a_table_is_as_accurate_as_its_measurements(table: LatencyTable) -> None:
    """Rounds have 2 % of noise. The figures of real devices are those of benchmarks/latency_error.py."""
    assert table.error.mean < 0.05 and table.error.within_10 == 1
    assert table.predict_ms(TINY.largest) > table.predict_ms(TINY.smallest)


def test_the_error_is_that_of_the_held_out_networks(table: LatencyTable) -> None:
    fitted = {check.architecture for check in table.calibration}
    assert not fitted & {check.architecture for check in table.held_out}
    assert table.error.networks == len(table.held_out)
    assert table.error.mean == pytest.approx(np.mean([abs(check.error) for check in table.held_out]))
    for check in table.held_out:
        assert check.predicted_ms == pytest.approx(table.predict_ms(check.architecture))


@pytest.mark.parametrize("networks", [1, 2, 5])
def test_of_a_few_networks_each_is_measured_and_measured_again(networks: int, tmp_path: Path) -> None:
    space, path = few(networks), tmp_path / "table.json"
    table = profile(space, QUICK, path, make_bench=SyntheticBench)
    assert LatencyTable.load(path) == table and table.is_exact and len(table.held_out) == networks
    for arch in enumerated_networks(space):
        assert table.predict_ms(arch) == pytest.approx(milliseconds(network_job(arch, 0)), rel=0.05)  # rounds have 2 %
    for check in table.held_out:
        assert check.predicted_ms == table.predict_ms(check.architecture) != check.measured_ms
    whole = "the one network" if networks == 1 else f"all {networks} networks"
    assert str(table.error).startswith(f"{whole} of the space measured; measured again, mean error ")
    assert table.error.mean == table.error.noise_floor and "Kendall" not in str(table.error)
    refuse_inaccurate(table, QUICK, path)
    assert refuse_stale(table, QUICK, path, SyntheticBench) < 0.05
    with pytest.raises(SweepError, match="has no entry for '.*', so the architecture is not of the search space"):
        table.predict_ms(TINY.largest)


def test_limits_on_a_few_networks_are_those_of_their_measurements(tmp_path: Path) -> None:
    """The largest network is the quickest here, as no sum of parts could tell."""
    space = few(5)
    table = profile(space, QUICK, tmp_path / "table.json", make_bench=SyntheticBench)
    quick = [
        one.model_copy(update={"predicted_ms": 1e-3}) for one in table.held_out if one.architecture == space.largest
    ]
    others = [one for one in table.held_out if one.architecture != space.largest]
    costs = CostModel(table.model_copy(update={"held_out": (*quick, *others)}))
    assert cheapest(space, costs, "latency_ms") == space.largest and cheapest(space, costs, "macs_m") == space.smallest
    limits = {"latency_ms": 1e-3, "macs_m": space.largest.macs_m}
    check_budget(space, costs, limits)
    assert within_limits(space, costs, limits) == space.largest
    assert within_limits(space, costs, limits | {"macs_m": space.smallest.macs_m}) is None
    with pytest.raises(SweepError, match=f"latency_ms must be >= 0.001, the least .* {space.largest.key}"):
        check_budget(space, costs, {"latency_ms": 1e-4})


def test_few_networks_that_differ_when_measured_again_are_refused(tmp_path: Path) -> None:
    table = profile(few(2), QUICK, tmp_path / "table.json", make_bench=SyntheticBench)
    rough = table.model_copy(update={"error": table.error.model_copy(update={"within_10": 0.5})})
    with pytest.raises(
        SweepError, match=r"90% of the networks, each measured again, must .*: measure on a quieter one"
    ):
        refuse_inaccurate(rough, QUICK, tmp_path / "table.json")


class Stopped(LocalBench):
    """A bench that writes files of networks and is interrupted."""

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        assert self._folder is not None
        (self._folder / "network.onnx").write_bytes(b"x" * 1000)
        raise KeyboardInterrupt


def test_an_interrupted_profile_leaves_a_journal_and_no_networks(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "latency").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), scratch_in(run / ".scratch"):
        profile(TINY, QUICK, run / "latency" / "table.json", make_bench=Stopped)
    assert [path.name for path in run.rglob("*") if path.is_file()] == ["table.json.journal"]


def test_a_table_of_a_real_runtime_records_how_it_was_made(tmp_path: Path) -> None:
    table = profile(TINY, QUICK, tmp_path / "table.json")
    at = table.setting
    assert (at.backend, at.threads, at.batch_size, at.dtype, at.rounds) == ("onnxruntime", 1, 1, "float32", 3)
    assert at.settings["optimization"] == "all" and at.clock == "process CPU time"
    assert {"torch", "onnxruntime"} <= at.versions.keys()
    assert at.build_seconds > 0 and min(at.anchors_ms) > 0
    assert min(table.predict_batch([TINY.smallest, TINY.largest])) > 0
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]


@pytest.mark.parametrize("uncertain", [0.0, 99.0])
def test_what_spreads_is_measured_again_within_a_bound(
    uncertain: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If nothing is certain enough, extra rounds stop at their share; if everything is, there are none."""
    monkeypatch.setattr(build, "UNCERTAIN", uncertain)
    benches: list[SyntheticBench] = []

    def make_bench(*arguments: Any) -> SyntheticBench:
        benches.append(SyntheticBench(*arguments))
        return benches[0]

    profile(TINY, QUICK.model_copy(update={"min_within_10": 0.0}), tmp_path / "t.json", make_bench=make_bench)
    total = sum(benches[0].taken.values())
    assert total == PLANNED if uncertain else PLANNED * 1.1 < total < PLANNED * 1.5


@pytest.mark.parametrize(("contention", "is_reported"), [(1.1, False), (1.3, True)])
def test_shared_cores_are_reported(
    contention: float, is_reported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(SyntheticBench, "contention", lambda self: contention)
    table = profile(TINY, QUICK, tmp_path / "table.json", make_bench=SyntheticBench)
    assert table.setting.contention == contention
    assert ("other programs used the cores" in capfd.readouterr().err) == is_reported


def test_shared_cores_end_a_profile_by_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SyntheticBench, "contention", lambda self: 1.3)
    monkeypatch.setattr(SyntheticBench, "clock", WALL_CLOCK.name)
    path = tmp_path / "table.json"
    with pytest.raises(SweepError, match=r"table\.json: the cores must be free .*time is 1\.3.*latency\.noisy: true"):
        profile(TINY, QUICK, path, make_bench=SyntheticBench)
    profile(TINY, QUICK.model_copy(update={"noisy": True}), path, make_bench=SyntheticBench)


class Interrupted(BaseException):
    """As Ctrl-C would."""


class InterruptedBench(SyntheticBench):
    """Ends after twelve readings of the anchors."""

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        for timed in super().time(jobs, rounds, seed):
            yield timed
            if sum(self.taken.values()) == 12:
                raise Interrupted


def test_an_interrupted_profile_loses_only_what_was_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "UNCERTAIN", 99.0)
    path = tmp_path / "table.json"
    with pytest.raises(Interrupted):
        profile(TINY, QUICK, path, make_bench=InterruptedBench)
    journal = path.with_name("table.json.journal")
    assert len(journal.read_text().splitlines()) == 1 + 12, "each reading is on disk at once"
    assert not path.exists()
    with journal.open("a") as file:
        file.write('{"ratios": {"cut o')  # as a kill in the middle of a line leaves it
    resumed: list[SyntheticBench] = []

    def make_bench(*arguments: Any) -> SyntheticBench:
        resumed.append(SyntheticBench(*arguments))
        return resumed[0]

    table = profile(TINY, QUICK, path, make_bench=make_bench)
    assert sum(resumed[0].taken.values()) == PLANNED - 12, "each measurement was made once"
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]
    assert LatencyTable.load(path) == table


def test_a_profile_that_ended_before_its_last_line_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is measured, but how busy the cores were: a kill may come after the times of the only group."""
    monkeypatch.setattr(build, "UNCERTAIN", 99.0)
    path, journal = tmp_path / "table.json", tmp_path / "table.json.journal"
    with monkeypatch.context() as killed:
        killed.setattr(LatencyTable, "save", lambda *_: journal.rename(tmp_path / "kept"))
        profile(TINY, QUICK, path, make_bench=SyntheticBench)
    lines = (tmp_path / "kept").read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if "contention" not in line))
    assert profile(TINY, QUICK, path, make_bench=SyntheticBench).setting.contention >= 1


@pytest.mark.parametrize("spoilt", ['{"digest": "another"}\n', "\n", "[]\n", "\udcff"])
def test_a_journal_of_other_settings_starts_empty(spoilt: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for ratio in (1.0, 2.0, 3.0):
        Journal(path, "digest").add({"a": ratio}, (0.1, 0.2), 5.0)
    Journal(path, "digest").add_contention(1.5)
    again = Journal(path, "digest")
    assert again.rounds("a").ratios == (1.0, 2.0, 3.0) and again.anchors_ms == (100.0, 200.0)
    assert again.contention == 1.5 and again.seconds == 15 and again.total_rounds == 3
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([spoilt, *lines[1:]]), errors="surrogateescape")
    assert not Journal(path, "digest").total_rounds


def test_a_journal_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SweepError, match="file/journal: cannot be written: File exists; see to it"):
        Journal(tmp_path / "file" / "journal", "digest")


@pytest.mark.parametrize(
    "line",
    [
        '{"ratios": [], "anchors_s": [1, 2], "seconds": 1}',
        '{"ratios": {"a": "x"}, "anchors_s": [1, 2], "seconds": 1}',
        '{"ratios": {"a": 1}, "anchors_s": [1], "seconds": 1}',
        '{"contention": "x"}',
        '{"contention": NaN}',
        '{"ratios": {}}',
        "[1]",
        "[" * 5000,
        "\x00\x00",
    ],
)
def test_a_damaged_line_is_left_out_and_the_others_count(
    line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "journal"
    Journal(path, "digest").add({"a": 0.5}, (0.1, 0.2), 5.0)
    with path.open("a") as file:
        file.write(f"{line}\n")
    Journal(path, "digest").add({"a": 0.7}, (0.1, 0.2), 5.0)
    assert "1 damaged line(s) left out" in capfd.readouterr().err
    again = Journal(path, "digest")
    assert again.count("a") == 2 and again.seconds == 10
    assert "damaged" not in capfd.readouterr().err
