"""Profiling: one contract for all backends, the timing protocol, interpolation, and the table that comes out."""

from __future__ import annotations

import gc
import json
import random
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency import bench, build, timing
from ffnet_search.latency.anchors import anchors, mix
from ffnet_search.latency.backends.base import BACKENDS, make_backend
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.build import profile
from ffnet_search.latency.jobs import groups
from ffnet_search.latency.journal import Journal
from ffnet_search.latency.measure import measure, torch_aside
from ffnet_search.latency.network_model import Kind, NetworkModel, Sample, by_kind
from ffnet_search.latency.part_model import Overhead, by_family, choose, interpolate, non_negative_fit
from ffnet_search.latency.plan import Plan, parts_of
from ffnet_search.latency.table import LatencyTable, TableError
from ffnet_search.latency.timing import CPU_CLOCK, WALL_CLOCK, Rounds, Stopwatch, contention
from ffnet_search.latency.validation import refuse_inaccurate, refuse_stale
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.space.architecture import Architecture, Input
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

SPACES = {path.stem: path for path in sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))}
DIGITS = SearchSpace.from_yaml(SPACES["ffnet_digits"])
TINY = SearchSpace.model_validate(
    {
        "input": {"channels": 1, "resolution": 8, "classes": 10},
        "stem": {"width": 16, "stride": 2},
        "stages": [{"depth": [1, 2], "width": [16, 32, 48], "token_kernel": [3, 5], "expansion": [2, 3]}],
    }
)
QUICK = LatencySection(rounds=3, calibration=4, held_out=20)


def model_of(arch: Architecture, batch: int = 1) -> Model:
    image = arch.input
    return Model(lambda: deployed(arch), (batch, image.channels, image.resolution, image.resolution))


MEASURE = [sys.executable, str(Path(__file__).parent / "support" / "measure_onnx.py")]
ARGS: dict[str, dict[str, object]] = {"command": {"command": MEASURE, "device": "this machine, by a script"}}


def section_of(backend: str, **fields: object) -> LatencySection:
    args = ARGS.get(backend, {}) | fields.pop("init_args", {})  # type: ignore[operator]
    return QUICK.model_copy(update={"backend": backend, "init_args": args, **fields})


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "openvino":
        pytest.importorskip(name)
    return name


# ---- the contract of backends ----


@pytest.mark.parametrize("batch", [1, 4])
def test_a_backend_runs_any_network_at_any_batch(backend: str, batch: int) -> None:
    section = section_of(backend, batch_size=batch)
    run = make_backend(section).load(model_of(DIGITS.largest, batch), 1)
    run()
    run()


@pytest.mark.parametrize("kind", ["stem", "merging", "token_mixer", "channel_mixer", "head"])
def test_a_backend_runs_each_kind_of_part(backend: str, kind: str) -> None:
    target = make_backend(section_of(backend))
    for part in {part.mixer: part for part in parts_of(DIGITS) if part.kind == kind}.values():
        shape = (1, part.in_width, part.resolution, part.resolution)
        target.load(Model(lambda part=part: deployed_part(part), shape), 1)()  # type: ignore[misc]


def test_a_backend_spends_its_time_in_the_call(backend: str) -> None:
    """Work that is only queued would look fast, and a larger network would cost the same."""
    target = make_backend(section_of(backend))
    small, large = (target.load(model_of(arch), 1) for arch in (DIGITS.smallest, DIGITS.largest))
    watch = Stopwatch([small], target.clock(1))
    [same, larger] = watch.interleave([small, large], 3)
    assert larger.median > 1.3 * same.median


def test_a_backend_says_what_it_is_as_json(backend: str) -> None:
    target = make_backend(section_of(backend))
    assert target.device_name().strip()
    assert json.loads(json.dumps(target.settings())) == target.settings()


def test_a_backend_keeps_to_one_thread(backend: str) -> None:
    arch = Architecture.preset("ffnet_1", Input(3, 128, 10))
    run = make_backend(section_of(backend)).load(model_of(arch), 1)
    run()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(5):
        run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert cpu < 1.2 * wall


def test_a_backend_leaves_the_callers_threads_and_random_numbers_alone(backend: str) -> None:
    net = deployed(TINY.smallest)
    torch.manual_seed(3)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(3)
    measure(net, section_of(backend))
    assert torch.rand(1) == expected and torch.get_num_threads() == threads


