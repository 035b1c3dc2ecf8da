"""Exported networks compared on the same images: groups that do not differ significantly, and the gain of the front
over networks scaled by hand.

runs/NAME/pareto/groups.json   split -> the folder's name -> letters: who shares one, is in one group; and `first`

Computed when a network is exported, so that it costs nothing to show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ffnet_search.atomic_write import write_json
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.files.bounded import read_json
from ffnet_search.metrics import JUDGED, MEASURED, SPLITS, Metric
from ffnet_search.tasks.scores import LEVEL, letters

GROUPS = "groups.json"
GAINS = "gains.json"  # in the yardstick's folder: see `export.yardstick`
Groups = Mapping[str, Mapping[str, str]]
WORDS = "networks that share a letter are not told apart by a paired test on the same images, at 5 % for all pairs"


@dataclass(frozen=True)
class First:
    """The exported network that the search ranks first, by its folder's name; `hint`: a better one is not exported."""

    name: str = ""
    hint: str = ""


def write_groups(pareto: Path, exported: Sequence[ExportedNetwork], first: First) -> None:
    """Test all pairs of exported networks that have scores, and write their groups beside `first`."""
    groups: dict[str, Mapping[str, str]] = {"first": asdict(first)}
    for split in JUDGED:
        scores = {one.folder.name: found for one in exported if (found := one.scores(split)) is not None}
        if scores or split in SPLITS:
            groups[split] = dict(zip(scores, letters(list(scores.values())), strict=True))
    write_json(pareto / GROUPS, groups)


def read_groups(pareto: Path) -> Groups:
    """The groups of a front; empty if none were written."""
    try:
        stored = read_json(pareto / GROUPS)
        found = {split: {str(name): str(text) for name, text in stored.get(split, {}).items()} for split in JUDGED}
        return {split: names if len(names) > 1 else {} for split, names in found.items()}  # a single one has no rival
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {split: {} for split in JUDGED}


def read_first(pareto: Path) -> First:
    """The network of a front that the search ranks first; nameless where none was written."""
    try:
        stored = read_json(pareto / GROUPS)["first"]
        return First(str(stored["name"]), str(stored["hint"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return First()


def not_told_apart(groups: Groups, split: str, name: str) -> list[str]:
    """The other networks that share a letter with `name` on a split, in the order of the front."""
    of = groups.get(split, {})
    return [other for other, text in of.items() if other != name and set(text) & set(of.get(name, ""))]


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
