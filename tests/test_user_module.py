"""Trials of user-supplied modules: from a sweep to a front, interrupted ones, callbacks and loggers, and mistakes."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from own_network import Curve
from trial_runs import always, configuration_of
from trial_sweeps import own_sweep, sweep_of

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.exported import read_exported
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.plugins import check_arguments, find_class
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.rerun import rerun
from ffnet_search.run.stages import plan
from ffnet_search.search.history import read_history
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.trainer import make_loggers


def test_a_killed_trial_of_ones_own_network_draws_as_one_that_is_not(tmp_path: Path) -> None:
    """Its loader shuffles, and its network drops, by torch's generator."""
    sweep = own_sweep(tmp_path, {"module.hidden": [8]}, module={"class_path": "own_network:Dropping"})
    evaluate, configuration = TrialEvaluator(sweep), configuration_of(sweep, **{"module.hidden": 8})
    told: dict[str, list[Mapping[str, float]]] = {"whole": [], "parts": []}

    def report(name: str) -> Any:
        return lambda epoch, metrics: not told[name].append(metrics)  # type: ignore[func-returns-value]

    whole = evaluate.train(configuration, report("whole"), tmp_path / "whole")
    for end in (1, 3, None):
        parts = TrialEvaluator(sweep).train(configuration, report("parts"), tmp_path / "parts", until_epoch=end)
    assert isinstance(whole, Candidate) and isinstance(parts, Candidate)
    assert parts.metrics["val_loss"] == whole.metrics["val_loss"]
    assert len({metrics["val_loss"] for metrics in told["whole"]}) == 3


@pytest.mark.slow
def test_a_sweep_over_ones_own_network_ends_in_a_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {
        "module.hidden": {"low": 4, "high": 64, "log": True},
        "module.rate": {"choices": [0.003, 0.03, 5.0, 1.0]},  # 5.0: no memory, 1.0: not a number
        "module.act": ["relu", "tanh"],
        "data.init_args.batch_size": [16, 64],
        "epochs": {"low": 2, "high": 4},
    }
    sweep = own_sweep(tmp_path, names, search={
        "evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss", "latency_ms"],
        "trials": 14, "sampler": {"class_path": "RandomSampler", "init_args": {}},
    })  # fmt: skip
    assert list(plan(sweep)) == ["search", "export"]
    picks = run_sweep(sweep)
    assert picks
    assert read_exported(sweep.files.pareto) == picks
    objectives = [sweep.search.metric(name) for name in sweep.search.objectives]
    history = read_history(sweep.files.study, sweep.search_space, objectives)
    reasons = {reason.split(":")[0] for _, reason in history.failures}
    assert reasons <= {"MemoryError", "NonFiniteLoss"}
    assert {"MemoryError"} <= reasons
    assert len(history.evaluated) + len(history.failures) == 14
    for candidate in history.evaluated:
        assert candidate.architecture is None
        assert candidate.metrics.keys() == {"val_loss", "latency_ms", "params_m"}
        hidden = candidate.hyperparameters["module.hidden"]
        assert candidate.metrics["params_m"] == pytest.approx((3 * int(str(hidden)) + 1) / 1e6)
    for pick in picks:
        assert {path.name for path in pick.folder.iterdir()} == {"card.json", "model.ckpt", "model.onnx"}
        net = Curve.load_from_checkpoint(pick.folder / "model.ckpt", weights_only=False)
        assert net.hparams["hidden"] == pick.hyperparameters["module.hidden"]
        assert "test_loss" in pick.metrics
        card = json.loads((pick.folder / "card.json").read_text())
        assert card["training"]["resolved"]["module"]["init_args"]["hidden"] == net.hparams["hidden"]
    html = sweep.files.report.read_text()
    assert picks[0].key in html
    assert "module.hidden" in html
    assert sweep.files.front_png.stat().st_size > 1000
    with sweep.files.candidates.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["state"] for row in rows} == {"evaluated", "failed"}
    again = rerun(sweep.files.folder, picks[0].key)
    assert again.metrics["val_loss"][0] == again.metrics["val_loss"][1]


