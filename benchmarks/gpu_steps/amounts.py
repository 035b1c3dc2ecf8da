"""The amounts of a call of `gpu.py`: how much is measured, and on what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TINY_SPACE = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": 8, "stride": 2},
    "stages": [
        {"depth": [1, 2], "width": [8, 16], "token_kernel": 3, "channel_kernel": 3, "expansion": [1, 2]},
        {"depth": [1, 2], "width": [16, 24], "token_kernel": 3, "channel_kernel": 3, "expansion": 1},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    architectures: int = 20
    batch: int = 256
    rounds: int = 50
    drawn: int = 60  # steps of a supernet
    warm_up: int = 3
    candidates: int = 200
    searched: int = 600
    retrain_epochs: int = 1
    budgets: int = 3  # of latency, at which networks are compared
    kernels: tuple[int, ...] = (3, 5, 7)
    shapes: tuple[tuple[int, int], ...] = ((64, 32), (128, 16), (256, 8))  # channels, side
    latency: dict[str, Any] = field(default_factory=lambda: {"rounds": 7, "calibration": 40, "held_out": 20})


TINY = Amounts(2, 256, 1, 6, 1, 2, 2, 1, 1, (3,), ((8, 8),), {"rounds": 3, "calibration": 4, "held_out": 20})
