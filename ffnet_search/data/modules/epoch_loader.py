"""The batches of one epoch, in an order that a resumed training continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

Batch = tuple[Tensor, Tensor]  # images float32 (B, C, H, W), targets (B, ...)


class EpochLoader:
    """Iterates over one epoch. Batch k of epoch e is a function of (e, k) alone: `batches(e, k)` starts there.

    Lightning's Trainer numbers the epochs (`set_epoch`, through the attribute `sampler`), keeps `state_dict` in every
    checkpoint and loads it before it resumes. A plain loop calls `set_epoch` before each epoch."""

    batch_sampler = None  # Lightning reads it from an object with a `sampler`

    def __init__(self, batches: Callable[[int, int], Iterator[Batch]], length: int) -> None:
        self._batches = batches
        self._length = length
        self._epoch = 0
        self._starts: dict[int, int] = {}  # the epoch to resume -> its first batch
        self.position = (0, -1)  # epoch and index of the last batch

    def __len__(self) -> int:
        """The batches of a whole epoch, also where this one started in the middle."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        # The Trainer makes the first iterator before it names the epoch: nothing may be read until the first `next`.
        epoch, start = self._epoch, self._starts.get(self._epoch, 0)
        self._starts = {}
        for index, content in enumerate(self._batches(epoch, start), start):
            self.position = (epoch, index)
            yield content

    @property
    def sampler(self) -> EpochLoader:
        """The object on which Lightning calls `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The place of the next batch."""
        epoch, index = self.position
        return {"epoch": epoch, "batch": index + 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration with the batch of `state`, if it is one of its epoch."""
        self._epoch, batch = state["epoch"], state["batch"]
        self._starts = {self._epoch: batch}
        self.position = (self._epoch, batch - 1)
