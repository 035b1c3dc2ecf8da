"""Measurements as they are made, on disk, so that an interrupted profile loses at most the one in flight."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from ffnet_search.errors import SweepError
from ffnet_search.latency.timing import Mix, Rounds

_KEYS = {"ratios", "anchors_s", "seconds"}


class Journal:
    """Measurements so far, one line of JSON for each look at the anchors. A journal of other inputs is begun anew."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.ratios: defaultdict[str, list[float]] = defaultdict(list)
        self._looks: list[tuple[float, ...]] = []
        self._contention: list[float] = []
        self.seconds = 0.0
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        read = [_parsed(line) for line in lines]
        whole: list[dict[str, Any]] = [{"digest": digest}]
        if read and read[0] == whole[0]:  # without a line that a kill has cut off
            whole += [line for line in read if line.keys() == _KEYS or line.keys() == {"contention"}]
        for line in whole[1:]:
            self._take(line)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in whole), encoding="utf-8")
        except OSError as error:
            raise SweepError(f"{path}: the journal of measurements cannot be written: {error}") from None

    def add(self, ratios: tuple[tuple[str, float], ...], anchors_s: tuple[float, ...], seconds: float) -> None:
        """A round of each of some jobs, and the look at the anchors after it."""
        self._write({"ratios": dict(ratios), "anchors_s": anchors_s, "seconds": seconds})

    def add_contention(self, contention: float) -> None:
        self._write({"contention": contention})

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        if "contention" in line:
            self._contention.append(line["contention"])
            return
        for name, ratio in line["ratios"].items():
            self.ratios[name].append(ratio)
        self._looks.append(tuple(line["anchors_s"]))
        self.seconds += line["seconds"]

    @property
    def anchors_ms(self) -> Mix:
        """Median milliseconds of each anchor."""
        return tuple(1e3 * statistics.median(seconds) for seconds in zip(*self._looks, strict=True))

    @property
    def contention(self) -> float:
        return statistics.median(self._contention)

    def count(self, name: str) -> int:
        """Rounds of a job so far."""
        return len(self.ratios[name]) if name in self.ratios else 0

    def rounds(self, name: str) -> Rounds:
        return Rounds(tuple(self.ratios[name]))


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
