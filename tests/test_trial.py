"""Trials that train: FFNets and user-supplied modules, failing ones, and repeated ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from training_steps import ObservedStep, assert_trained
from trial_runs import always, configuration_of
from trial_sweeps import NET, sweep_of

from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.config.warm_start import trial_epochs, trial_sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.factory import EvaluatorFactory
from ffnet_search.evaluation.ffnet_target import trial_seed
from ffnet_search.evaluation.judge import quality
from ffnet_search.evaluation.outcome import Failed, NopPruner, Stopped, run_safely
from ffnet_search.evaluation.trained import WEIGHTS, TrialEvaluator
from ffnet_search.export.network import load
from ffnet_search.models.deployed import fuse
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.rerun import changes, rerun
from ffnet_search.run.stages import plan
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data, train_supernet

STAGES = [{"depth": 1, "width": [8, 16], "token_kernel": 3}, {"depth": 1, "width": 16, "token_kernel": 3}]
ELASTIC = {"input": NET["input"], "stem": {"width": 8, "stride": 2}, "stages": STAGES}
CLASSIFICATION = find_task("classification")


def test_a_trial_trains_reports_and_keeps_its_weights(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01, 0.02], "batch_size": [64, 128], "ema": [0.0, 0.9]})
    evaluate = TrialEvaluator(sweep)
    configuration = configuration_of(sweep, learning_rate=0.02, batch_size=64, ema=0.9)
    reports: dict[int, Mapping[str, float]] = {}

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        reports[epoch] = metrics
        assert (sweep.files.trials / configuration.key / LAST_CHECKPOINT).exists()
        return True

    found = evaluate(configuration, report)
    assert isinstance(found, Candidate)
    assert found.configuration == configuration
    assert list(reports) == [1, 2]  # the candidate tells of the last
    assert reports[1]["accuracy"] < reports[2]["accuracy"]
    assert found.metrics["accuracy"] > 0.8
    resolved = found.record["resolved"]
    assert (resolved["train"]["learning_rate"], resolved["train"]["ema"]) == (0.02, 0.9)
    assert (resolved["data"]["batch_size"], found.record["epochs"]) == (64, 3)
    assert found.record["seed"] == trial_seed(0, configuration.key)
    assert found.record["data"] == sweep_data(sweep).fingerprint
    json.dumps(found.record)
    # The accuracy is that of the fused network that is kept, and the checkpoint has gone.
    net, data = evaluate.network(found), sweep_data(sweep)
    assert quality(fuse(net), data.val_dataloader(), CLASSIFICATION) == pytest.approx(
        found.metrics["accuracy"], abs=1e-6
    )
    assert [path.name for path in sorted((sweep.files.trials / configuration.key).iterdir())] == ["logs", WEIGHTS] or (
        sweep.files.trials / configuration.key / "tensorboard"
    ).exists()
    again = evaluate.train(configuration, always, tmp_path / "again")
    assert isinstance(again, Candidate)
    assert again.metrics == found.metrics


def test_a_killed_trial_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01]})
    evaluate, configuration = TrialEvaluator(sweep), configuration_of(sweep, learning_rate=0.01)
    whole = evaluate.train(configuration, always, tmp_path / "whole")

    def kill(epoch: int, metrics: Mapping[str, float]) -> bool:
        if epoch == 1:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        evaluate(configuration, kill)
    epochs: list[int] = []
    resumed = TrialEvaluator(sweep)(configuration, lambda epoch, metrics: not epochs.append(epoch))  # type: ignore[func-returns-value]
    assert isinstance(resumed, Candidate)
    assert isinstance(whole, Candidate)
    assert epochs == [2]  # and the last, of which the candidate tells
    assert resumed.metrics == whole.metrics


def test_who_is_told_to_stop_stops_but_not_after_the_last_epoch(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01]})
    evaluate, configuration = TrialEvaluator(sweep), configuration_of(sweep, learning_rate=0.01)
    found = evaluate(configuration, lambda epoch, metrics: epoch < 2)
    assert isinstance(found, Stopped)
    assert found.epochs == 2
    assert 0 < found.metrics["accuracy"] < 1
    assert not (sweep.files.trials / configuration.key / LAST_CHECKPOINT).exists()
    assert isinstance(evaluate(configuration, lambda epoch, metrics: epoch < 3), Candidate)


def test_a_warm_start_is_better_than_none(tmp_path: Path, steps: list[ObservedStep]) -> None:
    space = {**ELASTIC, "hyperparameters": {"learning_rate": [0.001, 0.002]}}
    search = {"evaluator": "train", "warm_start": True, "trial_epochs": 2}  # reports are of epochs before the last
    sweep = sweep_of(tmp_path, {}, search_space=space, search=search)
    assert list(plan(sweep)) == ["profile", "train", "search", "export"]
    train_supernet(sweep)
    cold = sweep.model_copy(update={"search": sweep.search.model_copy(update={"warm_start": False})})
    assert list(plan(cold)) == ["profile", "search", "export"]
    configuration = Configuration(sweep.search_space.smallest, {"learning_rate": 0.001})
    first: list[float] = []
    for one in (sweep, cold):

        def note(epoch: int, metrics: Mapping[str, float]) -> bool:
            first.append(metrics["accuracy"])
            return False

        TrialEvaluator(one)(configuration, note)
    warm, scratch = first
    assert warm > scratch + 0.2
    assert_trained(steps)  # the supernet, the warm start (which was recalibrated before) and the cold one


@pytest.mark.parametrize(("epochs", "given", "wanted"), [(8, None, 4), (1, None, 1), (8, 3, 3)])
def test_a_warm_start_trains_half_of_the_supernet_s_epochs(
    tmp_path: Path, epochs: int, given: int | None, wanted: int
) -> None:
    search = {"evaluator": "train", "warm_start": True, "trial_epochs": given}
    sweep = sweep_of(tmp_path, {}, search_space=ELASTIC, search=search, train={"epochs": epochs})
    assert trial_sweep(sweep).train.epochs == trial_epochs(sweep) == wanted
    cold = {"evaluator": "train", "trial_epochs": given}
    if given is None:
        assert trial_epochs(sweep_of(tmp_path, {}, search_space=ELASTIC, search=cold, train={"epochs": 8})) == 8
        return
    with pytest.raises(SweepError, match=r"search.trial_epochs must be left out where trials do not start from a sup"):
        sweep_of(tmp_path, {}, search_space=ELASTIC, search=cold)
    searched = {**ELASTIC, "hyperparameters": {"epochs": [1, 2]}}
    with pytest.raises(SweepError, match=r"search.trial_epochs must be left out where hyperparameters has the epochs"):
        sweep_of(tmp_path, {}, search_space=searched, search=search)


def broken(name: str) -> dict[str, Any]:
    return {"class_path": f"test_trial:{name}"}


class OutOfMemory(__import__("lightning").Callback):  # type: ignore[misc]
    """What a GPU does that is too small."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_bad_trial_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01, 1e30]}, train={"epochs": 2, "clip_norm": 1e30})
    found = run_safely(TrialEvaluator(sweep), configuration_of(sweep, learning_rate=1e30), NopPruner())
    assert isinstance(found, Failed)
    assert "NonFiniteLoss: loss or gradient is not finite" in found.reason
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01]}, train={"epochs": 2, "callbacks": [broken("OutOfMemory")]})
    found = run_safely(TrialEvaluator(sweep), configuration_of(sweep, learning_rate=0.01), NopPruner())
    assert isinstance(found, Failed)
    assert found.reason.startswith("OutOfMemoryError: CUDA out of memory")
    assert "on_train_batch_start" in found.traceback


