"""A check refuses what a run would refuse, without running anything and without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_sweeps import ONE_STAGE, sweep_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.formats.base import Format
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.latency import threads
from ffnet_search.latency.backends.base import BACKENDS
from ffnet_search.plugins import find_class
from ffnet_search.run.check import check_classes, check_sampler, check_sweep
from ffnet_search.run.pipeline import run_sweep

ROOT = Path(__file__).parents[1]
ABSENT = "no_such_package:Class"


def test_a_good_sweep_passes_and_leaves_no_file(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {})
    check_sweep(sweep)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("engine", ["local", "ray", "tune"])
def test_nothing_heavy_is_loaded(tmp_path: Path, engine: str) -> None:
    devices = [{"name": name, "backend": name} for name in ("onnxruntime", "torch")]
    content = {"search": {"engine": engine}, "latency": devices, "export": {"formats": ["pt2", "int8"]}}
    sweep = sweep_of(tmp_path, content)
    code = (
        "import sys; from ffnet_search import Sweep, check; check(Sweep.from_yaml(sys.argv[1]))\n"
        "print({'torch', 'lightning', 'optuna', 'ray', 'sklearn', 'scipy', 'onnxruntime'} & sys.modules.keys())"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(sweep.path)], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "set()\n", ran.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": {"validation": 1e-320}}, "data.validation must leave images .*, but .* of 1,438 is 0; change it"),
        ({"data": {"validation": 0.9999}}, "data.validation must leave images .*, but 0.9999 of 1,438 is 1,438"),
        ({"search": {"engine": "locale"}}, "search.engine must be one of local, .*; did you mean 'local'"),
        ({"search": {"engine": ABSENT}}, "search.engine: .* there is no module 'no_such_package'"),
        ({"search": {"sampler": {"class_path": ABSENT}}}, "search.sampler.class_path: .* there is no module"),
        ({"latency": {"backend": "onnxruntim"}}, "latency.backend must be one of .* did you mean 'onnxruntime'"),
        ({"latency": {"init_args": {"opset": 99}}}, "latency.init_args: opset must be <= 20, but got 99"),
        ({"latency": {"init_args": {"colour": 1}}}, "latency.init_args: colour is not a known key"),
        ({"latency": {"init_args": {"provider": "tensorrt"}}}, "TensorrtExecutionProvider, but it has"),
        ({"export": {"formats": ["onyx"]}}, "export.formats must be one of .* did you mean 'onnx'"),
        ({"export": {"formats": ["own.formats:Fast"]}}, "export.formats: .* there is no module"),
        ({"data": {"name": "digit"}}, "data.name .*'digit'.* did you mean 'digits'"),
        ({"data": {"name": ABSENT}}, "data.name: .* there is no module"),
        ({"train": {"callbacks": [ABSENT]}}, "train.callbacks.0.class_path: .* there is no module"),
        ({"train": {"loggers": [ABSENT]}}, "train.loggers.0.class_path: .* there is no module"),
        ({"latency": {"backend": ABSENT}}, "latency.backend: .* there is no module"),
        ({"search": {"constraints": {"params_m": 1e-4}}}, "search.constraints.params_m must be >= 0.00"),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_is_one_sentence(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    sweep = sweep_of(tmp_path, content)
    with pytest.raises(SweepError, match=message) as caught:
        check_sweep(sweep)
    assert str(caught.value).startswith(f"{sweep.path}: ")
    assert "\n" not in str(caught.value)


HIDING = """
import sys
from pathlib import Path
import yaml
import ffnet_search.plugins as plugins
from ffnet_search import Sweep, check
from ffnet_search.errors import SweepError

find, hidden = plugins.find_spec, set(sys.argv[2].split())
plugins.find_spec = lambda name: None if name in hidden else find(name)
content = yaml.safe_load(Path(sys.argv[1]).read_text())
for part in yaml.safe_load(sys.argv[3]):
    try:
        check(Sweep.from_content({**content, **part}, Path(sys.argv[1])))
    except SweepError as error:
        print(error)
