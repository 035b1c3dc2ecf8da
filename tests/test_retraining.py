"""One network retrained: from inherited or new weights, by labels and a teacher; the settings and their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from networks import images
from retraining_sweep import EPOCHS, SupernetRun, retraining_in, write_sweep

from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.schema import TrainSection
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.retrained import RetrainingTarget, retraining_sweep
from ffnet_search.export.retraining.retrain import retrain
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.training.losses import Distillation
from ffnet_search.training.modules import Standalone

TASK = find_task("classification")


@pytest.mark.parametrize("start", ["inherited", "scratch"])
def test_from_scratch_nothing_is_inherited(run_copy: SupernetRun, tmp_path: Path, start: str) -> None:
    sweep = write_sweep(tmp_path, export={"retrain": {"epochs": 1, "from": start}})
    arch, trial = sweep.search_space.smallest, retraining_sweep(sweep, tmp_path / "retrained")
    target = RetrainingTarget(trial, retraining_in(sweep), sweep.files.supernet)
    module = target.module(trial, Configuration(arch))
    assert module.distillation is None
    sliced = dict(Evaluator.from_sweep(sweep).net.slice_to(arch).named_parameters())
    convolutions = {name: one for name, one in module.net.named_parameters() if one.ndim == 4}
    same = {torch.equal(one.cpu(), sliced[name].cpu()) for name, one in convolutions.items()}
    assert same == {start == "inherited"}


def test_a_taught_step_is_the_sum_of_two_losses(supernet_run: SupernetRun) -> None:
    space, share = supernet_run.sweep.search_space, 0.3
    torch.manual_seed(0)
    teacher, net = MetaMixer(space.largest).eval(), MetaMixer(space.smallest)
    student = Standalone(net, TrainSection(), 0, Distillation(teacher, share))
    assert not any(name.startswith("distillation") for name in student.state_dict())
    student.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
    x_BCHW, label_B = images(space, 16), torch.arange(16) % 10
    student.learn([(x_BCHW, label_B)], 0, lambda loss: None)
    found = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    net.zero_grad()
    output_BK = net(x_BCHW)
    target_BK = teacher(x_BCHW).softmax(-1)
    distance = (target_BK * (target_BK.log() - output_BK.log_softmax(-1))).sum(-1).mean()
    ((1 - share) * TASK.loss(output_BK, label_B, 0.1) + share * distance).backward()
    expected = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (EPOCHS, 3)),
        ({"export": {}}, (1, 8)),  # half of the supernet's epochs, as many networks as are exported
        ({"export": {"top": 3, "retrain": {"candidates": 2}}}, (1, 3)),
        ({"export": {"retrain": {"epochs": 0}}}, None),
        ({"export": {}, "search": {"evaluator": "train"}}, None),
        ({"export": {"retrain": {"epochs": 5, "from": "scratch"}}, "search": {"evaluator": "train"}}, (5, 8)),
        ({"export": {"retrain": {"epochs": 5}}, "search": {"evaluator": "train", "warm_start": True}}, (5, 8)),
    ],
)
def test_the_defaults_of_retraining(tmp_path: Path, changed: dict[str, Any], expected: tuple[int, int] | None) -> None:
    retraining = retraining_of(write_sweep(tmp_path, **changed))
    assert (retraining and (retraining.epochs, retraining.candidates)) == expected
    if retraining is not None and changed.get("search", {}).get("evaluator") == "train":
        assert retraining.is_inherited == ("warm_start" in changed["search"])


@pytest.mark.parametrize(
    ("options", "expected"),  # of the largest network, one of a quarter of its MACs, and one of a hundredth
    [
        ({"epochs": 6}, (6, 12, 18)),
        ({"epochs": 6, "max_epochs": 9}, (6, 9, 9)),
        ({"epochs": 6, "max_epochs": 6}, (6, 6, 6)),
        ({"epochs": 6, "max_epochs": 100}, (6, 12, 60)),
        ({"epochs": 6, "from": "scratch"}, (6, 6, 6)),
        ({"epochs": 6, "from": "scratch", "max_epochs": 12}, (6, 12, 12)),
    ],
)
def test_smaller_networks_are_retrained_for_more_epochs(
    tmp_path: Path, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    retraining = retraining_in(write_sweep(tmp_path, export={"retrain": options}))
    whole = retraining.largest_macs_m
    assert tuple(retraining.epochs_for(macs_m) for macs_m in (whole, whole / 4, whole / 100)) == expected
    words = f"{expected[0]} epochs" if len(set(expected)) == 1 else f"{expected[0]} to {retraining.max_epochs} epochs"
    assert str(retraining).startswith(words)


def test_each_network_trains_for_its_own_epochs(run_copy: SupernetRun, tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, export={"retrain": {"epochs": 4}})
    ends = [sweep.search_space.smallest, sweep.search_space.largest]
    candidates = [one for one in run_copy.candidates if one.architecture in ends]
    retraining = retraining_in(sweep)
    retrained = retrain(sweep, candidates, retraining)
    epochs = {one.network.macs_m: one.record["epochs"] for one in retrained.values()}
    assert epochs == {macs_m: retraining.epochs_for(macs_m) for macs_m in epochs}
    assert min(epochs.values()) == 4 < max(epochs.values())


def test_the_longest_retraining_is_no_shorter_than_that_of_the_largest(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"export.retrain.max_epochs must be >= epochs, 6, .* but got 3"):
        write_sweep(tmp_path, export={"retrain": {"epochs": 6, "max_epochs": 3}})


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("export.retrain.distil", {"export": {"retrain": {"epochs": 1, "from": "scratch", "distil": 0.5}}}),
        ("export.retrain.rate", {"export": {"retrain": {"rate": 0.5}}}),
        ("export.retrain.max_epochs", {"export": {"retrain": {"max_epochs": 9}}}),
        ("export.retrain.candidates", {"export": {"retrain": {"candidates": 9}}}),
        ("train.minutes", {"train": {"minutes": 1}}),
        ("train.devices", {"train": {"devices": 2}}),
        ("train.sampled", {"train": {"sampled": 3}}),
        ("train.labels", {"train": {"labels": 0.2}}),
    ],
)
def test_settings_without_effect_are_refused(field: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Where trials train without a supernet; with one they have an effect."""
    changes = {"export": {}, **changes}
    write_sweep(tmp_path, **changes)
    with pytest.raises(SweepError, match=f"{field} must be left out where"):
        write_sweep(tmp_path, **{**changes, "search": {"evaluator": "train"}})
