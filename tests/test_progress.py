"""The plain line of a stage in progress, for output that is no terminal."""

from __future__ import annotations

import pytest

from ffnet_search import progress


def test_facts_are_in_the_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    bar = progress.Bar("search", 10, "candidates")
    bar.advance(4, facts={"best accuracy": "0.9", "workers busy": "2 of 3"})
    assert bar.line(102.0) == "4/10 candidates, 2/s, 3s left, best accuracy 0.9, workers busy 2 of 3"