print(sorted({"torch", *hidden} & sys.modules.keys()))
"""


def test_a_missing_package_is_named_with_its_extra_before_torch_is_imported(tmp_path: Path) -> None:
    kinds = [
        (key, name, find_class(name, "a test", registry=registry))
        for key, registry in (("backend", BACKENDS), ("format", FORMATS))
        for name in registry
    ]
    kinds = [one for one in kinds if one[2].packages]
    latency = {"backend": "command", "init_args": {"command": "echo {model} 1", "device": "any"}}
    parts = [
        {"latency": {"backend": name}} if key == "backend" else {"latency": latency, "export": {"formats": [name]}}
        for key, name, _ in kinds
    ]
    hidden = " ".join(package for *_, kind in kinds for package in kind.packages)
    sweep = sweep_of(tmp_path, {"name": "tiny"})
    command = [sys.executable, "-c", HIDING, str(sweep.path), hidden, yaml.safe_dump(parts)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    *messages, loaded = ran.stdout.splitlines()
    assert loaded == "[]", ran.stderr
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for (_, name, kind), message in zip(kinds, messages, strict=True):
        install = f"'ffnet-search[{kind.extra}]'" if kind.extra else kind.packages[0]
        instead = "; model.onnx is exported without it" if issubclass(kind, Format) else ""
        assert message.endswith(
            f"{name!r} needs {kind.packages[0]}, which is not installed; run: pip install {install}{instead}"
        )
        assert kind.extra is None or f"\n{kind.extra} = " in extras


def test_formats_are_of_ffnets(tmp_path: Path) -> None:
    content = {
        "search_space": {"hyperparameters": {"epochs": [1, 2]}},
        "module": "own_network:Curve",
        "data": {"name": "own_network:Points"},
        "search": {"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"]},
        "export": {"formats": ["pt2"]},
    }
    with pytest.raises(SweepError, match="export.formats must be left out where module is given"):
        sweep_of(tmp_path, content)


def test_a_module_by_import_path_must_exist(tmp_path: Path) -> None:
    content = {
        "search_space": {"hyperparameters": {"epochs": [1, 2]}},
        "module": {"class_path": ABSENT},
        "search": {"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"]},
        "data": {"name": ABSENT},
    }
    with pytest.raises(SweepError, match="data.name: .* there is no module"):
        check_sweep(sweep_of(tmp_path, content))


def test_a_cluster_file_is_checked_in_place_of_data_that_are_on_the_cluster(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    carried = {"search_space": ONE_STAGE, "data": {"name": "cifar10", "path": "on/the/cluster"}}
    file.write_text(yaml.safe_dump({"cluster_name": "c", "provider": {"typ": "local"}, "metadata": {"sweep": carried}}))
    with pytest.raises(SweepError, match="cluster.yaml: "):
        check_sweep(Sweep.from_yaml(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"search": {"sampler": "NoSuchSampler"}}, "search.sampler.class_path must be one of"),
        (
            {"search": {"sampler": {"class_path": "TPESampler", "init_args": {"n_startup": 5}}}},
            "'n_startup' is not a known argument; did you mean 'n_startup_trials'",
        ),
        (
            {"train": {"loggers": ["lightning.pytorch.loggers:CometLogger"]}},
            "'CometLogger' needs comet_ml, which is not",
        ),
    ],
)
def test_samplers_and_loggers_are_checked_before_anything_runs(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    sweep = sweep_of(tmp_path, content)
    with pytest.raises(SweepError, match=message):
        check_sweep(sweep)
    with pytest.raises(SweepError, match=message):
        run_sweep(sweep)
    assert not sweep.files.latency.exists() and not sweep.files.training.exists()


def test_a_user_supplied_sampler_is_made_by_a_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strict_sampler.py").write_text(
        "from optuna.samplers import RandomSampler\n"
        "class Strict(RandomSampler):\n"
        "    def __init__(self, strength=1):\n"
        "        raise ValueError('strength must be less')\n"
    )
    sweep = sweep_of(tmp_path, {"search": {"sampler": "strict_sampler:Strict"}})
    check_sweep(sweep)
    check_sampler(sweep_of(tmp_path, {"search": {"sampler": "RandomSampler"}}))
    assert capfd.readouterr().err == "", "Optuna is to be silent"
    assert "strict_sampler" not in sys.modules
    with pytest.raises(SweepError, match="refused by Strict for 2 .*: strength must be less"):
        run_sweep(sweep)
    assert not sweep.files.latency.exists()


def test_threads_are_refused_by_a_run_here_and_told_by_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    sweep = sweep_of(tmp_path, {"latency": {"threads": 64}})
    check_sweep(sweep)  # the run may be on another machine
    assert "on this machine, latency.threads must be at most 2" in capsys.readouterr().err
    with pytest.raises(SweepError, match=r"tiny\.yaml: latency\.threads must be at most 2, .* but is 64"):
        check_classes(sweep, ["export"])
    check_classes(sweep, ["train"])  # which times nothing
    elsewhere = sweep_of(tmp_path, {"latency": {"threads": 64, "resource": "phone"}})
    check_sweep(elsewhere)
    check_classes(elsewhere, ["export"])
    assert not capsys.readouterr().err
