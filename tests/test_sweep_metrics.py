"""A metric of a sweep has its unit and words wherever it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import ffnet_run, module_run


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("test_accuracy", "accuracy on test, %"),
        ("latency_ms@phone", "latency on phone, ms"),
        ("measured_spread", "spread of the latency, %"),
    ],
)
def test_metrics_of_an_ffnet_have_labels(tmp_path: Path, key: str, label: str) -> None:
    assert ffnet_run(tmp_path).sweep.metric(key).label == label


def test_the_quality_of_a_user_supplied_task_has_its_unit(tmp_path: Path) -> None:
    sweep = ffnet_run(tmp_path, task="user_task:Regression").sweep
    assert sweep.metric("mae").format(1.25) == "1.2 mm"
    assert sweep.metric("test_mae").label == "error on test, mm"


def test_metrics_of_a_user_supplied_module_have_their_names(tmp_path: Path) -> None:
    sweep = module_run(tmp_path, 2)
    assert [sweep.metric(key).label for key in ("val_loss", "test_loss")] == ["val_loss", "test_loss"]
