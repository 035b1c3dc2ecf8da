"""Evaluation on the weights of a supernet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_sweep import sweep

from ffnet_search.data.registry import build_data
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task

CLASSIFICATION = find_task("classification")


def test_evaluation_counts_images(tmp_path: Path) -> None:
    run = sweep(tmp_path)
    data = build_data(run.data, run.seed, run.search_space.largest.input)
    evaluate = Evaluator(MetaMixer.for_space(run.search_space), data)
    arch = run.search_space.smallest
    net = fuse(evaluate.calibrated(arch))
    with torch.no_grad():
        hits = [(net(x_BCHW).argmax(1) == label_B) for x_BCHW, label_B in data.val_dataloader()]
    assert evaluate(Configuration(arch)).metrics["accuracy"] == pytest.approx(
        float(torch.cat(hits).double().mean()), abs=1e-6
    )
    with pytest.raises(ValueError, match="at least one batch"):
        quality(net, [], CLASSIFICATION)
