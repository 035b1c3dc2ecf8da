"""Batches of one epoch after another that can begin anywhere: a killed run goes on with the batches that it missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

Batch = tuple[Tensor, Tensor]  # images float32 (B, C, H, W), labels int64 (B,)


class EpochLoader:
    """Iterates over one epoch. Batch k of epoch e is a function of (e, k) alone: `batches(e, k)` begins there.

    Lightning's Trainer numbers the epochs (`set_epoch`, through the attribute `sampler`), keeps `state_dict` in every
    checkpoint and hands it back before it goes on. In a loop of one's own:

    >>> for epoch in range(epochs):  # doctest: +SKIP
    ...     loader.set_epoch(epoch)
    ...     for images, labels in loader: ...
    """

    batch_sampler = None  # Lightning looks here where it has found a `sampler`

    def __init__(self, batches: Callable[[int, int], Iterator[Batch]], length: int) -> None:
        self._batches = batches
        self._length = length
        self._epoch = 0
        self._resume: tuple[int, int] | None = None
        self.position = (0, -1)  # epoch and index of the batch that was handed out last

    def __len__(self) -> int:
        """Batches in a whole epoch, also where this one began in the middle."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        # The Trainer makes the first iterator before it names the epoch: nothing may be read until the first `next`.
        epoch, start = self._epoch, 0
        if self._resume is not None:
            resumed, batch = self._resume
            start, self._resume = (batch if resumed == epoch else 0), None
        for index, batch_ in enumerate(self._batches(epoch, start), start):
            self.position = (epoch, index)
            yield batch_

    @property
    def sampler(self) -> EpochLoader:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def start_at(self, epoch: int, batch: int) -> None:
        """The next iteration, if it is of `epoch`, begins with this batch."""
        self._epoch, self._resume = epoch, (epoch, batch)

    def state_dict(self) -> dict[str, Any]:
        """What comes next."""
        epoch, index = self.position
        return {"epoch": epoch, "batch": index + 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start_at(state["epoch"], state["batch"])
        self.position = (state["epoch"], state["batch"] - 1)
