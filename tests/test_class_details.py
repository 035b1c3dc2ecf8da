"""Classes of an exported network: precision and recall, what is taken for what, and its most confident errors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ffnet_search.export.class_table import class_rows, rare_words
from ffnet_search.export.details.classes import ERRORS, class_facts
from ffnet_search.export.details.sheet import Tile, draw_sheet, plain

NAMES = ["cat", "dog", "cow", "never"]


def test_precision_recall_and_confusion_are_counted() -> None:
    labels_N = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    said_N = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    facts = class_facts(torch.eye(4)[said_N], labels_N, NAMES)
    assert facts["confusion"][0] == [2, 2, 0, 0] and facts["images"] == {"cat": 4, "dog": 2, "cow": 1, "never": 0}
    assert facts["recall"] == {"cat": 0.5, "dog": 0.5, "cow": 1.0, "never": None}
    assert facts["precision"] == {"cat": 1.0, "dog": pytest.approx(1 / 3), "cow": 0.5, "never": None}
    assert facts["confused"] == [("cat", "dog", 2), ("dog", "cow", 1)]
    rows = class_rows(facts)
    assert rows[0] == ["cat", "100.0 %", "50.0 %", "4", "", "dog (2)"]
    assert rows[-1] == ["never", "none", "none", "0", "", ""]
    assert rare_words(facts) == ""  # as of an export before, whose card does not say
    for count, is_rare in ((9, True), (40, False)):
        facts["trained_on"] = {"cat": count, "dog": 40, "cow": 40, "never": 0}
        assert class_rows(facts)[0][4] == str(count)
        assert rare_words(facts).startswith(f"cat has {count} images of {80 + count} in training") == is_rare
    assert class_rows({"iou": {}}) == []


def test_many_classes_have_pairs_and_no_matrix() -> None:
    names = [str(number) for number in range(40)]
    labels_N = torch.arange(40)
    facts = class_facts(torch.eye(40)[labels_N.roll(1)], labels_N, names)
    assert "confusion" not in facts and len(facts["confused"]) == 20


def test_a_sheet_has_a_place_for_every_error() -> None:
    data = SimpleNamespace(statistics=(torch.tensor([128.0]), torch.tensor([64.0])))
    image = torch.randn(1, 8, 8)
    one = draw_sheet([Tile(image, ("cat",), ("not dog 90 %",))], data)  # type: ignore[arg-type]
    sheet = draw_sheet([Tile(image, (plain("cät" * 20),), ("not dog",))] * ERRORS, data)  # type: ignore[arg-type]
    assert sheet.width == 5 * one.width + 4 * 6 and sheet.height > 4 * one.height - 1
