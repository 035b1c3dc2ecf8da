"""The gains of a front over the networks of its yardstick, at their latencies.

runs/NAME/yardstick/gains.json   the gain over each, the quickest first
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ffnet_search.files.bounded import read_json
from ffnet_search.metrics import MEASURED, Metric
from ffnet_search.tasks.scores import LEVEL

GAINS = "gains.json"  # in the yardstick's folder


@dataclass(frozen=True)
class Gain:
    """The gain of a front over one network by hand, at its latency: on test, where neither was chosen.

    `difference`: in the quality, positive where the front is better; `error`: its standard error, of both networks on
    the same images, infinite for one image; `front` is empty if no network of the front is as quick."""

    by_hand: str
    folder: str  # of the network by hand
    ms: float
    quality: float
    front: str = ""
    front_quality: float = 0.0
    difference: float = 0.0
    error: float = 0.0
    p: float = 1.0
    is_same: bool = False  # the network of the front is the one by hand

    def words(self, quality: Metric) -> str:
        """The gain in a sentence."""
        budget = f"at {MEASURED['measured_ms'].format(self.ms)}, the latency of {self.by_hand}"
        if not self.front:
            return f"{budget} ({quality.format(self.quality)} on test): the front has no network as quick"
        if self.is_same:
            return f"{budget} ({quality.format(self.quality)} on test): {self.front} is this network"
        unit = "points" if quality.unit == "%" else quality.unit
        told = "" if self.p < LEVEL else ", which a paired test does not tell from none"
        gain = self.difference_words(quality, unit)
        return f"{budget} ({quality.format(self.quality)} on test): {self.front} has {gain}{told}"

    def difference_words(self, quality: Metric, unit: str = "") -> str:
        """The difference and its error in the printed unit: `+1.20 ± 0.40`, or `0.40 ± 0.20 worse` for an error;
        without a finite error, by itself."""
        difference = quality.scale * self.difference
        error = f" ± {quality.scale * self.error:.2f}" if math.isfinite(self.error) else ""
        if quality.direction == "maximize":
            return f"{difference:+.2f}{error} {unit}".rstrip()
        sense = "better" if difference >= 0 else "worse"
        return " ".join(filter(None, (f"{abs(difference):.2f}{error}", unit, sense)))


def _error(stored: Any) -> Any:
    """A standard error of JSON, which knows no infinity."""
    return math.inf if stored is None else stored


def read_gains(folder: Path) -> list[Gain]:
    """The gains of a run's front over its yardstick; empty if none was made."""
    try:
        gains = [
            Gain(**{**content, "error": _error(content.get("error", 0.0))}) for content in read_json(folder / GAINS)
        ]
        numbers = [getattr(gain, field.name) for gain in gains for field in fields(gain) if field.type == "float"]
        return gains if all(isinstance(number, int | float) for number in numbers) else []
    except (OSError, ValueError, TypeError):
        return []
