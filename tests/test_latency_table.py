"""A latency table as a value: its predictions, its error, its file."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ffnet_search.errors import SweepError
from ffnet_search.latency.table import Check, Entry, LatencyTable, Setting, TableError, kendall_tau
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

SPACE = SearchSpace.from_yaml(Path(__file__).parents[1] / "search_spaces" / "ffnet_digits.yaml")


def archs(count: int, seed: int = 0) -> list[Architecture]:
    rng = random.Random(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def check_of(predicted_ms: float, measured_ms: float, halves_ms: tuple[float, float]) -> Check:
    return Check(
        architecture=SPACE.smallest,
        predicted_ms=predicted_ms,
        measured_ms=measured_ms,
        halves_ms=halves_ms,
        spread=0.02,
    )


def table_of(networks: list[Architecture]) -> LatencyTable:
    """A table whose milliseconds are the parts' MACs: any other additive cost would do."""
    check = check_of(1.1, 1, (0.9, 1.1))
    setting = Setting(
        device="a test", backend="onnxruntime", settings={"provider": "cpu"}, threads=1, batch_size=2, dtype="float32",
        versions={"torch": "2"}, date="2026-01-01T00:00:00+00:00", clock="process CPU time", rounds=5, contention=1.0,
        anchors_ms=(0.3, 0.4), build_seconds=1,
    )  # fmt: skip
    return LatencyTable(
        setting=setting,
        error=TableError.of([check]),
        intercept_ms=0.25,
        entries={p.key: Entry(ms=(ms := p.costs.macs / 1e6), raw_ms=ms) for arch in networks for p in arch.parts},
        calibration=(),
        held_out=(check,),
    )


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return table_of([*archs(300), SPACE.smallest, SPACE.largest])


def test_prediction_is_the_intercept_and_the_sum_of_parts(table: LatencyTable) -> None:
    for arch in archs(20):
        assert table.predict_ms(arch) == pytest.approx(0.25 + sum(map(table.part_ms, arch.parts)))
        assert table.predict_ms(arch) == pytest.approx(0.25 + arch.macs_m)
        assert table.raw_ms(arch) == pytest.approx(arch.macs_m)


def test_weights_beyond_the_cache_cost_extra(table: LatencyTable) -> None:
    """Nothing up to `resident_m`, then in proportion; more weights never make a network faster."""
    spilling = table.model_copy(update={"spill_ms_per_m": 3.0, "resident_m": 0.05})
    for arch in (SPACE.smallest, SPACE.largest, *archs(20)):
        extra = spilling.predict_ms(arch) - table.predict_ms(arch)
        assert extra == pytest.approx(3.0 * max(0, arch.params_m - 0.05))
    assert SPACE.smallest.params_m < 0.05 < SPACE.largest.params_m


def test_another_block_never_makes_a_network_faster(table: LatencyTable) -> None:
    for arch in archs(20):
        stage = arch.stages[-1]
        deeper = replace(arch, stages=(*arch.stages[:-1], replace(stage, blocks=stage.blocks * 2)))
        assert table.predict_ms(deeper) > table.predict_ms(arch)


def test_many_predictions_are_those_of_one_by_one(table: LatencyTable) -> None:
    networks = archs(50, seed=1)
    assert table.predict_batch(networks) == [table.predict_ms(arch) for arch in networks]


def test_a_foreign_part_is_refused_by_name(table: LatencyTable) -> None:
    with pytest.raises(SweepError, match=r"onnxruntime-t1-b2: has no entry for 'stem 3x256x256.*profile that space"):
        table.predict_ms(Architecture.preset("ffnet_1"))


def test_a_saved_table_is_the_same_table(table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "latency" / f"{table.name}.json"
    table.save(path)
    again = LatencyTable.load(path)
    assert again == table
    assert again.predict_batch(archs(9)) == table.predict_batch(archs(9))
    assert again.held_out[0].architecture.key == table.held_out[0].architecture.key
    assert [file.name for file in path.parent.iterdir()] == ["onnxruntime-t1-b2.json"], "no scratch file is left"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such latency table"),
        ("", "must be a latency table"),
        ("{", "must be a latency table"),
        ("[1, 2]", "must be a latency table"),
        ('{"accuracy": 1}', "must be a latency table"),
        ({"version": 0}, "version is not valid"),
        ({"format": "a table of logarithms"}, "format is not valid"),
        ({"intercept_ms": -1}, "intercept_ms is not valid"),
        ({"entries": {"stem": {"ms": "quick", "raw_ms": 1}}}, r"entries.stem.ms is not valid"),
        ({"entries": {"stem": {"ms": -1, "raw_ms": 1}}}, r"entries.stem.ms is not valid"),
        ({"held_out": []}, "held_out is not valid"),
        ({"colour": "red"}, "colour is not valid"),
        (b"\xff\xfe\x00", "must be a latency table"),
        ({"intercept_ms": 1e300}, "intercept_ms is not valid"),
        ({"spill_ms_per_m": 1e-300}, "spill_ms_per_m is not valid"),
        ({"entries": {"stem": {"ms": 1e300, "raw_ms": 1}}}, r"entries.stem.ms is not valid"),
        ({"entries": {"stem": {"ms": 1, "raw_ms": 1e-300}}}, r"entries.stem.raw_ms is not valid"),
    ],
)
def test_what_is_not_a_table_is_one_sentence_that_names_the_file(
    content: object, words: str, table: LatencyTable, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(table.model_dump_json()) | content)
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    with pytest.raises(SweepError, match=words) as caught:
        LatencyTable.load(path)
    assert str(path) in str(caught.value) and "profile" in str(caught.value)


