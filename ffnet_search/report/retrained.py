"""The result of retraining the exported networks, as a report states it."""

from __future__ import annotations

from dataclasses import dataclass

from ffnet_search.report.data import Run


@dataclass(frozen=True)
class RetrainedFront:
    """The exported networks that were retrained, and those of them that became better by it: the others are exported
    with the weights from before. As text a sentence on those, empty if there are none."""

    networks: int = 0
    better: int = 0

    @property
    def all_better(self) -> bool:
        return 0 < self.networks == self.better

    def __str__(self) -> str:
        if self.networks == self.better:
            return ""
        if not self.better:
            them, they = ("it", "it keeps") if self.networks == 1 else ("any of them", "they keep")
            return f"Retraining did not make {them} better on search validation, so {they} the weights from before."
        rest = self.networks - self.better
        keep = "the other keeps" if rest == 1 else f"the other {rest} keep"
        return f"Retraining made {self.better} of them better on search validation; {keep} the weights from before."


def retrained_of(run: Run) -> RetrainedFront:
    """The result of the retraining of the exported networks, by their cards."""
    records = [card for one in run.exported if isinstance(card := one.read_card().get("retraining"), dict)]
    return RetrainedFront(len(records), sum(bool(record.get("kept", True)) for record in records))