def test_a_backend_releases_what_it_holds(backend: str) -> None:
    net = deployed(DIGITS.smallest)
    alive = weakref.ref(net)
    run = make_backend(section_of(backend)).load(Model(alive, (1, 1, 8, 8)), 1)
    run()
    del run, net
    gc.collect()
    assert alive() is None


def test_a_backend_refuses_arguments_that_it_does_not_know(backend: str) -> None:
    with pytest.raises(SweepError, match=r"latency\.init_args: colour is not a known key"):
        make_backend(section_of(backend, init_args={"colour": "red"}))


def test_an_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(SweepError, match=r"latency\.backend must be one of .* did you mean 'onnxruntime'"):
        make_backend(LatencySection(backend="onnxrutime"))


def test_a_backend_that_is_not_installed_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "ffnet_search.latency.backends.openvino", raising=False)
    with pytest.raises(SweepError, match=r"needs openvino, .* run: pip install 'ffnet-search\[openvino\]'"):
        make_backend(LatencySection(backend="openvino"))


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("onnxruntime", {"provider": "tensorrt"}, "TensorrtExecutionProvider"),
        ("onnxruntime", {"optimization": "most"}, r"latency\.init_args: optimization must be"),
        ("torch", {"mode": "cuda_graph"}, "cuda_graph.* needs device_type 'cuda'"),
        ("torch", {"channels_last": "perhaps"}, r"latency\.init_args: channels_last must"),
    ],
)
def test_arguments_that_cannot_work_here_are_one_sentence(name: str, args: dict[str, object], words: str) -> None:
    with pytest.raises(SweepError, match=words):
        make_backend(LatencySection(backend=name, init_args=args))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(SweepError, match="needs a CUDA device"):
        make_backend(LatencySection(backend="torch", init_args={"device_type": "cuda"}))


# ---- the command ----


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python3 -c 'print(1/0)'", "must end with status 0, but ended with 1: ZeroDivisionError"),
        ("echo fast", "must print the milliseconds .* but printed '.*model.onnx'"),
        ("echo {model} quick", "but printed 'quick'"),
        ("echo {model} -3", "but printed '-3'"),
        ("echo {model} nan", "but printed 'nan'"),
        ("sleep 9 {model}", "must end within 0.2 s"),
        (
            "no-such-program",
            r"latency\.init_args: command: must begin with a program that can be run, but 'no-such-program'",
        ),
        ([], r"latency\.init_args: command must"),
    ],
)
def test_a_command_that_does_not_keep_its_contract_is_one_sentence(command: object, words: str) -> None:
    if isinstance(command, str) and command.startswith("sleep"):
        command = ["python3", "-c", "import time; time.sleep(9)", "{model}"]
    section = section_of("command", init_args={"command": command, "timeout": 0.2 if "sleep" in str(command) else 9})
    with pytest.raises(SweepError, match=words):
        make_backend(section).load(model_of(TINY.smallest), 1)()


def test_a_command_tells_its_own_milliseconds_of_the_file_that_it_gets() -> None:
    script = "import sys, os; print(len(open(sys.argv[1], 'rb').read()) * 1e-3, os.environ['FFNET_SHAPE'], 7.5)"
    section = section_of("command", init_args={"command": [sys.executable, "-c", script, "{model}"]})
    found = measure(deployed(TINY.smallest), section)
    assert found.anchors_ms == pytest.approx((7.5, 7.5))
    shares = mix(TINY.smallest.macs_m, TINY.smallest.params_m, TINY.smallest.input)
    assert found.ms == pytest.approx(7.5) and found.spread == 0 and sum(shares) > 0


def test_files_of_a_command_are_gone_when_its_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = make_backend(section_of("command")).load(model_of(TINY.smallest), 1)
    assert len(list(tmp_path.rglob("model.onnx"))) == 1
    del run
    gc.collect()
    assert not list(tmp_path.iterdir())


# ---- the protocol ----


