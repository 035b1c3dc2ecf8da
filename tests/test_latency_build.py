"""Building a latency table, on a bench without a clock; once with a real runtime."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_spaces import DIGITS, QUICK, TINY
from synthetic_bench import SyntheticBench

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency import build
from ffnet_search.latency.bench import Job
from ffnet_search.latency.build import profile
from ffnet_search.latency.journal import Journal
from ffnet_search.latency.plan import Plan
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import WALL_CLOCK, Timed

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
    expected = [0.005472853756090573, 0.1550880285159293, 0.017614480811363523, 0.029700383184389046]
    assert table.predict_batch(networks) == pytest.approx(expected, rel=1e-9)
    assert table.intercept_ms == pytest.approx(0.003033504469625369, rel=1e-9)
    assert table.error.max == pytest.approx(0.03751910726158436, rel=1e-9)


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
