"""The differences of two trees of plain data, field by field: what a stage's output was made from, then and now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """A field of the sweep that differs from the one that a stage's output was made from."""

    field: str
    old: object
    new: object

    def __str__(self) -> str:
        return self.words()

    def words(self, note: str = "") -> str:
        """`train.epochs (30 -> 4)`, with a note in the brackets."""
        return f"{self.field} ({_short(self.old)} -> {_short(self.new)}{note})"


def differences(old: Any, new: Any, field: str = "") -> Iterator[Change]:
    """The innermost differences of two trees of plain data, with dotted paths."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{field}.{key}" if field else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and _has_mappings(old):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{field}.{index}")
    elif old != new:
        yield Change(field, old, new)


def _has_mappings(items: list[Any]) -> bool:
    return any(isinstance(item, dict) for item in items)


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