def spin(milliseconds: float) -> None:
    end = time.process_time() + milliseconds / 1e3
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("clock", [CPU_CLOCK, WALL_CLOCK])
def test_times_are_in_units_of_the_anchor(clock: timing.Clock) -> None:
    watch = Stopwatch([lambda: spin(1.0)], clock)
    [one, three] = watch.interleave([lambda: spin(1.0), lambda: spin(3.0)], rounds=5)
    assert three.median / one.median == pytest.approx(3, rel=0.15)
    assert one.median == pytest.approx(1, rel=0.15)
    assert len(one.ratios) == len(three.ratios) == 5


def test_the_cpu_clock_does_not_count_what_others_do_meanwhile() -> None:
    def waiting() -> None:
        spin(1.0)
        time.sleep(0.002)

    [busy] = Stopwatch([lambda: spin(1.0)], CPU_CLOCK).interleave([waiting], rounds=3)
    assert busy.median == pytest.approx(1, rel=0.2)


def test_the_anchor_divides_out_drift() -> None:
    """A machine that gets slower by half in every round: times triple, ratios stay."""
    speed = [1.0]

    def drifting() -> None:
        speed[0] *= 1.01
        spin(1.0 * speed[0])

    watch = Stopwatch([drifting], CPU_CLOCK)
    [taken] = watch.interleave([drifting], rounds=6)
    assert watch.readings[-1][0] > 1.5 * watch.readings[0][0]
    assert taken.median == pytest.approx(1, rel=0.15) and taken.spread < 0.15


def test_two_drifts_are_divided_out_of_what_is_like_both_anchors() -> None:
    """Memory gets slower and computing does not: half of one and half of the other stays what it is."""
    memory = [1.0]

    def fetching() -> None:
        memory[0] *= 1.01
        spin(0.5 * memory[0])

    def both() -> None:
        spin(0.5)
        fetching()

    watch = Stopwatch([lambda: spin(0.5), fetching], CPU_CLOCK)
    [mixed, by_one] = watch.interleave([both, both], 6, mixes=[(1.0, 1.0), (2.0, 0.0)])
    assert watch.readings[-1][1] > 1.5 * watch.readings[0][1]
    assert mixed.median == pytest.approx(1, rel=0.15)
    assert by_one.ratios[-1] > 1.3 * by_one.ratios[0]


def test_one_disturbed_round_moves_neither_median_nor_spread() -> None:
    quiet, disturbed = Rounds((1.0, 1.02, 0.98, 1.01, 0.99)), Rounds((1.0, 1.02, 0.98, 1.01, 9.0))
    assert disturbed.median == pytest.approx(quiet.median, rel=0.02)
    assert disturbed.spread < 0.05


def test_contention_sees_more_threads_than_cores() -> None:
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert contention(3 * cores, seconds=0.15) > 1.5


def test_shared_cores_are_refused_only_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "contention", lambda threads: 1.7)
    net = deployed(TINY.smallest)
    with pytest.raises(SweepError, match=r"wall / CPU time is 1\.7.*latency\.threads: 1.*latency\.noisy: true"):
        measure(net, LatencySection(threads=2, rounds=3))
    assert measure(net, LatencySection(threads=2, rounds=3, noisy=True)).contention == 1.7
    assert measure(net, LatencySection(threads=1, rounds=3)).ms > 0


# ---- what is measured ----


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
    found = list(groups(plan.jobs))
    assert [job for group in found for job in group] == plan.jobs
    assert all(len(group) <= 10 for group in found)
    assert all(len(group) == 1 or sum(job.weights_m for job in group) <= 64 for group in found)


def test_a_space_too_small_to_check_a_table_on_is_refused(tmp_path: Path) -> None:
    one = SearchSpace.model_validate({"input": {"resolution": 8, "classes": 2}, "stages": [{"depth": 1, "width": 16}]})
    with pytest.raises(SweepError, match="at least 6 networks .* but holds 1"):
        profile(one, QUICK, tmp_path / "table.json")


# ---- interpolation and calibration ----


def cost(part: Part) -> float:
    """A machine that is not linear in anything: utilisation grows with the width."""
    return 0.002 + part.macs / 1e8 * (1 + 8 / part.out_width) + part.params / 1e8


@pytest.mark.parametrize("name", SPACES)
def test_parts_that_were_not_measured_are_near(name: str) -> None:
    parts = parts_of(SearchSpace.from_yaml(SPACES[name]))
    chosen = choose(parts, tolerance=0.05)
    found = interpolate({part: cost(part) for part in chosen}, parts)
    errors = [abs(found[part] / cost(part) - 1) for part in parts]
    assert np.mean(errors) < 0.02 and max(errors) < 0.15
    assert found.keys() == set(parts) and min(found.values()) > 0


