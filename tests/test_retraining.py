"""Retraining before the export: what is trained, what is kept, what is shown, on which engine, and after a kill."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import images
from retraining_sweep import EPOCHS, write_sweep
from training_steps import ObservedStep, assert_trained

from ffnet_search.cli.resolve import Front
from ffnet_search.cli.tables import print_run
from ffnet_search.config.retraining import Retraining, retraining_of
from ffnet_search.config.schema import TrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.evaluation.retrained import RetrainingTarget, retraining_sweep
from ffnet_search.evaluation.trained import WEIGHTS
from ffnet_search.export.exported import read_exported
from ffnet_search.export.groups import read_groups
from ffnet_search.export.network import load
from ffnet_search.export.picks import Pick, draw_front, shortlist
from ffnet_search.export.retraining.folds import cross_validate
from ffnet_search.export.retraining.record import RECORD
from ffnet_search.export.retraining.retrain import retrain
from ffnet_search.export.retraining.training import remove_others
from ffnet_search.metrics import Direction
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data, train_supernet
from ffnet_search.training.losses import Distillation
from ffnet_search.training.modules import FFNetModule, Standalone

TASK = find_task("classification")
DIRECTIONS: dict[str, Direction] = {"accuracy": "maximize", "latency_ms": "minimize"}


@dataclass(frozen=True)
class Found:
    """A run with a supernet, and its candidates: their latency is by MACs, so nothing is measured."""

    sweep: Sweep
    candidates: list[Candidate]

    def chosen(self, count: int) -> list[Candidate]:
        return shortlist(self.candidates, DIRECTIONS, count)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Found:
    sweep = write_sweep(tmp_path_factory.mktemp("trained"))
    train_supernet(sweep)
    evaluate, rng = Evaluator.from_sweep(sweep), random.Random(0)
    space = sweep.search_space
    archs = dict.fromkeys([space.smallest, space.largest, *(space.sample(rng) for _ in range(6))])
    found = [evaluate(Configuration(arch)) for arch in archs]
    costs = [{"latency_ms": one.network.macs_m / 100} for one in found]
    return Found(sweep, [replace(one, metrics={**one.metrics, **cost}) for one, cost in zip(found, costs, strict=True)])


@pytest.fixture
def run(trained: Found, tmp_path: Path) -> Found:
    """A copy of that run, whose folder a test may change."""
    shutil.copytree(trained.sweep.files.folder, tmp_path / "runs" / "tiny")
    return Found(write_sweep(tmp_path), trained.candidates)


def retraining_in(sweep: Sweep) -> Retraining:
    retraining = retraining_of(sweep)
    assert retraining is not None
    return retraining


def trainings(steps: list[ObservedStep]) -> set[str]:
    """The keys of the networks that were trained since the last call."""
    keys = {step.key for step in steps}
    steps.clear()
    return keys


def test_trainings_by_another_recipe_are_removed_and_stray_files_stay(tmp_path: Path) -> None:
    for name in ("of-this", "of-another"):
        (tmp_path / name / "trials").mkdir(parents=True)
    (tmp_path / ".DS_Store").touch()  # as macOS leaves it where its user has looked
    remove_others(tmp_path / "of-this")
    assert {path.name for path in tmp_path.iterdir()} == {"of-this", ".DS_Store"}


@pytest.mark.slow
def test_the_export_retrains_and_shows_both_accuracies(
    tmp_path: Path, steps: list[ObservedStep], capsys: pytest.CaptureFixture[str]
) -> None:
    export = {"top": 2, "retrain": {"epochs": EPOCHS, "candidates": 3, "distil": 0.5}, "folds": 2}
    sweep = write_sweep(tmp_path, export=export)
    networks = run_sweep(sweep)
    assert_trained(steps)  # the supernet, its retrained networks, and those of the folds
    evaluator, data = Evaluator.from_sweep(sweep), sweep_data(sweep)
    for network in networks:
        shown = {name: network.metrics[name] for name in network.metrics if name.endswith("accuracy")}
        folds = network.scores("folds")
        assert folds is not None and folds.images == network.metrics["folds_images"]
        assert shown.pop("folds_accuracy") == pytest.approx(folds.quality, abs=1e-6)
        before, after = fuse(evaluator.calibrated(network.network)), load(network.folder)
        assert shown == {
            "search_accuracy": pytest.approx(quality(after, data.val_dataloader(), TASK)),
            "test_accuracy": pytest.approx(quality(after, data.test_dataloader(), TASK)),
            "inherited_search_accuracy": pytest.approx(quality(before, data.val_dataloader(), TASK)),
            "inherited_test_accuracy": pytest.approx(quality(before, data.test_dataloader(), TASK)),
        }
        assert shown["search_accuracy"] > shown["inherited_search_accuracy"]
        card = network.read_card()["retraining"]
        expected = {"epochs": EPOCHS, "rate": 1.0, "distil": 0.5, "from": "inherited", "kept": True}
        assert {name: card[name] for name in expected} == expected
        assert card["resolved"]["train"]["epochs"] == EPOCHS
        page = (network.folder / "README.md").read_text()
        assert "inherited from the supernet" in page and "by cross-validation, 2 folds, 1,438 images" in page
    capsys.readouterr()
    print_run(Front(sweep, networks))
    table = " ".join(capsys.readouterr().out.split())
    assert "inherited" in table and "trained 2 times from new weights" in table
    assert "ranked first by accuracy by cross-validation" in table
    assert set(read_groups(sweep.files.pareto)["folds"]) == {network.folder.name for network in networks}
    html = sweep.files.report.read_text()
    assert '<th scope="col" class="number">folds</th>' in html and "by cross-validation (" in html
    best = networks[0].metrics["inherited_test_accuracy"]
    assert "test, inherited" in html and f"{100 * best:.2f} %" in html
    with sweep.files.front_csv.open() as file:
        assert float(next(csv.DictReader(file))["inherited_test_accuracy"]) == best


def test_what_was_retrained_is_not_retrained_again(run: Found, steps: list[ObservedStep], tmp_path: Path) -> None:
    first = retrain(run.sweep, run.chosen(1), retraining_in(run.sweep))
    assert_trained(steps)
    assert trainings(steps) == set(first)
    more = retrain(run.sweep, run.chosen(2), retraining_in(run.sweep))
    assert trainings(steps) == set(more) - set(first)
    assert {key: more[key] for key in first} == first
    assert all(more[key].content == first[key].content for key in first)
    other = write_sweep(tmp_path, export={"retrain": {"epochs": 1}})
    assert set(retrain(other, run.chosen(1), retraining_in(other))) == trainings(steps) == set(first)
    assert len(list(other.files.retrained.iterdir())) == 1  # nothing reads the old ones
    other.files.supernet.write_bytes(other.files.supernet.read_bytes() + b"0")  # trained again
    retrain(other, run.chosen(1), retraining_in(other))
    assert trainings(steps) == set(first)


def test_interrupted_it_resumes_and_ends_as_if_it_never_was(
    run: Found, steps: list[ObservedStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    retraining, chosen, folder = retraining_in(run.sweep), run.chosen(2), run.sweep.files.retrained
    whole = retrain(run.sweep, chosen, retraining)
    epoch = len(steps) // 2 // EPOCHS
    shutil.rmtree(folder)
    steps.clear()
    step = FFNetModule.training_step

    def until_the_fatal_one(self: FFNetModule, *arguments: Any) -> Any:
        if len(steps) == 3 * epoch + 1:  # in the last epoch of the second network
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FFNetModule, "training_step", until_the_fatal_one)
        with pytest.raises(KeyboardInterrupt):
            retrain(run.sweep, chosen, retraining)
    steps.clear()
    resumed = retrain(run.sweep, chosen, retraining)
    assert len(steps) == epoch
    assert resumed == whole
    assert all(resumed[key].content == whole[key].content for key in whole)
    assert not list(folder.rglob("last.ckpt"))


@pytest.mark.parametrize("engine", ["own_engine:ThreadEngine"])
def test_on_another_engine_the_weights_come_back(run: Found, tmp_path: Path, engine: str) -> None:
    here = retrain(run.sweep, run.chosen(2), retraining_in(run.sweep))
    shutil.rmtree(run.sweep.files.retrained)
    there = write_sweep(tmp_path, search={"engine": engine})
    retrained = retrain(there, run.chosen(2), retraining_in(there))
    assert retrained == here
    for one in retrained.values():
        pick = Pick(one, one)
        net, data = pick.network(there), sweep_data(there)
        assert net is not None
        assert quality(fuse(net), data.val_dataloader(), TASK) == pytest.approx(one.metrics["accuracy"])


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("engine", ["ray", "tune"])
def test_on_ray_the_weights_come_back(run: Found, tmp_path: Path, engine: str) -> None:
    test_on_another_engine_the_weights_come_back(run, tmp_path, engine)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_on_ray_folds_are_judged_as_here(tmp_path: Path) -> None:
    once: dict[str, Any] = {"export": {"folds": 2}, "train": {"epochs": 1, "learning_rate": 3e-3}}
    sweep = write_sweep(tmp_path, **once)
    candidate = Candidate(sweep.search_space.smallest, {})
    here = cross_validate(sweep, [candidate])[candidate.key]
    shutil.rmtree(sweep.files.folds)
    there = cross_validate(write_sweep(tmp_path, search={"engine": "ray"}, **once), [candidate])[candidate.key]
    assert there.metrics == here.metrics
    assert np.array_equal(there.scores.values_NS, here.scores.values_NS)


def test_the_front_is_of_what_was_retrained(run: Found) -> None:
    front = draw_front(run.sweep, run.candidates)
    assert 1 <= len(front) <= 2  # export.top
    assert len(pareto_front([pick.judged for pick in front], run.sweep.search.directions)) == len(front)
    for pick in front:
        assert pick.judged.metrics["accuracy"] > pick.candidate.metrics["accuracy"]
        assert pick.judged.metrics["latency_ms"] == pick.candidate.metrics["latency_ms"]


def test_a_network_that_gets_worse_keeps_its_weights(run: Found, tmp_path: Path) -> None:
    """A rate that destroys them."""
    sweep = write_sweep(tmp_path, export={"top": 2, "retrain": {"epochs": 1, "rate": 3000.0}})
    front = draw_front(sweep, run.candidates)
    assert front
    for pick in front:
        assert pick.judged == pick.candidate
        assert pick.network(sweep) is None


def test_a_network_that_cannot_be_retrained_keeps_its_weights(
    run: Found, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = run.chosen(1)[0].key
    step = FFNetModule.training_step

    def failing(self: FFNetModule, *arguments: Any) -> Any:
        if self.net.largest.key == broken:
            raise MemoryError("no room")
        return step(self, *arguments)

    monkeypatch.setattr(FFNetModule, "training_step", failing)
    front = draw_front(run.sweep, [one for one in run.candidates if one.key == broken])
    assert f"{broken} failed, and its weights stay: MemoryError: no room" in capsys.readouterr().err
    assert [pick.judged for pick in front] == [pick.candidate for pick in front]
    assert front[0].retrained is None


@pytest.mark.parametrize("start", ["inherited", "scratch"])
def test_from_scratch_nothing_is_inherited(run: Found, tmp_path: Path, start: str) -> None:
    sweep = write_sweep(tmp_path, export={"retrain": {"epochs": 1, "from": start}})
    arch, trial = sweep.search_space.smallest, retraining_sweep(sweep, tmp_path / "retrained")
    target = RetrainingTarget(trial, retraining_in(sweep), sweep.files.supernet)
    module = target.module(trial, Configuration(arch))
    assert module.distillation is None
    sliced = dict(Evaluator.from_sweep(sweep).net.slice_to(arch).named_parameters())
    convolutions = {name: one for name, one in module.net.named_parameters() if one.ndim == 4}
    same = {torch.equal(one, sliced[name]) for name, one in convolutions.items()}
    assert same == {start == "inherited"}


def test_a_taught_step_is_the_sum_of_two_losses(trained: Found) -> None:
    space, share = trained.sweep.search_space, 0.3
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


def test_a_shortlist_takes_the_next_front_where_one_is_short(trained: Found) -> None:
    arch = trained.sweep.search_space.smallest
    rows = [(0.9, 3.0), (0.8, 2.0), (0.7, 1.0), (0.85, 3.0), (0.75, 2.0), (0.5, 2.5)]
    points = [Candidate(arch, {"accuracy": a, "latency_ms": ms}, {"x": a}) for a, ms in rows]
    for count, expected in (
        (1, [0]),
        (2, [0, 2]),
        (3, [0, 1, 2]),
        (4, [0, 1, 2, 3]),
        (5, [0, 1, 2, 3, 4]),
        (9, range(6)),
    ):
        assert shortlist(points, DIRECTIONS, count) == [points[index] for index in expected]  # type: ignore[arg-type]


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
    ("field", "changes"),
    [
        ("export.retrain.distil", {"export": {"retrain": {"epochs": 1, "from": "scratch", "distil": 0.5}}}),
        ("export.retrain.rate", {"export": {"retrain": {"rate": 0.5}}}),
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


@pytest.mark.slow
def test_killed_in_the_middle_of_a_retraining_it_ends_as_if_it_never_was(tmp_path: Path) -> None:
    """A SIGKILL to `ffnet-search export` while it retrains its second network, then the same command."""
    changed: dict[str, Any] = {
        "export": {"top": 3, "retrain": {"epochs": 8, "candidates": 3, "distil": 0.5}},
        "report": {"yardstick": False},
    }
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (write_sweep(tmp_path / name, **changed) for name in ("whole", "killed"))
    run_sweep(whole, stages=("profile", "train", "search"))
    shutil.copytree(whole.files.folder, killed.files.folder)

    def start(sweep: Sweep) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ffnet_search", "export", str(sweep.path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)

    def files(sweep: Sweep, name: str) -> dict[str, Path]:
        return {path.parent.name: path for path in sweep.files.retrained.glob(f"*/trials/*/{name}")}

    process = start(killed)
    while not (files(killed, RECORD) and files(killed, "last.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said
    assert 1 <= len(files(killed, RECORD)) < 3 and not killed.files.front_csv.exists()
    for sweep in (whole, killed):
        process = start(sweep)
        said = process.communicate()[1]
        assert process.returncode == 0, said
    assert "0 of them were retrained before" not in said
    ours, theirs = (files(sweep, WEIGHTS) for sweep in (killed, whole))
    assert len(ours) == 3 and {key: path.read_bytes() for key, path in ours.items()} == {
        key: path.read_bytes() for key, path in theirs.items()
    }
    assert not files(killed, "last.ckpt")
    fronts = [
        {one.key: {name: value for name, value in one.metrics.items() if "accuracy" in name} for one in networks}
        for networks in (read_exported(sweep.files.pareto) for sweep in (killed, whole))
    ]
    assert fronts[0] == fronts[1] and fronts[0]
