"""A user-supplied latency backend, by import path: a simulator that needs no clock and no ONNX file."""

from __future__ import annotations

from typing import Any

from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import RUNTIME_CLOCK, Clock, Run


class Simulator(Backend):
    """Takes 10 us, and a time for each million weights."""

    ms_per_million: float = 1.0

    def device_name(self) -> str:
        return "a simulator"

    def settings(self) -> dict[str, Any]:
        return {"ms_per_million": self.ms_per_million}

    def clock(self, threads: int) -> Clock:
        return RUNTIME_CLOCK

    def load(self, model: Model, threads: int) -> Run:
        weights = sum(parameter.numel() for parameter in model.build().parameters())
        ms = 0.01 + self.ms_per_million * weights / 1e6
        return lambda: ms


class HalfPrecision(Simulator):
    """Converts the network in place, as the one of docs/device.md does."""

    def load(self, model: Model, threads: int) -> Run:
        model.build().bfloat16()
        return lambda: 1.0


class NoBackend:
    """A class of another kind."""
