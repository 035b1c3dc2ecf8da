"""The contract of latency backends: the registered ones, and a user-supplied one by import path."""

from __future__ import annotations

import copy
import gc
import json
import os
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from latency_spaces import DIGITS, QUICK, TINY, model_of
from torch import nn

from ffnet_search.config.files import RunPaths
from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.backends.base import BACKENDS, make_backend
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.bench import LocalBench
from ffnet_search.latency.build import profile
from ffnet_search.latency.jobs import part_job
from ffnet_search.latency.measure import measure_all
from ffnet_search.latency.plan import parts_of
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import CPU_CLOCK, RUNTIME_CLOCK, WALL_CLOCK
from ffnet_search.models.deployed import deployed
from ffnet_search.plugins import find_class, is_installed

SUPPORT = Path(__file__).parents[1] / "support"
USER_BACKEND = "own_backend:Simulator"
COMMAND = {"command": [sys.executable, str(SUPPORT / "measure_onnx.py")], "device": "this machine, by a script"}


def section_of(backend: str, **fields: object) -> LatencySection:
    args = dict(COMMAND) if backend == "command" else {}
    args |= fields.pop("init_args", {})  # type: ignore[call-overload]
    return QUICK.model_copy(update={"backend": backend, "init_args": args, **fields})


@pytest.fixture(params=[*BACKENDS, USER_BACKEND])
def backend(request: pytest.FixtureRequest) -> str:
    kind = find_class(request.param, "a test", registry=BACKENDS)
    missing = [package for package in kind.packages if not is_installed(package)]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    return str(request.param)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_backend_runs_any_network_at_any_batch(backend: str, batch: int) -> None:
    section = section_of(backend, batch_size=batch)
    run = make_backend(section).load(model_of(DIGITS.largest, batch), 1)
    run()
    run()


