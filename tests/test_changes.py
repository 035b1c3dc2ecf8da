"""What changed between two sweeps."""

from __future__ import annotations

from ffnet_search.run.changes import changes


def test_changes_are_the_innermost_differences() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "stages": [{"d": 1}, {"d": 2}], "gone": 1}
    new = {"a": {"b": 2, "c": [1]}, "stages": [{"d": 1}, {"d": 3}], "more": {"x": 1}}
    assert [str(change) for change in changes(old, new)] == [
        "a.b (1 -> 2)",
        "a.c ([1, 2] -> [1])",
        "stages.1.d (2 -> 3)",
        "gone (1 -> nothing)",
        "more (nothing -> {'x': 1})",
    ]
    assert list(changes(old, old)) == []