def test_noise_of_one_part_is_shared_with_its_neighbours() -> None:
    parts = parts_of(SearchSpace.from_yaml(SPACES["ffnet_cifar"]))
    rng = np.random.default_rng(0)
    noisy = {part: cost(part) * float(np.exp(rng.normal(0, 0.08))) for part in parts}
    found = interpolate(noisy, parts)
    before, after = (np.mean([abs(times[part] / cost(part) - 1) for part in parts]) for times in (noisy, found))
    assert after < 0.7 * before


def test_a_fit_is_exact_where_it_can_be_and_never_negative() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 1, (30, 4))
    truth = np.array([0.5, 0.0, 2.0, 1.0])
    assert non_negative_fit(x, x @ truth) == pytest.approx(truth, abs=1e-9)
    falling = 2 - x[:, 0]
    assert (non_negative_fit(x[:, :1], falling) >= 0).all()


def test_a_fit_is_the_best_of_all_that_are_not_negative() -> None:
    from scipy.optimize import nnls

    rng = np.random.default_rng(1)
    for _ in range(20):
        x, y = rng.normal(0, 1, (12, 4)), rng.uniform(0.5, 2, 12)
        assert non_negative_fit(x, y) == pytest.approx(nnls(x / y[:, None], np.ones(12))[0], abs=1e-6)


def test_the_overhead_of_a_call_is_found_and_taken_off() -> None:
    parts = [part for part in parts_of(DIGITS) if part.kind == "channel_mixer"]
    overhead = Overhead(0.01, 0.5)
    alone = {part: cost(part) + overhead(part) for part in parts}
    chained = {part: 4 * cost(part) + overhead(part) for part in parts}
    found = Overhead.fit(alone, chained, copies=4)
    assert all(found(part) == pytest.approx(overhead(part), rel=1e-6) for part in parts)


def networks_of(name: str, count: int, seed: int) -> tuple[list[Mapping[Kind, float]], list[float]]:
    """Sums of parts alone by kind, and millions of weights, of random networks."""
    space, rng = SearchSpace.from_yaml(SPACES[name]), random.Random(seed)
    archs = [space.sample(rng) for _ in range(count)]
    alone_ms = {part: cost(part) for part in parts_of(space)}
    return [by_kind(arch.parts, alone_ms) for arch in archs], [arch.params_m for arch in archs]


POOLING = {("mixer", "token_mixer", "pool"): 0.4}


@pytest.mark.parametrize(
    "truth",
    [
        NetworkModel(0.03, 1.2),
        NetworkModel(0.1, 1.1, {}, 0.4, 2.0),
        NetworkModel(0, 1, {}, 0.3, 0),
        NetworkModel(0, 1, POOLING),
    ],
)
def test_calibration_finds_what_a_network_adds_to_its_parts(truth: NetworkModel) -> None:
    alone, weights = networks_of("ffnet_cifar", 40, seed=0)
    found = NetworkModel.fit([Sample(ms, m, truth(ms, m)) for ms, m in zip(alone, weights, strict=True)])
    for ms, params_m in zip(*networks_of("ffnet_cifar", 50, seed=1), strict=True):
        assert found(ms, params_m) == pytest.approx(truth(ms, params_m), rel=0.03)


def test_noise_alone_is_not_taken_for_a_cache_nor_for_slopes() -> None:
    rng, spilt = np.random.default_rng(0), 0
    for seed in range(10):
        alone, weights = networks_of("ffnet_cifar", 40, seed)
        noisy = [float(1.1 * sum(ms.values()) * np.exp(rng.normal(0, 0.03))) for ms in alone]
        found = NetworkModel.fit(list(map(Sample, alone, weights, noisy)))
        spilt += found.spill_ms_per_m > 0
        others = zip(*networks_of("ffnet_cifar", 40, 1000 + seed), strict=True)
        errors = [abs(found(ms, params_m) / (1.1 * sum(ms.values())) - 1) for ms, params_m in others]
        assert np.mean(errors) < 0.03, "no more than the noise that it was fitted on"
    assert spilt <= 3


