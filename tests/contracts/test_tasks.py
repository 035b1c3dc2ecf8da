"""The contract of every task, registered or user-supplied by import path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import space
from optuna.trial import TrialState
from searches import CHEAP, Run
from task_spaces import SPACES
from tiny_sweep import sweep

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.space.cost_model import check_budget
from ffnet_search.space.input import Input
from ffnet_search.space.registry import TASKS, TrunkStage
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.scores import Scores

TARGETS = {  # of 12 images with 4 outputs
    "classification": torch.arange(12) % 4,
    "segmentation": torch.arange(12 * 16).reshape(12, 4, 4).sin().mul(8).long().remainder(4).byte(),
    "multilabel": torch.arange(12 * 4).reshape(12, 4).sin().gt(0).float(),
    "regression": torch.rand(12, 4, generator=torch.Generator().manual_seed(2)),
    "super_resolution": torch.arange(12 * 3 * 256).reshape(12, 3, 16, 16).sin().mul(127).add(128).byte(),
    "user_task:Regression": torch.rand(12, 4, generator=torch.Generator().manual_seed(1)),
}
SHAPES = {"segmentation": (12, 4, 2, 2), "super_resolution": (12, 3, 16, 16)}  # of outputs, where they are no (12, 4)
TASK = pytest.mark.parametrize("name", TARGETS)


def outputs(name: str, seed: int = 0) -> torch.Tensor:
    return torch.randn(SHAPES.get(name, (12, 4)), generator=torch.Generator().manual_seed(seed))


def measure(name: str, output: torch.Tensor, target: torch.Tensor) -> float:
    metric = find_task(name).quality_metric(4)
    metric.update(output, target)
    return float(metric.compute())


def test_every_registered_task_is_tested_here() -> None:
    assert set(TASKS) <= set(TARGETS)


@TASK
def test_losses_are_scalars_with_gradients(name: str) -> None:
    task, output = find_task(name), outputs(name).requires_grad_()
    for loss in (
        task.loss(output, TARGETS[name], 0.1),
        task.distillation_loss(output, task.soft_target(outputs(name, 1))),
    ):
        (gradient,) = torch.autograd.grad(loss, output)
        assert loss.shape == () and gradient.abs().sum() > 0


@TASK
def test_a_teacher_has_no_gradient_and_no_distance_from_itself(name: str) -> None:
    task, output = find_task(name), outputs(name).requires_grad_()
    soft_target = task.soft_target(output)
    assert not soft_target.requires_grad
    distance = task.distillation_loss(output, soft_target)
    (gradient,) = torch.autograd.grad(distance, output)
    assert gradient.abs().max() < 1e-6
    assert task.distillation_loss(outputs(name, 1), soft_target) > distance


@TASK
def test_the_quality_of_batches_is_that_of_the_whole(name: str) -> None:
    metric = find_task(name).quality_metric(4)
    for start in range(0, 12, 5):
        metric.update(outputs(name)[start : start + 5], TARGETS[name][start : start + 5])
    assert float(metric.compute()) == pytest.approx(measure(name, outputs(name), TARGETS[name]), abs=1e-6)


@TASK
def test_scores_per_image_give_the_quality_its_error_and_a_paired_test(name: str) -> None:
    task, target = find_task(name), TARGETS[name]
    mine, others = (
        Scores.gathered(task, [task.scores(output[at : at + 5], target[at : at + 5], 4).numpy() for at in (0, 5, 10)])
        for output in (outputs(name), outputs(name, 1))
    )
    assert mine.images == 12 and mine.values_NS.dtype == np.float64
    assert mine.quality == pytest.approx(measure(name, outputs(name), target), abs=1e-6)
    assert 0 < mine.error < 1
    assert mine.p_value(mine) == 1.0 and mine.p_value(others) == pytest.approx(others.p_value(mine))


@TASK
def test_the_quality_has_a_direction(name: str) -> None:
    """A step down the loss improves the quality."""
    task, output = find_task(name), outputs(name).requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(output, TARGETS[name], 0.0), output)
    before, after = (
        task.quality.sign * measure(name, at.detach(), TARGETS[name])
        for at in (output, output - gradient / gradient.abs().max())
    )
    assert after < before


@TASK
def test_targets_are_checked_and_stratified(name: str) -> None:
    task = find_task(name)
    assert task.accepts(TARGETS[name]) and not task.accepts(TARGETS[name].to(torch.float64))
    strata_N = task.strata(TARGETS[name].numpy())
    assert strata_N.shape == (12,) and strata_N.dtype == np.int64 and strata_N.min() >= 0


@TASK
def test_words_and_keys_are_complete(name: str) -> None:
    task = find_task(name)
    quality = task.quality.name
    assert (task.search_quality, task.test_quality, task.logged_quality) == (
        f"search_{quality}", f"test_{quality}", f"val_{quality}",
    )  # fmt: skip
    assert task.name == name
    assert all(
        (task.outputs_word, task.output_name, task.hub_task, task.quality_name, task.head_words, task.target_words)
    )


@TASK
def test_a_head_has_parts(name: str) -> None:
    task = find_task(name)
    *_, last = task.head_parts(TrunkStage(16, 2), Input(3, 8, 4, name), task.head_choices())
    assert last.costs.macs > 0 and last.costs.params > 0


@pytest.mark.parametrize("name", TASKS)
def test_limits_are_known_before_evaluation(name: str, tmp_path: Path) -> None:
    """What is beyond a limit is never evaluated; one that no network keeps is refused with the least."""
    run = Run(tmp_path, space=SPACES[name])
    limit = (run.space.smallest.macs_m * run.space.largest.macs_m) ** 0.5
    found = run.search(trials=6, constraints={"macs_m": limit, "latency_ms": limit / 100})
    assert len(found) == 6 and all(one.network.macs_m <= limit for one in found)
    beyond = {trial.user_attrs["key"] for trial in run.trials(TrialState.PRUNED)}
    assert run.space.largest.key in beyond and not beyond & set(run.evaluated)
    for metric in ("latency_ms", "macs_m", "params_m", "peak_memory_mb"):
        with pytest.raises(SweepError, match=rf"search\.constraints\.{metric} must be >= \S+, the least"):
            check_budget(run.space, CHEAP, {metric: 1e-9})


def test_classification_measures_the_share_of_right_labels() -> None:
    assert measure("classification", torch.eye(4), torch.tensor([0, 1, 2, 0])) == 0.75


def test_an_unknown_task_is_one_sentence() -> None:
    with pytest.raises(
        SweepError,
        match=r"task must be one of classification, .*, super_resolution or .*did you mean 'classification'",
    ):
        find_task("clasification")
    with pytest.raises(SweepError, match=r"task: 'user_task:Nothing' must name a Task, but Nothing does not exist"):
        find_task("user_task:Nothing")


def test_the_losses_of_a_search_space_come_from_its_task() -> None:
    from ffnet_search.tasks.base import task_of

    assert task_of(space("ffnet_digits").images).name == "classification"


@pytest.mark.parametrize(
    ("fields", "searched"),
    [
        ({"train": {"mixup": 0.2}}, {}),
        ({"train": {"cutmix": 1.0}}, {}),
        ({"search": {"evaluator": "train"}}, {"mixup": [0.0, 0.2]}),
        ({"search": {"evaluator": "train"}}, {"cutmix": [0.0, 0.2]}),
    ],
)
def test_mixing_is_refused_where_targets_do_not_mix(
    fields: dict[str, Any], searched: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(searched or fields["train"]))
    content = sweep(tmp_path).model_dump() | fields
    content["search_space"]["hyperparameters"] = searched
    Sweep.from_content(content, Path("s.yaml"))
    monkeypatch.setattr(type(find_task("classification")), "mixes", False)
    with pytest.raises(SweepError, match=rf"s.yaml: train.{name} must be left out .* whose targets do not mix"):
        Sweep.from_content(content, Path("s.yaml"))
    monkeypatch.undo()
    monkeypatch.setattr(type(find_task("classification")), "cuts", find_task("regression").cuts)
    if name == "mixup":
        Sweep.from_content(content, Path("s.yaml"))
    else:
        with pytest.raises(SweepError, match=r"train.cutmix must be left out .* are no share of the area"):
            Sweep.from_content(content, Path("s.yaml"))
