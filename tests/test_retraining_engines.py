"""Retraining and cross-validation on other engines: the same weights and scores as in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retraining_sweep import SupernetRun, retraining_in, write_sweep

from ffnet_search.evaluation.judge import quality
from ffnet_search.export.picks import Pick
from ffnet_search.export.retraining.folds import cross_validate
from ffnet_search.export.retraining.retrain import retrain
from ffnet_search.models.deployed import fuse
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data

TASK = find_task("classification")


@pytest.mark.parametrize("engine", ["own_engine:ThreadEngine"])
def test_on_another_engine_the_weights_come_back(run_copy: SupernetRun, tmp_path: Path, engine: str) -> None:
    here = retrain(run_copy.sweep, run_copy.chosen(2), retraining_in(run_copy.sweep))
    shutil.rmtree(run_copy.sweep.files.retrained)
    there = write_sweep(tmp_path, search={"engine": engine})
    retrained = retrain(there, run_copy.chosen(2), retraining_in(there))
    assert retrained == here
    for one in retrained.values():
        pick = Pick(one, one)
        net, data = pick.network(there), sweep_data(there)
        assert net is not None
        assert quality(fuse(net), data.val_dataloader(), TASK) == pytest.approx(one.metrics["accuracy"])


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("engine", ["ray", "tune"])
def test_on_ray_the_weights_come_back(run_copy: SupernetRun, tmp_path: Path, engine: str) -> None:
    test_on_another_engine_the_weights_come_back(run_copy, tmp_path, engine)


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