def test_mistakes_in_ones_own_module_are_one_sentence(tmp_path: Path) -> None:
    for change, message in (
        ({"module": {"class_path": "own_network:Curv"}}, "must name a LightningModule, but Curv does not exist; did you mean 'Curve'"),  # noqa: E501
        ({"module": {"class_path": "own_netwrok:Curve"}}, "there is no module 'own_netwrok' to import"),
        ({"module": {"class_path": "own_network:Curve", "init_args": {"hide": 3}}}, "module.init_args must fit .*did you mean 'hid"),  # noqa: E501
        ({"data": {"name": "own_network:Points", "init_args": {"n": 3}}}, "data.init_args must fit Points"),
        ({"search_space": {"hyperparameters": {"module.hiddn": [3]}}}, "did you mean 'hidden'"),
    ):  # fmt: skip
        with pytest.raises(SweepError, match=message):
            TrialEvaluator(own_sweep(tmp_path, {"module.hidden": [4]}, **change))
    silent = own_sweep(tmp_path, {"module.hidden": [4]}, module={"class_path": "own_network:Silent"})
    with pytest.raises(SweepError, match="must be logged by Silent in .*, but it logs nothing; call self.log in its"):
        TrialEvaluator(silent)(Configuration(None, {"module.hidden": 4}), always)


def test_a_trial_that_resumes_after_its_last_epoch_is_validated_without_warnings(tmp_path: Path) -> None:
    sweep = own_sweep(tmp_path, {"module.hidden": [8]}, train={"epochs": 1})
    evaluate, configuration = TrialEvaluator(sweep), configuration_of(sweep, **{"module.hidden": 8})
    whole = evaluate.train(configuration, always, tmp_path / "whole")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        again = evaluate.train(configuration, always, tmp_path / "whole")
    assert isinstance(whole, Candidate) and isinstance(again, Candidate)
    assert again.metrics["val_loss"] == whole.metrics["val_loss"]
    assert not [one.message for one in said if "lightning" in one.filename], "Lightning's notes are silenced"


@pytest.mark.parametrize("kind", ["none", "no", "others"])
def test_a_module_that_nothing_would_train_is_refused(tmp_path: Path, kind: str) -> None:
    sweep = own_sweep(tmp_path, {"module.kind": [kind]}, module="own_network:Idle", train={"epochs": 1})
    with pytest.raises(SweepError, match=r"own.yaml: module.class_path: configure_optimizers of Idle must return an"):
        TrialEvaluator(sweep)(configuration_of(sweep, **{"module.kind": kind}), always)


def test_a_module_may_optimise_by_itself_or_have_nothing_to_train(tmp_path: Path) -> None:
    for module in ("own_network:ByHand", "own_network:Constant"):
        sweep = own_sweep(tmp_path, {"module.kind": ["none"]}, module=module, train={"epochs": 1})
        found = TrialEvaluator(sweep)(configuration_of(sweep, **{"module.kind": "none"}), always)
        assert isinstance(found, Candidate) and found.metrics["val_loss"] < 1


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"callbacks": [{"class_path": "lightning.pytorch.callbacks:EarlyStoping"}]}, "did you mean 'EarlyStopping'"),
        ({"callbacks": [{"class_path": "lightning.callback:X"}]}, "there is no module 'lightning.callback' to import"),
        ({"callbacks": [{"class_path": "lightning.pytorch.callbacks:EarlyStopping"}]},
         r"train.callbacks.0.init_args must fit EarlyStopping.*missing a required argument: 'monitor'"),
        ({"loggers": [{"class_path": "lightning.pytorch.loggers:CSVLogger", "init_args": {"nam": "x"}}]},
         r"train.loggers.0.init_args must fit CSVLogger.*did you mean 'name'"),
        ({"loggers": [{"class_path": "lightning.pytorch.callbacks:EarlyStopping"}]}, "must name a Logger, but Early"),
    ],
)  # fmt: skip
def test_a_bad_plugin_is_one_sentence(tmp_path: Path, train: dict[str, Any], message: str) -> None:
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01]}, train={"epochs": 1, **train})
    with pytest.raises(SweepError, match=message):
        TrialEvaluator(sweep)(configuration_of(sweep, learning_rate=0.01), always)


def test_lightnings_own_callbacks_and_loggers_take_part(tmp_path: Path) -> None:
    stopping = {"monitor": "val_accuracy", "mode": "max", "stopping_threshold": 0.0}  # at once
    train = {
        "epochs": 3,
        "callbacks": [{"class_path": "lightning.pytorch.callbacks:EarlyStopping", "init_args": stopping}],
        "loggers": [{"class_path": "lightning.pytorch.loggers:CSVLogger", "init_args": {"name": "mine"}}],
    }
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01]}, train=train)
    found = TrialEvaluator(sweep)(configuration_of(sweep, learning_rate=0.01), always)
    assert isinstance(found, Candidate)  # stopped by its own recipe, it is whole
    assert found.record["epochs"] == 1
    folder = sweep.files.trials / found.key
    assert list(folder.glob("mine/version_0/metrics.csv"))
    assert len(make_loggers(sweep.train, folder)) >= 2


def test_what_is_imported_must_be_of_its_kind() -> None:
    assert find_class("own_network:Curve", "x", Curve) is Curve
    check_arguments(Curve, {"hidden": 3}, "x")