def test_what_a_kind_is_off_by_is_learnt_from_few_networks_and_never_negative() -> None:
    alone, weights = networks_of("ffnet_cifar", 8, seed=0)
    times = [0.2 * sum(ms.values()) + 0.01 for ms in alone]
    found = NetworkModel.fit(list(map(Sample, alone, weights, times)))
    assert all(found.slope_of(kind) >= 0 for sums in alone for kind in sums)
    assert found.intercept_ms >= 0 and found.spill_ms_per_m >= 0
    assert found.slope_of(("token_mixer", "of another space", 3, 1, 1)) == found.slope


# ---- the table ----


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    return profile(TINY, QUICK, tmp_path_factory.mktemp("latency") / "table.json", seed=0)


def test_a_table_knows_every_network_of_its_space(table: LatencyTable) -> None:
    rng = random.Random(9)
    for _ in range(50):
        assert table.predict_ms(TINY.sample(rng)) > 0
    assert any(entry.measured for entry in table.entries.values())


def test_a_table_ranks_and_is_not_far_off(table: LatencyTable) -> None:
    """Loose limits: this machine may be busy. The figures to hold are those of benchmarks/latency_error.py."""
    assert table.error.mean < 0.25
    assert table.predict_ms(TINY.largest) > 1.2 * table.predict_ms(TINY.smallest)


def test_a_table_says_how_it_was_made(table: LatencyTable) -> None:
    at = table.setting
    assert (at.backend, at.threads, at.batch_size, at.dtype, at.rounds) == ("onnxruntime", 1, 1, "float32", 3)
    assert at.settings["optimization"] == "all" and at.clock == "process CPU time"
    assert {"torch", "onnxruntime"} <= at.versions.keys()
    assert at.build_seconds > 0 and min(at.anchors_ms) > 0 and at.contention > 0.9


def test_the_error_is_that_of_the_held_out_networks(table: LatencyTable) -> None:
    fitted = {check.architecture for check in table.calibration}
    assert not fitted & {check.architecture for check in table.held_out}
    assert table.error.networks == len(table.held_out)
    assert table.error.mean == pytest.approx(np.mean([abs(check.error) for check in table.held_out]))
    for check in table.held_out:
        assert check.predicted_ms == pytest.approx(table.predict_ms(check.architecture))


def test_a_network_measured_alone_is_comparable_with_the_table(table: LatencyTable) -> None:
    arch = TINY.largest
    alone = measure(deployed(arch), QUICK, table=table)
    assert alone.ms == pytest.approx(table.predict_ms(arch), rel=0.4)