def test_each_network_is_compiled_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch falls back to eager execution at the ninth that shares a code object; without code generation here."""
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiling = make_backend(section_of("torch", init_args={"mode": "compile"}))
    networks = [nn.Sequential(*(nn.ReLU() for _ in range(depth))) for depth in range(1, 10)]
    runs = [compiling.load(Model(partial(copy.deepcopy, net), (1, 3, 8, 8)), 1) for net in networks]
    for run in [*runs, *runs]:
        run()
    assert len(compiled) == len(networks) == 9


def test_a_backend_runs_the_precisions_that_it_names_and_refuses_others(backend: str) -> None:
    kind = find_class(backend, "a test", registry=BACKENDS)
    section = section_of(backend, precision="int8")
    if "int8" not in kind.precisions:
        with pytest.raises(SweepError, match="latency.precision must be float32 for the backend .*, but is int8"):
            make_backend(section)
        return
    [measured] = measure_all([deployed(TINY.largest)], section)
    assert measured.ms > 0
    for part in {part.kind: part for part in parts_of(TINY)}.values():
        make_backend(section).load(part_job(part).model(1, precision="int8"), 1)()


@pytest.mark.parametrize("kind", ["stem", "merging", "token_mixer", "channel_mixer", "head"])
def test_a_backend_runs_each_kind_of_part(backend: str, kind: str) -> None:
    target = make_backend(section_of(backend))
    for part in {part.mixer: part for part in parts_of(DIGITS) if part.kind == kind}.values():
        target.load(part_job(part).model(1), 1)()


def test_a_backend_describes_itself_in_json(backend: str) -> None:
    target = make_backend(section_of(backend))
    assert target.device_name().strip()
    assert json.loads(json.dumps(target.settings())) == target.settings()


def test_the_clock_follows_from_where_inference_runs(backend: str) -> None:
    target = make_backend(section_of(backend))
    runtime = backend in ("command", USER_BACKEND)
    assert target.clock(1) is (RUNTIME_CLOCK if runtime else CPU_CLOCK)
    assert target.clock(2) is (RUNTIME_CLOCK if runtime else WALL_CLOCK)
    milliseconds = target.load(model_of(TINY.smallest), 1)()
    assert not runtime or isinstance(milliseconds, float)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by Linux's /proc")
def test_a_backend_starts_no_threads_for_one_thread(backend: str) -> None:
    if backend == "openvino":
        pytest.skip("OpenVINO keeps threads that wait")
    target, model = make_backend(section_of(backend)), model_of(DIGITS.largest)
    model.build()
    before = set(os.listdir("/proc/self/task"))
    run = target.load(model, 1)
    run()
    assert set(os.listdir("/proc/self/task")) <= before


def test_a_backend_leaves_the_threads_and_random_numbers_of_the_caller_alone(backend: str) -> None:
    net = deployed(TINY.smallest)
    torch.manual_seed(3)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(3)
    measure_all([net], section_of(backend))
    assert torch.rand(1) == expected and torch.get_num_threads() == threads


def test_a_backend_releases_what_it_holds(backend: str) -> None:
    net = deployed(DIGITS.smallest)
    alive = weakref.ref(net)
    run = make_backend(section_of(backend)).load(Model(alive, (1, 1, 8, 8)), 1)  # type: ignore[arg-type]
    run()
    del run, net
    gc.collect()
    assert alive() is None


def test_a_backend_refuses_unknown_arguments(backend: str) -> None:
    with pytest.raises(SweepError, match=r"latency\.init_args: colour is not a known key"):
        make_backend(section_of(backend, init_args={"colour": "red"}))


def test_versions_of_the_packages_of_a_backend_are_recorded(backend: str) -> None:
    bench = LocalBench(section_of(backend), TINY.largest.input)
    assert bench.identity.versions.keys() == set(make_backend(section_of(backend)).packages)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("onnxrutime", r"latency\.backend must be one of onnxruntime, .*did you mean 'onnxruntime'"),
        ("no_such_package:Simulator", r"latency\.backend: .* there is no module 'no_such_package'"),
        ("own_backend:Simulater", r"latency\.backend: .* must name a Backend, .* did you mean 'Simulator'"),
        ("own_backend:NoBackend", r"latency\.backend: .* must name a Backend"),
    ],
)
def test_an_unknown_backend_is_one_sentence(name: str, words: str) -> None:
    with pytest.raises(SweepError, match=words):
        make_backend(LatencySection(backend=name))


def test_a_backend_whose_package_is_missing_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
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
        (USER_BACKEND, {"ms_per_million": "few"}, r"latency\.init_args: ms_per_million must"),
    ],
)
def test_arguments_that_cannot_work_here_are_one_sentence(name: str, args: dict[str, object], words: str) -> None:
    with pytest.raises(SweepError, match=words):
        make_backend(LatencySection(backend=name, init_args=args))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is available")
def test_cuda_is_refused_if_no_device_is_available() -> None:
    with pytest.raises(SweepError, match="needs a CUDA device"):
        make_backend(LatencySection(backend="torch", init_args={"device_type": "cuda"}))


def test_a_user_supplied_backend_works_in_a_fresh_process() -> None:
    program = (
        "from ffnet_search.config.schema import LatencySection; "
        "from ffnet_search.latency.backends.base import make_backend; "
        f"print(make_backend(LatencySection(backend={USER_BACKEND!r})).device_name())"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SUPPORT, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "a simulator", done.stderr


def test_a_table_of_a_user_supplied_backend_is_named_by_its_class(tmp_path: Path) -> None:
    section = section_of(USER_BACKEND)
    path = RunPaths(tmp_path).latency_table(section)
    assert path.name == "Simulator-t1-b1.json"
    table = profile(TINY, section, path)
    assert (table.name, table.setting.backend, table.setting.device) == (path.stem, USER_BACKEND, "a simulator")
    assert LatencyTable.load(path).predict_ms(TINY.largest) > table.predict_ms(TINY.smallest)
