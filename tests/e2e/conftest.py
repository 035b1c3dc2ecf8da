"""The order of the long tests."""

from __future__ import annotations

import pytest

LONGEST = ("test_ray_submit", "test_pages", "test_shipped", "test_task_runs")  # files that take minutes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no process of `make e2e` is idle at the end."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))
