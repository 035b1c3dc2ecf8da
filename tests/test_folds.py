"""Cross-validation of exported networks: every image is held out once, what is done is kept, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from retraining_sweep import write_sweep
from training_steps import ObservedStep

from ffnet_search.config.schema import ExportSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.dataset import Fold
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.factory import FoldFactory
from ffnet_search.export.retraining.folds import cross_validate
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run.check import check_sweep
from ffnet_search.tasks.scores import binomial_error
from ffnet_search.training.fit import sweep_data
from ffnet_search.training.modules import FFNetModule

FOLDS = 3


def folded(folder: Path, **changed: Any) -> Sweep:
    content = {"export": {"folds": FOLDS}, "train": {"epochs": 1, "learning_rate": 3e-3}}
    return write_sweep(folder, **{**content, **changed})


def candidates(sweep: Sweep) -> list[Candidate]:
    return [Candidate(arch, {}) for arch in (sweep.search_space.smallest, sweep.search_space.largest)]


@pytest.mark.parametrize("images", [23, 60])
def test_folds_hold_each_image_once_and_all_strata_alike(images: int) -> None:
    strata_N = np.arange(images) % 4
    parts = [Fold(number, 5).of(strata_N, np.random.default_rng(0)) for number in range(5)]
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(images))
    assert all(sorted([*rest, *held]) == list(range(images)) for rest, held in parts)
    counts = np.array([np.bincount(strata_N[held], minlength=4) for _, held in parts])
    assert (counts.max(0) - counts.min(0) <= 1).all() and np.ptp(counts.sum(1)) <= 1


def test_networks_are_judged_on_every_image_and_not_trained_twice(tmp_path: Path, steps: list[ObservedStep]) -> None:
    sweep = folded(tmp_path)
    found = cross_validate(sweep, candidates(sweep))
    assert len({step.key for step in steps}) == len(found) == 2
    data = sweep_data(sweep)
    images = data.train_images + sum(len(labels) for _, labels in data.val_dataloader())
    for one in found.values():
        assert one.metrics["folds_images"] == one.scores.images == images
        share = float(one.scores.values_NS.mean())
        assert one.metrics["folds_accuracy"] == pytest.approx(share)
        assert one.metrics["folds_accuracy_se"] == pytest.approx(binomial_error(share, images))
    steps.clear()
    again = cross_validate(sweep, candidates(sweep))
    assert not steps and [again[key].metrics for key in found] == [one.metrics for one in found.values()]


def test_interrupted_they_resume_and_end_as_if_they_never_were(
    tmp_path: Path, steps: list[ObservedStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = folded(tmp_path, train={"epochs": 2, "learning_rate": 3e-3})
    [candidate] = candidates(sweep)[:1]
    whole = cross_validate(sweep, [candidate])[candidate.key]
    total = len(steps)
    shutil.rmtree(sweep.files.folds)
    steps.clear()
    step = FFNetModule.training_step

    def until_the_fatal_one(self: FFNetModule, *arguments: Any) -> Any:
        if len(steps) == total * 5 // 6 + 1:  # in the last epoch of the last fold
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FFNetModule, "training_step", until_the_fatal_one)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(sweep, [candidate])
    steps.clear()
    resumed = cross_validate(sweep, [candidate])[candidate.key]
    assert len(steps) == total // 6
    assert resumed.metrics == whole.metrics and np.array_equal(resumed.scores.values_NS, whole.scores.values_NS)


def test_on_another_engine_they_are_the_same(tmp_path: Path) -> None:
    sweep = folded(tmp_path)
    [candidate] = candidates(sweep)[:1]
    here = cross_validate(sweep, [candidate])[candidate.key]
    shutil.rmtree(sweep.files.folds)
    there = folded(tmp_path, search={"engine": "own_engine:ThreadEngine"}, allow_imports=True)
    assert cross_validate(there, [candidate])[candidate.key].metrics == here.metrics
    factory = FoldFactory(sweep, sweep.files.folds, Fold(0, FOLDS))
    travelled = pickle.loads(pickle.dumps(factory))  # noqa: S301 (of this test)
    assert travelled.fold == Fold(0, FOLDS) and travelled().sweep.search.evaluator == "train"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"export": {"folds": 1}}, "at least 2"),
        ({"export": {"folds": 21}}, "export.folds"),
        ({"data": {"name": "user_data:MyData"}, "allow_imports": True}, "which splits its images; remove it"),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path: Path, changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SweepError, match=sentence):
        folded(tmp_path, **changed)


def test_folds_are_of_images_that_the_program_splits(tmp_path: Path) -> None:
    """By `check`, and where data are read."""
    for part in ("train", "val"):
        for name in "ab":
            (tmp_path / "x" / part / name).mkdir(parents=True)
            for number in range(5):  # enough for the fifth that becomes the test split
                Image.new("L", (8, 8)).save(tmp_path / "x" / part / name / f"{number}.png")
    space = yaml.safe_load((Path(__file__).parents[1] / "search_spaces" / "ffnet_digits.yaml").read_text())
    space["input"]["classes"] = 2
    sweep = folded(tmp_path, data={"name": "image_folder", "path": str(tmp_path / "x")}, search_space=space)
    for refused in (partial(check_sweep, sweep), partial(cross_validate, sweep, candidates(sweep))):
        with pytest.raises(SweepError, match="validation images of their own"):
            refused()
    with pytest.raises(SweepError, match="must be <= the 3 images"):
        Fold(0, 5).of(np.zeros(3, np.int64), np.random.default_rng(0))


def test_without_folds_nothing_changes() -> None:
    assert "folds" not in json.loads(ExportSection().model_dump_json())
