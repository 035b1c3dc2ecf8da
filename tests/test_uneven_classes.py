"""Uneven classes: weights in the loss, balanced draws, and qualities that count classes, as objectives and limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_data import FOUR, section
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score, roc_auc_score

from ffnet_search.cli.tables.plan import print_sweep
from ffnet_search.config.named_metrics import named_metrics
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError
from ffnet_search.metrics import find_metric
from ffnet_search.run.check import check_before_profile, check_content, check_sweep
from ffnet_search.search.problem import SearchProblem
from ffnet_search.space.registry import qualities
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data
from ffnet_search.training.losses import class_weights

TASK = find_task("classification")
COUNTS = {"fine": 60, "scratch": 30, "dent": 6, "hole": 4}
NAMES = tuple(sorted(COUNTS))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for name, count in COUNTS.items():
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for number in range(count if part == "train" else 4):
                pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / part / name / f"{number}.png")
    return tmp_path / "images"


def sweep_of(root: Path, **changes: Any) -> Sweep:
    content = {
        "name": "uneven",
        "runs": str(root.parent / "runs"),
        "search_space": {
            "input": {"channels": 3, "resolution": 16, "classes": 4},
            "stem": {"width": [8], "stride": [4]},
            "stages": [{"depth": [1, 2, 3], "width": [8, 16, 24], "token_kernel": [3], "expansion": [1, 2]}],
        },
        "data": {"name": "image_folder", "path": str(root), "batch_size": 20, "calibration": 16},
        **changes,
    }
    return Sweep.from_content(content, root.parent / "uneven.yaml")


def test_named_qualities_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits_NK, labels_N = rng.normal(size=(200, 4)), rng.choice(4, 200, p=[0.7, 0.2, 0.06, 0.04])
    found_N, share_NK = logits_NK.argmax(1), torch.from_numpy(logits_NK).softmax(1).numpy()
    expected = {
        "balanced_accuracy": balanced_accuracy_score(labels_N, found_N),
        "f1_macro": f1_score(labels_N, found_N, average="macro"),
        "auroc": roc_auc_score(labels_N, share_NK, multi_class="ovr"),
        "recall@hole": recall_score(labels_N, found_N, labels=[2], average=None)[0],
        "f1@scratch": f1_score(labels_N, found_N, labels=[3], average=None)[0],
    }
    for name, value in expected.items():
        metric = TASK.named_metric(name, NAMES)
        for part in (slice(0, 120), slice(120, None)):
            metric.update(torch.from_numpy(logits_NK[part]), torch.from_numpy(labels_N[part]))
        assert float(metric.compute()) == pytest.approx(value, abs=1e-6), name


def test_their_names_have_words_and_bounds() -> None:
    recall = find_metric("recall@hole", qualities())
    assert (recall.key, recall.label, recall.bounds) == ("recall@hole", "recall of hole, %", (0.0, 1.0))
    assert find_metric("test_recall@hole", qualities()).key == "test_recall@hole"
    with pytest.raises(KeyError):
        find_metric("f1_macro@hole", qualities())


def test_weights_are_by_the_numbers_of_images(root: Path) -> None:
    data = build_data(section("image_folder", path=root), 0, FOUR)
    counts_K = torch.tensor([COUNTS[name] for name in NAMES])
    assert data.class_counts.equal(torch.stack([counts_K, 100 - counts_K]))
    balanced, auto = (class_weights(word, data, TASK) for word in ("balanced", "auto"))
    assert torch.allclose(balanced * counts_K, torch.full((4,), 25.0))
    assert auto.argsort().equal(balanced.argsort()) and auto.max() < balanced.max()
    named = class_weights({"hole": 5.0}, data, TASK)
    assert named[2] / named[0] == pytest.approx(5) and (named * counts_K).sum() == pytest.approx(100)
    with pytest.raises(SweepError, match="train.class_weights: 'hol' is none of the classes of .* did you mean 'hole'"):
        class_weights({"hol": 5.0}, data, TASK)


def test_a_weighted_loss_counts_a_rare_class_more() -> None:
    output_BK, target_B = torch.zeros(4, 4), torch.tensor([0, 0, 0, 2])
    output_BK[:, 0] = 2.0
    plain = TASK.loss(output_BK, target_B, 0.0)
    weighted = TASK.weighted_loss(output_BK, target_B, 0.0, torch.tensor([1.0, 1.0, 9.0, 1.0]))
    assert weighted > plain
    assert TASK.weighted_loss(output_BK, target_B, 0.1, torch.ones(4)).equal(TASK.loss(output_BK, target_B, 0.1))


def test_balanced_draws_have_all_classes_as_often(root: Path) -> None:
    data = build_data(section("image_folder", path=root, sampling="balanced", batch_size=20), 0, FOUR)
    loader = data.train_dataloader()
    labels = []
    for epoch in range(8):
        loader.set_epoch(epoch)
        labels.append(torch.cat([labels_B for _, labels_B in loader]))
    share_K = torch.cat(labels).bincount(minlength=4) / sum(map(len, labels))
    assert (share_K - 0.25).abs().max() < 0.06
    assert not labels[0].equal(labels[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"objectives": ["recall", "latency_ms"]}}, "'recall' is not a known metric; name its class"),
        ({"search": {"constraints": {"recall@hole": 1.5}}}, "must have a limit > 0 and <= 1, but got 1.5"),
        ({"search": {"objectives": ["miou", "latency_ms"]}}, "search: miou is no metric of task 'classification'"),
        ({"train": {"class_weights": {"hole": 0}}}, "class_weights"),
        ({"train": {"class_weights": "even"}}, "class_weights"),
    ],
)
def test_a_mistake_is_one_sentence(changes: dict[str, Any], message: str, root: Path) -> None:
    with pytest.raises(SweepError, match=message):
        sweep_of(root, **changes)


def test_a_class_that_does_not_exist_is_told_before_training(root: Path) -> None:
    sweep = sweep_of(root, search={"objectives": ["recall@hol", "latency_ms"]})
    with pytest.raises(SweepError, match=r"recall@hol: 'hol' is no class; did you mean 'hole'"):
        sweep_data(sweep)
    with pytest.raises(
        SweepError, match=r"train.class_weights: 'hol' is none of the classes of the data; did you mean"
    ):
        sweep_data(sweep_of(root, train={"class_weights": {"hol": 2}}))


@pytest.mark.parametrize("look", [check_sweep, check_content, check_before_profile])
def test_a_class_that_does_not_exist_is_told_before_profiling(look: Callable[[Sweep], None], root: Path) -> None:
    """By `check` too, since a profile takes minutes."""
    space = {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": [1, 2], "width": [8]}]}
    for changes in (
        {"search": {"constraints": {"recall@hol": 0.5}}},
        {"train": {"class_weights": {"hol": 2}}},
        {"train": {"class_weights": {"hole": 2}}, "data": {"name": "digits"}, "search_space": space},
    ):
        with pytest.raises(SweepError, match=r"hole?' is no"):
            look(sweep_of(root, **changes))
    look(sweep_of(root, train={"class_weights": {"hole": 2}}, search={"constraints": {"recall@hole": 0.5}}))


def test_a_limit_of_a_quality_is_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = Sweep.from_content(
        {
            "name": "x",
            "search_space": {"input": {"channels": 1, "resolution": 8, "classes": 2},
                             "stages": [{"depth": [1], "width": [8, 16], "token_kernel": [3], "expansion": [1]}]},
            "search": {"constraints": {"macs_m": 100.0, "recall@hole": 0.8}},
        },
        Path("x.yaml"),
    )  # fmt: skip
    assert named_metrics(sweep) == ("recall@hole",) and sweep.search.cost_limits == {"macs_m": 100.0}
    assert sweep.search.device_names == ()
    problem = SearchProblem(sweep.search_space, sweep.search)
    assert set(problem.excess({"macs_m": 50.0})) == {"macs_m"}, "before an evaluation"
    excess = problem.excess({"macs_m": 50.0, "recall@hole": 0.4})
    assert excess == {"macs_m": pytest.approx(-0.5), "recall@hole": pytest.approx(0.5)}
    assert problem.excess({"macs_m": 50.0, "recall@hole": 0.9})["recall@hole"] < 0
    print_sweep(sweep)
    assert "limits: macs_m ≤ 100, recall@hole ≥ 0.8" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", ["supernet", "train"])
def test_a_search_by_named_qualities_under_a_learnt_limit(evaluator: str, root: Path) -> None:
    from ffnet_search.run.pipeline import run_sweep
    from ffnet_search.search.storage.study import read_candidates, read_records

    search = {
        "evaluator": evaluator,
        "trials": 4,
        "objectives": ["balanced_accuracy", "latency_ms"],
        "constraints": {"recall@fine": 0.3},
        **({"early_stopping": {"rule": "asha"}} if evaluator == "train" else {}),
    }
    latency = {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0}
    train = {"epochs": 2, "class_weights": "balanced", **({"sampled": 0} if evaluator == "supernet" else {})}
    sweep = sweep_of(root, search=search, latency=latency, train=train)
    run_sweep(sweep, stages=("profile", "train", "search") if evaluator == "supernet" else ("profile", "search"))
    records = [record for record in read_records(sweep.files.study) if record.state == "evaluated"]
    assert records
    for record in records:
        assert record.excess["recall@fine"] == pytest.approx(1 - record.metrics["recall@fine"] / 0.3)
        assert 0 <= record.metrics["balanced_accuracy"] <= 1
    kept = {one.key for one in read_candidates(sweep.files.study, sweep.search_space)}
    assert kept == {record.key for record in records if record.metrics["recall@fine"] >= 0.3}