def test_hpo_of_an_ffnet_ends_in_networks_and_each_trial_repeats(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path, {"learning_rate": {"low": 1e-3, "high": 3e-2, "log": True}, "optimizer": ["adamw", "sgd"]}
    )
    (pick,) = run_sweep(sweep)
    assert pick.metrics["test_accuracy"] > 0.6
    assert {"model.onnx", "card.json", "architecture.yaml", "README.md"} <= {p.name for p in pick.folder.iterdir()}
    card = json.loads((pick.folder / "card.json").read_text())
    assert card["hyperparameters"] == dict(pick.hyperparameters)
    assert card["training"]["seed"] == trial_seed(0, pick.key)
    assert card["training"]["data"] == card["data"]["fingerprint"]
    data = sweep_data(sweep)
    assert quality(load(pick.folder), data.test_dataloader(), CLASSIFICATION) == pytest.approx(
        pick.metrics["test_accuracy"], abs=1e-6
    )
    before = {path: path.read_bytes() for path in sorted(sweep.files.folder.rglob("*")) if path.is_file()}
    for number in ("0", "3"):
        found = rerun(sweep.files.folder, number)
        assert all(then == now for then, now in found.metrics.values()), found
        assert "accuracy" in found.metrics
        assert found.changed == ()
    assert {path: path.read_bytes() for path in sorted(sweep.files.folder.rglob("*")) if path.is_file()} == before
    assert run_sweep(sweep) == [pick]  # all is done
    with pytest.raises(SweepError, match=r"has no stage train, since its search needs search and export"):
        run_sweep(sweep, stages=("train",))
    with pytest.raises(SweepError, match=r"has no trial '17'; give a number below 4, or a key"):
        rerun(sweep.files.folder, "17")


def test_a_record_without_versions_has_other_differences() -> None:
    before, now = {"seed": 0, "data": "a", "git": "b"}, {"seed": 1, "data": "a", "git": "b", "versions": {}}
    assert list(changes(before, now)) == ["seed (0 then, 1 now)"]


def test_a_mistake_in_the_data_is_seen_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"hyperparameters: data.augment.cutout must be < 8"):
        TrialEvaluator(sweep_of(tmp_path, {"cutout": [0, 8]}))


def test_the_evaluator_travels_without_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    sweep = sweep_of(tmp_path, {"learning_rate": [0.01]}, runs="runs", train={"epochs": 1})
    there = pickle.loads(pickle.dumps(EvaluatorFactory(sweep)))  # noqa: S301 (of this test)
    monkeypatch.chdir("/")
    found = there()(configuration_of(sweep, learning_rate=0.01), always)
    assert isinstance(found, Candidate)
    assert (tmp_path / "runs" / "s" / "trials" / found.key / WEIGHTS).exists()
