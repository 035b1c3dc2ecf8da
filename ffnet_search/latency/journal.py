"""Measurements on disk as they are made: an interrupted profile loses at most the one in progress."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ffnet_search.atomic_write import write_text
from ffnet_search.errors import SweepError
from ffnet_search.files.bounded import parse_json, read_bounded
from ffnet_search.latency.timing import Reading, Rounds
from ffnet_search.progress import say

ANCHORS = 2  # see `anchors`
BYTES = 1 << 28  # of a journal, at most


class Journal:
    """Measurements so far, a line of JSON per reading of the anchors. A journal of another digest starts empty."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self._ratios: defaultdict[str, list[float]] = defaultdict(list)
        self._readings: list[Sequence[float]] = []
        self._contention: list[float] = []
        self.seconds = 0.0
        try:
            lines = read_bounded(path, BYTES).decode(errors="replace").splitlines() if path.exists() else []
        except (OSError, ValueError) as error:
            raise SweepError(f"{path}: cannot be read as a journal ({error}); move it away to measure again") from None
        whole: list[dict[str, Any]] = [{"digest": digest}]
        if lines and _parsed(lines[0]) == whole[0]:
            read = [content for content in map(_parsed, lines[1:]) if _is_whole(content)]
            if len(read) < len(lines) - 1:
                count = len(lines) - 1 - len(read)
                say(f"profile: {path}: {count} damaged line(s) left out; what they held is measured again")
            whole += read
        for line in whole[1:]:
            self._take(line)
        write_text(path, "".join(json.dumps(line) + "\n" for line in whole))

    def add(self, ratios: Mapping[str, float], anchors_s: Sequence[float], seconds: float) -> None:
        """Append a round of some jobs by id, the reading of the anchors after it, and the seconds that both took."""
        self._write({"ratios": ratios, "anchors_s": anchors_s, "seconds": seconds})

    def add_contention(self, contention: float) -> None:
        """Append the wall / CPU time of busy threads."""
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
            self._ratios[name].append(ratio)
        self._readings.append(line["anchors_s"])
        self.seconds += line["seconds"]

    @property
    def anchors_ms(self) -> Reading:
        """Median milliseconds of each anchor."""
        return tuple(1e3 * statistics.median(seconds) for seconds in zip(*self._readings, strict=True))

    @property
    def contention(self) -> float | None:
        """Median wall / CPU time of busy threads; None before the first, which follows a group of measurements."""
        return statistics.median(self._contention) if self._contention else None

    def count(self, name: str) -> int:
        """Rounds of a job so far."""
        return len(self._ratios.get(name, []))

    @property
    def total_rounds(self) -> int:
        return sum(map(len, self._ratios.values()))

    def rounds(self, name: str) -> Rounds:
        return Rounds(tuple(self._ratios[name]))


def _parsed(line: str) -> Any:
    try:
        return parse_json(line)
    except ValueError:  # a kill cut it off, or a disk damaged it
        return None


def _is_whole(line: Any) -> bool:
    """True if a line is one that `add` or `add_contention` wrote."""
    if not isinstance(line, dict):
        return False
    if "contention" in line:
        return _are_numbers([line["contention"]])
    ratios, anchors_s = line.get("ratios"), line.get("anchors_s")
    if not isinstance(ratios, dict) or not isinstance(anchors_s, list) or len(anchors_s) != ANCHORS:
        return False
    return _are_numbers([*ratios.values(), *anchors_s, line.get("seconds")])


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) and value >= 0 for value in values)