@pytest.mark.parametrize("value", [1e300, -1e300, -3, 0.0])
@pytest.mark.parametrize("name", ["predicted_ms", "measured_ms", "halves_ms"])
def test_absurd_times_of_networks_are_refused(name: str, value: float, table: LatencyTable, tmp_path: Path) -> None:
    content = json.loads(table.model_dump_json())
    content["held_out"][0][name] = [1.0, value] if name == "halves_ms" else value
    (tmp_path / "table.json").write_text(json.dumps(content))
    with pytest.raises(SweepError, match=f"held_out.0.{name}.* is not valid .*; move the file away"):
        LatencyTable.load(tmp_path / "table.json")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("setting", "date", "99999-01-01T00:00:00+00:00"), ("setting", "date", "yesterday"), ("setting", "threads", -3),
        ("setting", "batch_size", 10**18), ("setting", "rounds", 0), ("setting", "contention", -1.0),
        ("setting", "anchors_ms", [1e300]), ("setting", "build_seconds", -1.0), ("error", "networks", -1),
        ("error", "mean", 1e300), ("error", "max", -1.0), ("error", "within_10", 2.0), ("error", "kendall", -3.0),
    ],
)  # fmt: skip
def test_absurd_facts_of_a_table_are_refused(
    section: str, name: str, value: object, table: LatencyTable, tmp_path: Path
) -> None:
    content = json.loads(table.model_dump_json())
    content[section][name] = value
    (tmp_path / "table.json").write_text(json.dumps(content))
    with pytest.raises(SweepError, match=f"{section}.{name}.* is not valid .*; move the file away"):
        LatencyTable.load(tmp_path / "table.json")


def test_a_table_that_cannot_be_written_leaves_the_old_one(table: LatencyTable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SweepError, match="cannot be written"):
        table.save(tmp_path / "file" / "table.json")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_error_of_exact_predictions_is_zero() -> None:
    error = TableError.of([check_of(ms, ms, (ms, ms)) for ms in (1, 2, 3)])
    assert (error.mean, error.max, error.within_10, error.kendall, error.noise_floor) == (0, 0, 1, 1, 0)


def test_error_is_relative_to_what_was_measured() -> None:
    checks = [check_of(1.2, 1.0, (1.0, 1.25)), check_of(1.9, 2.0, (2.0, 2.0)), check_of(4.0, 4.0, (4.0, 4.0))]
    error = TableError.of(checks)
    assert error.networks == 3
    assert error.mean == pytest.approx((0.2 + 0.05) / 3)
    assert error.max == pytest.approx(0.2)
    assert error.within_10 == pytest.approx(2 / 3)
    assert error.noise_floor == pytest.approx(0.2 / 3)


def test_worst_comes_first(table: LatencyTable) -> None:
    near, far = (table.held_out[0].model_copy(update={"predicted_ms": ms}) for ms in (1.05, 0.5))
    assert table.model_copy(update={"held_out": (near, far)}).worst == (far, near)


@pytest.mark.parametrize("levels", [3, 10, 10**6])  # few levels: many ties
def test_kendall_is_the_share_of_pairs_in_order(levels: int) -> None:
    """tau-b by all pairs: ties in either count half."""
    rng = np.random.default_rng(levels)
    for _ in range(20):
        a, b = rng.integers(0, levels, (2, 17))
        i, j = np.triu_indices(len(a), k=1)
        over_a, over_b = np.sign(a[i] - a[j]), np.sign(b[i] - b[j])
        pairs = np.sqrt((over_a != 0).sum() * (over_b != 0).sum())
        assert kendall_tau(a.tolist(), b.tolist()) == pytest.approx((over_a * over_b).sum() / pairs)


@pytest.mark.parametrize(("a", "b"), [([1, 1, 1], [1, 2, 3]), ([1, 2], [5, 5]), ([1], [1])])
def test_kendall_of_a_constant_is_zero(a: list[float], b: list[float]) -> None:
    assert kendall_tau(a, b) == 0


def test_a_missing_table_may_be_asked_for_at_any_place() -> None:
    with pytest.raises(SweepError, match="/no-table.json: no such latency table; make it with `ffnet-search profile S"):
        LatencyTable.load("/no-table.json")
