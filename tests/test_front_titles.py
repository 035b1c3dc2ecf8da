"""The titles of the front's columns on the terminal: the metric's own word, its class, its unit and its split."""

from __future__ import annotations

import pytest

from ffnet_search.cli.tables.front import _title
from ffnet_search.metrics import Metric, find_metric
from ffnet_search.tasks.base import find_task

QUALITIES = [
    *(find_task(name).quality for name in ("classification", "segmentation", "super_resolution")),
    Metric("recall", "maximize", "recall", "%", scale=100.0, per_class=True),
    Metric("val_loss", "minimize"),
]


@pytest.mark.parametrize(("key", "title"), [
    ("search_psnr_y", "PSNR dB\nvalidation"),
    ("inherited_test_miou", "inherited mIoU %\ntest"),
    ("int8_test_accuracy", "int8 accuracy %\ntest"),
    ("folds_accuracy", "accuracy %\nfolds"),
    ("test_recall@defect", "recall of defect %\ntest"),
    ("test_val_loss", "val loss\ntest"),
    ("measured_ms@phone", "measured\nms @phone"),
])  # fmt: skip
def test_a_column_is_titled_by_the_word_of_its_metric(key: str, title: str) -> None:
    assert _title(find_metric(key, QUALITIES)) == title
