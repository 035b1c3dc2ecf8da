"""The classes of an exported network as rows of a table: for the terminal, the report and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ffnet_search.formatting import percent, plural

CLASS_TITLES = ("class", "precision", "recall", "images", "trained on", "taken for")
MAX_CONFUSED = 3  # other classes that are named


def class_rows(details: Mapping[str, Any]) -> list[list[str]]:
    """Precision, recall, images of test and of training, and the classes that it is taken for, the hardest class first;
    empty without any."""
    if not {"recall", "precision", "images"} <= details.keys():
        return []
    taken: dict[str, list[str]] = {}
    for label, predicted, count in details.get("confused", ()):
        taken.setdefault(label, []).append(f"{predicted} ({count})")
    recall = details["recall"]
    hardest = sorted(recall, key=lambda name: 2.0 if recall[name] is None else recall[name])
    return [
        [
            name,
            _share(details["precision"][name]),
            _share(recall[name]),
            str(details["images"][name]),
            str(details.get("trained_on", {}).get(name, "")),
            ", ".join(taken.get(name, [])[:MAX_CONFUSED]),
        ]
        for name in hardest
    ]


def rare_words(details: Mapping[str, Any]) -> str:
    """The hardest class, if it has less than half of its even share of the training images, and what counts it more."""
    rows, counts = class_rows(details), details.get("trained_on", {})
    total, name = sum(counts.values()), rows[0][0] if rows else ""
    if 2 * len(counts) * counts.get(name, total) >= total:
        return ""
    return (
        f"{name} has {plural(counts[name], 'image')} of {total:,} in training: train.class_weights: balanced counts it "
        f"more, and recall@{name} can be an objective or a limit of the search"
    )


def _share(value: float | None) -> str:
    return "none" if value is None else percent(value, 1)
