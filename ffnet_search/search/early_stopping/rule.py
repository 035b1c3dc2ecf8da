"""The protocol of stopping rules: a class is a row in `pruner.RULES`, or user-supplied and named by import path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ffnet_search.config.schema import SearchSection


class StoppingRule(Protocol):
    """Decides from the reports and their order alone, and decides the same where a report is repeated."""

    @classmethod
    def from_section(cls, section: SearchSection) -> StoppingRule:
        """The rule of the `search` section of a sweep."""
        ...

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Return whether the trial `key`, with these metrics after `epoch` epochs, continues."""
        ...

    def finish(self, key: str) -> None:
        """Note that the trial `key` has trained all its epochs."""
        ...
