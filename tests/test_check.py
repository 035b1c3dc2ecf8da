"""A check refuses what a run would refuse, without running anything and without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.run.check import check_sampler, check_sweep
from ffnet_search.run.pipeline import run_sweep

ROOT = Path(__file__).parents[1]
SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stages": [{"depth": [1, 2], "width": [16, 32], "token_kernel": [3, 5]}],
}
ABSENT = "no_such_package:Class"


def sweep_of(folder: Path, content: dict[str, Any]) -> Sweep:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({"search_space": SPACE, "runs": str(folder / "runs"), **content}))
    return Sweep.from_yaml(file)


def test_a_good_sweep_passes_and_leaves_no_file(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {})
    check_sweep(sweep)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("engine", ["local", "ray", "tune"])
def test_nothing_heavy_is_loaded(tmp_path: Path, engine: str) -> None:
    sweep = sweep_of(tmp_path, {"search": {"engine": engine}})
    code = (
        "import sys; from ffnet_search import Sweep, check; check(Sweep.from_yaml(sys.argv[1]))\n"
        "print({'torch', 'lightning', 'optuna', 'ray', 'sklearn', 'scipy'} & sys.modules.keys())"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(sweep.path)], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout == "set()\n", ran.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"search": {"engine": "locale"}}, "search.engine must be one of local, .*; did you mean 'local'"),
        ({"search": {"engine": ABSENT}}, "search.engine: .* there is no module 'no_such_package'"),
        ({"search": {"sampler": {"class_path": ABSENT}}}, "search.sampler.class_path: .* there is no module"),
        ({"latency": {"backend": "onnxruntim"}}, "latency.backend must be one of .* did you mean 'onnxruntime'"),
        ({"data": {"name": "digit"}}, "data.name .*'digit'.* did you mean 'digits'"),
        ({"data": {"name": ABSENT}}, "data.name: .* there is no module"),
        ({"train": {"callbacks": [ABSENT]}}, "train.callbacks.0.class_path: .* there is no module"),
        ({"train": {"loggers": [ABSENT]}}, "train.loggers.0.class_path: .* there is no module"),
        ({"latency": {"backend": ABSENT}}, "latency.0.backend: .* there is no module"),
        ({"search": {"constraints": {"params_m": 1e-4}}}, "search.constraints.params_m must be >= 0.00"),
    ],
)  # fmt: skip
def test_what_a_run_would_refuse_is_one_sentence(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    sweep = sweep_of(tmp_path, content)
    with pytest.raises(SweepError, match=message) as caught:
        check_sweep(sweep)
    assert str(caught.value).startswith(f"{sweep.path}: ")
    assert "\n" not in str(caught.value)


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
    carried = {"search_space": SPACE, "data": {"name": "cifar10", "path": "on/the/cluster"}}
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
