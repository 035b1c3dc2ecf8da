"""Regression and multi-label classification: losses, qualities, heads in every form, hand-over, and a user's module."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from exported import write_folder
from networks import images, run_onnx, supernet
from PIL import Image
from sklearn.metrics import average_precision_score
from tables import COLUMNS, space, table_sweep, write_table
from torch import nn
from torch.nn import functional as F

from ffnet_search.cli.tables.network import print_network
from ffnet_search.config.schema import TrainSection
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.export.details.outputs import WORST, on_test
from ffnet_search.export.exported import read_network
from ffnet_search.export.network import load
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.heads import StandardisedLinear
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.space.architecture import Form
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.average_precision import MeanAveragePrecision
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.ranking import average_precision
from ffnet_search.tasks.scores import Scores
from ffnet_search.training.fit import sweep_data, train_supernet
from ffnet_search.training.losses import Distillation
from ffnet_search.training.modules import Standalone

BOTH = pytest.mark.parametrize("task", ["regression", "multilabel"])


def random_net(task: str, form: Form = Form("none", 0.1)) -> MetaMixer:
    return supernet(space(task), form)


@BOTH
@pytest.mark.parametrize("branches", ["none", "all"])
@torch.no_grad()
def test_elastic_equals_sliced_equals_fused_equals_exported(task: str, branches: str) -> None:
    chosen, rng = space(task), random.Random(0)
    net, x_BCHW = random_net(task, Form(branches, 0.1)), images(chosen, 3)  # type: ignore[arg-type]
    for arch in (chosen.smallest, chosen.largest, *(chosen.sample(rng) for _ in range(6))):
        sliced = net.slice_to(arch)
        fused = fuse(sliced)
        elastic_BK, sliced_BK, fused_BK = net(x_BCHW, arch), sliced(x_BCHW), fused(x_BCHW)
        scale_K = sliced_BK.abs().max(0).values.clamp(min=1)
        assert ((elastic_BK - sliced_BK).abs() / scale_K).max() <= 1e-5
        assert ((sliced_BK - fused_BK).abs() / scale_K).max() <= 1e-5
        assert ((run_onnx(fused, x_BCHW) - fused_BK).abs() / scale_K).max() <= 1e-5


@torch.no_grad()
def test_a_head_gives_targets_in_their_units() -> None:
    net = random_net("regression").slice_to(space("regression").smallest)
    head = net.head
    assert isinstance(head, StandardisedLinear)
    head.set_targets(torch.zeros(2), torch.ones(2))
    x_BCHW = images(space("regression"), 3)
    z_BK = net(x_BCHW)
    mean_K, spread_K = torch.tensor([1990.0, -3.0]), torch.tensor([12.0, 0.01])
    head.set_targets(mean_K, spread_K)
    torch.testing.assert_close(net(x_BCHW), z_BK * spread_K + mean_K)
    torch.testing.assert_close(head.standardised(net(x_BCHW)), z_BK, atol=1e-3, rtol=1e-3)
    copied = net.slice_to(net.largest)
    assert torch.equal(copied(x_BCHW), net(x_BCHW))


def test_losses_are_of_standardised_targets_and_teachers_are_too() -> None:
    net = random_net("regression").slice_to(space("regression").smallest)
    teacher = fuse(random_net("regression").slice_to(space("regression").largest))
    module = Standalone(net, TrainSection(), distillation=Distillation(teacher, 0.25))
    net.head.set_targets(torch.tensor([5.0, 100.0]), torch.tensor([2.0, 50.0]))  # type: ignore[operator]
    x_BCHW, target_BK = images(space("regression"), 4), torch.randn(4, 2) * 30
    loss, output_BK = module.target_loss(x_BCHW, target_BK)
    scale_K = torch.tensor([2.0, 50.0])
    with torch.no_grad():
        away_BK = (teacher(x_BCHW) - output_BK) / scale_K
        expected = 0.75 * F.smooth_l1_loss(output_BK / scale_K, target_BK / scale_K) + 0.25 * (away_BK**2).mean()
    torch.testing.assert_close(loss.detach(), expected)


def test_label_smoothing_draws_towards_one_half() -> None:
    task = find_task("multilabel")
    output_BK, target_BK = torch.randn(5, 3), (torch.rand(5, 3) > 0.5).float()
    expected = nn.BCEWithLogitsLoss()(output_BK, 0.9 * target_BK + 0.05)
    torch.testing.assert_close(task.loss(output_BK, target_BK, 0.1), expected)


def test_average_precision_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for rounding in (1, 20):  # with equal outputs and without
        output_NK, has_NK = np.round(rng.normal(size=(60, 2)), rounding), rng.random((60, 2)) < 0.2
        found_K = average_precision(output_NK, has_NK)
        assert found_K == pytest.approx(average_precision_score(has_NK, output_NK, average=None), abs=1e-9)


def test_labels_that_no_image_has_do_not_count() -> None:
    metric = MeanAveragePrecision()
    has_BK = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 0, 0]])
    metric.update(torch.tensor([[2.0, 0, 0], [1, 3, 2], [3, 0, 1]]), has_BK)
    assert metric.per_label().isnan().tolist() == [False, True, False] and metric.compute() == 1
    metric.reset()
    metric.update(torch.randn(3, 3), torch.zeros(3, 3))
    assert metric.compute() == 0


def test_the_unit_of_a_target_does_not_change_the_quality_of_several() -> None:
    """Of one target the quality is in its unit; of several each counts alike."""
    task, rng = find_task("regression"), np.random.default_rng(0)
    target_NK, output_NK = torch.from_numpy(rng.normal(size=(2, 50, 2))).float()
    unit_K = torch.tensor([1.0, 1000.0])

    def measured(output_NK: torch.Tensor, target_NK: torch.Tensor) -> float:
        metric, outputs = task.quality_metric(target_NK.shape[1]), target_NK.shape[1]
        for at in (0, 20, 40):
            metric.update(output_NK[at : at + 20], target_NK[at : at + 20])
        scores = Scores(task, task.scores(output_NK, target_NK, outputs).double().numpy())
        assert scores.quality == pytest.approx(float(metric.compute())) and scores.is_mean == (outputs == 1)
        return scores.quality

    both = measured(output_NK, target_NK)
    assert measured(output_NK * unit_K, target_NK * unit_K) == pytest.approx(both, rel=1e-4)
    each = [measured(output_NK[:, :1] * unit, target_NK[:, :1] * unit) for unit in (1, 1000)]
    assert each[1] == pytest.approx(1000 * each[0], rel=1e-4) and task.quality_note(1) == ""
    assert measured(output_NK * 0 + 7, target_NK * 0 + 5) == 2, "targets that do not vary"


def test_strata_hold_rare_labels_and_all_sizes() -> None:
    has_NK = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 0]], np.float32)
    assert find_task("multilabel").strata(has_NK).tolist() == [1, 2, 1, 0, 3, 2]
    for count, groups in ((400, 10), (60, 3), (30, 1)):
        strata_N = find_task("regression").strata(np.arange(count, dtype=np.float32)[:, None])
        assert np.bincount(strata_N).tolist() == [count // groups] * groups and (np.diff(strata_N) >= 0).all()
    assert find_task("regression").strata(np.ones((3, 2), np.float32)).tolist() == [0, 0, 0]


def test_outputs_of_a_written_model_may_differ_by_their_size() -> None:
    task = find_task("regression")
    expected = np.array([[1000.0, 0.1], [10.0, 0.2]])
    assert task.difference(expected + np.array([[0.5, 0.0], [0.0, 0.0]]), expected) == pytest.approx(5e-4)
    assert task.difference(expected + np.array([[0.0, 0.0], [0.0, 0.01]]), expected) == pytest.approx(0.01)


def export(folder: Path, task: str, data: Any) -> tuple[dict[str, Any], Deployed]:
    return write_folder(folder, random_net(task).slice_to(space(task).largest), data)


@BOTH
@torch.no_grad()
def test_the_script_prints_what_the_network_gives(task: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", task, 20)
    data = sweep_data(table_sweep(tmp_path / "runs", table, task))
    card, _ = export(tmp_path, task, data)
    files = sorted((tmp_path / "data/shapes").iterdir())[:3]
    code = "import sys, runpy; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    command = [sys.executable, "-c", code, str(tmp_path / "predict.py"), *map(str, files)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    mean, std = np.array(card["input"]["mean"]), np.array(card["input"]["std"])
    for file, line in zip(files, printed, strict=True):
        with Image.open(file) as image:
            pixels_HWC = (np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC), np.float32) - mean) / std
        output_K = load(tmp_path)(torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None].float())[0].tolist()
        if task == "regression":
            assert line == f"{file}: discs {output_K[0]:.4g}, area {output_K[1]:.4g} px"
        else:
            shares = [f"{name} {1 / (1 + np.exp(-z)):.0%}" for name, z in zip(COLUMNS[task], output_K, strict=True)]
            assert line == f"{file}: {', '.join(shares)}"


@BOTH
@torch.no_grad()
def test_details_are_each_output(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "data", task, 40)
    data = sweep_data(table_sweep(tmp_path / "runs", table, task))
    card, fused = export(tmp_path, task, data)
    each = card["details"][find_task(task).each]
    assert list(each) == list(COLUMNS[task])
    found = quality(fused, data.test_dataloader(), find_task(task))
    targets_NK = torch.cat([target_BK for _, target_BK in data.test_dataloader()])
    spread_K = targets_NK.std(0, correction=0).numpy() if task == "regression" else 1
    assert np.mean(np.array(list(each.values())) / spread_K) == pytest.approx(found, rel=1e-5)
    with Image.open(tmp_path / card["details"]["worst"]) as sheet:
        assert sheet.size == (5 * 112 + 4 * 6, 2 * 121 + 2 * 14 * len(COLUMNS[task]) * 2 - 6)
    text = (tmp_path / "README.md").read_text()
    if task == "regression":
        targets = torch.cat([target_BK for _, target_BK in data.test_dataloader()])
        constant = (targets[:, 0] - targets[:, 0].median()).abs().mean()
        assert card["details"]["constant"]["discs"] == pytest.approx(float(constant))
        assert "MAE is the mean over 2 targets of the error of each in its standard deviations" in text
        print_network(read_network(tmp_path))
        assert re.search(rf"discs +{find_task(task).quality.format(each['discs'])} ", shown := capsys.readouterr().out)
        assert "MAE is the mean over 2 targets" in shown
        assert "(the median alone: " in text and "`numbers` | float32" in text and "area \\[px\\]" in text
    else:
        assert f"| ring | {find_task(task).quality.format(each['ring'])} |" in text


@BOTH
@torch.no_grad()
def test_the_worst_images_come_first_with_what_is_wrong(task: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", task, 60, tests=15)
    data = sweep_data(table_sweep(tmp_path / "runs", table, task))
    net = fuse(random_net(task).slice_to(space(task).largest))
    found = on_test(net, data, lambda output_BK, target_BK: (output_BK - target_BK).abs())
    wrong_N = (found.output_NK - found.target_NK).abs().mean(1)
    places = wrong_N.argsort(descending=True)[:WORST].tolist()
    assert len(found.worst) == WORST
    for shown, place in zip(found.worst, places, strict=True):
        assert torch.equal(shown.output_K, found.output_NK[place])
        assert torch.equal(shown.target_K, found.target_NK[place])


@pytest.mark.parametrize("rank", [0, 1])
def test_targets_are_standardised_by_the_whole_train_split_on_every_rank(rank: int, tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", "regression", 60)
    whole = {"name": "picture_table", "path": str(table), "batch_size": 64}  # an epoch of one batch
    data = sweep_data(table_sweep(tmp_path / "runs", table, "regression", data=whole))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)  # type: ignore[assignment]
    every_NK = torch.cat([target_BK for _, target_BK in data.train_dataloader()])
    data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
    share_NK = torch.cat([target_BK for _, target_BK in data.train_dataloader()])
    mean_K, spread_K = data.target_statistics
    assert len(share_NK) == len(every_NK) // 2 and data.train_images == len(every_NK)
    torch.testing.assert_close(mean_K, every_NK.mean(0))
    torch.testing.assert_close(spread_K, every_NK.std(0, correction=0))


@BOTH
def test_a_user_supplied_data_module_gives_targets(task: str) -> None:
    from image_data import section

    from ffnet_search.data.registry import build_data
    from ffnet_search.errors import SweepError
    from ffnet_search.space.input import Input

    input = Input(3, 8, 2, task)
    data = build_data(section("user_data:MyNumbers", init_args={"task": task}), 0, input)
    target_BK = next(iter(data.train_dataloader()))[1]
    assert data.outputs == ("left", "right") and find_task(task).accepts(target_BK)
    if task == "regression":
        mean_K, spread_K = data.target_statistics
        every = torch.cat([one for _, one in data.train_dataloader()])
        torch.testing.assert_close(mean_K, every.mean(0))
        torch.testing.assert_close(spread_K, every.std(0, correction=0))
    with pytest.raises(
        SweepError, match=r"train_dataloader of user_data:MyData must give float32 .*, but gave torch.int64"
    ):
        build_data(section("user_data:MyData"), 0, Input(3, 8, 4, task))


@pytest.mark.slow
@BOTH
def test_a_supernet_learns_and_repeats(task: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "data", task, 96)
    runs = [table_sweep(tmp_path / name, table, task) for name in ("a", "b")]
    first, second = (read_supernet(train_supernet(sweep)) for sweep in runs)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    data, metric = sweep_data(runs[0]), find_task(task).quality
    untrained = MetaMixer.for_space(space(task), runs[0].train.form)
    if task == "regression":
        untrained.head.set_targets(*data.target_statistics)  # type: ignore[operator]
    for arch in (space(task).largest, space(task).smallest):
        before, after = (
            metric.sign * Evaluator(net, data)(Configuration(arch)).metrics[metric.name] for net in (untrained, first)
        )
        assert after < before