def test_what_spreads_is_measured_again_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is certain enough: the extra rounds stop at their share all the same."""
    monkeypatch.setattr(build, "UNCERTAIN", 0.0)
    counts: dict[str, int] = {}
    add = Journal.add

    def analytic_metrics(self: Journal, ratios: tuple[tuple[str, float], ...], *args: object) -> None:
        for name, _ in ratios:
            counts[name] = counts.get(name, 0) + 1
        add(self, ratios, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "add", analytic_metrics)
    profile(TINY, QUICK.model_copy(update={"min_within_10": 0.0}), tmp_path / "table.json")
    planned = sum(job.rounds(QUICK) for job in Plan(TINY, QUICK, 0).jobs)
    assert planned * 1.1 < sum(counts.values()) < planned * 1.5


# ---- whether a table may be relied on ----


def with_errors(table: LatencyTable, *errors: float) -> LatencyTable:
    checks = [table.held_out[0].model_copy(update={"predicted_ms": 1 + e, "measured_ms": 1.0}) for e in errors]
    error = TableError.of([1 + e for e in errors], [1.0] * len(errors), [(1.0, 1.0)] * len(errors))
    return table.model_copy(update={"held_out": tuple(checks), "error": error})


def test_a_table_that_is_too_far_off_is_refused_with_its_worst_networks(
    table: LatencyTable, capfd: pytest.CaptureFixture[str]
) -> None:
    path, key = Path("t.json"), table.held_out[0].architecture.key
    refuse_inaccurate(with_errors(table, *[0.05] * 9, 0.3), QUICK, path)
    bad = with_errors(table, *[0.05] * 8, 0.3, -0.2)
    with pytest.raises(SweepError, match=rf"t.json: 90% .* but 80% are, .*: {key} \+30% .*; {key} -20% .*calibration"):
        refuse_inaccurate(bad, QUICK, path)
    refuse_inaccurate(bad, QUICK.model_copy(update={"min_within_10": 0.8}), path)
    assert not capfd.readouterr().err
    refuse_inaccurate(bad, QUICK.model_copy(update={"noisy": True}), path)
    assert "warning" in capfd.readouterr().err


def test_a_noisy_table_asks_for_a_quieter_machine(table: LatencyTable) -> None:
    noisy = with_errors(table, *[0.2] * 20)
    noisy = noisy.model_copy(update={"error": noisy.error.model_copy(update={"noise_floor": 0.15})})
    with pytest.raises(SweepError, match=r"the machine was busy .* quieter one, or with more latency\.rounds"):
        refuse_inaccurate(noisy, QUICK, Path("t.json"))


def test_a_fresh_table_is_not_stale_and_a_drifted_one_is(table: LatencyTable) -> None:
    """As if each network had taken twice as long against the anchors when the table was made."""
    assert refuse_stale(table, QUICK.model_copy(update={"noisy": True}), Path("t.json")) < 0.3
    slower = tuple(
        check.model_copy(update={"measured_ms": 2 * check.measured_ms, "predicted_ms": 2 * check.predicted_ms})
        for check in table.held_out
    )
    with pytest.raises(
        SweepError, match=r"t\.json: is stale: 5 of its networks, .* but have drifted by [3-7]\d% .*profile"
    ):
        refuse_stale(table.model_copy(update={"held_out": slower}), QUICK, Path("t.json"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": "a telephone"}, "must be of this device, .*, but was measured with a telephone"),
        ({"versions": {"onnxruntime": "0.1"}}, r"must be of this runtime.*, but .*0\.1"),
        ({"settings": {"provider": "cuda"}}, "must be of these settings"),
    ],
)
def test_a_table_of_something_else_is_stale_at_once(change: dict[str, object], words: str, table: LatencyTable) -> None:
    other = table.model_copy(update={"setting": table.setting.model_copy(update=change)})
    with pytest.raises(SweepError, match=words):
        refuse_stale(other, QUICK, Path("t.json"))


class Killed(BaseException):
    """As the keyboard would."""


def test_an_interrupted_profile_loses_only_what_was_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, looks = tmp_path / "table.json", []
    segments = Stopwatch.segments

    def until_killed(self: Stopwatch, *args: object) -> Iterator[timing.Segment]:
        for segment in segments(self, *args):  # type: ignore[arg-type]
            looks.append(len(segment.ratios))
            yield segment
            if len(looks) == 12:
                raise Killed

    monkeypatch.setattr(Stopwatch, "segments", until_killed)
    with pytest.raises(Killed):
        profile(TINY, QUICK, path)
    journal = path.with_name("table.json.journal")
    assert len(journal.read_text().splitlines()) >= 1 + 12, "each look is on disk at once"
    assert not path.exists()
    with journal.open("a") as file:
        file.write('{"ratios": {"cut o')  # as a kill in the middle of a line leaves it
    monkeypatch.setattr(build, "UNCERTAIN", 99.0)
    table = profile(TINY, QUICK, path)
    wanted = sum(job.rounds(QUICK) for job in Plan(TINY, QUICK, 0).jobs)
    assert sum(looks) == wanted, "each measurement was made once"
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]
    assert LatencyTable.load(path) == table


@pytest.mark.parametrize("spoilt", ['{"digest": "another"}\n', "\n", "[]\n", "\udcff"])
def test_a_journal_of_other_settings_is_begun_anew(spoilt: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for ratio in (1.0, 2.0, 3.0):
        Journal(path, "digest").add((("a", ratio),), (0.1, 0.2), 5.0)
    Journal(path, "digest").add_contention(1.5)
    again = Journal(path, "digest")
    assert again.rounds("a").ratios == (1.0, 2.0, 3.0) and again.anchors_ms == (100.0, 200.0)
    assert again.contention == 1.5 and again.seconds == 15
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([spoilt, *lines[1:]]), errors="surrogateescape")
    assert not Journal(path, "digest").total_rounds


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


def test_torch_is_put_aside_and_handed_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch_aside():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
