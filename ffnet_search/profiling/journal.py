"""Measurements as they are made, on disk, so that an interrupted profile continues where it was."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffnet_search.errors import SweepError
from ffnet_search.profiling.protocol import Rounds

_KEYS = {"ratios", "anchor_s", "contention", "seconds"}


class Journal:
    """Measurements so far, one line of JSON per group. A journal of other inputs is begun anew."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path = path
        self.ratios: dict[str, tuple[float, ...]] = {}
        self._anchor_s: list[float] = []
        self._contention: list[float] = []
        self.seconds = 0.0
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        read = [_parsed(line) for line in lines]
        whole: list[dict[str, Any]] = [{"digest": digest}]
        if read and read[0] == whole[0]:
            whole += [line for line in read if line.keys() == _KEYS]  # without one that a kill has cut off
        for line in whole[1:]:
            self._take(**line)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in whole), encoding="utf-8")
        except OSError as error:
            raise SweepError(f"{path}: the journal of measurements cannot be written: {error}") from None

    def add(
        self, ratios: dict[str, tuple[float, ...]], anchor_s: list[float], contention: float, seconds: float
    ) -> None:
        line = {"ratios": ratios, "anchor_s": anchor_s, "contention": contention, "seconds": seconds}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._take(**line)  # type: ignore[arg-type]

    def _take(
        self, ratios: dict[str, Sequence[float]], anchor_s: list[float], contention: float, seconds: float
    ) -> None:
        self.ratios |= {name: tuple(values) for name, values in ratios.items()}
        self._anchor_s += anchor_s
        self._contention.append(contention)
        self.seconds += seconds

    @property
    def anchor_ms(self) -> float:
        return 1e3 * statistics.median(self._anchor_s)

    @property
    def contention(self) -> float:
        return statistics.median(self._contention)

    def rounds(self, name: str) -> Rounds:
        return Rounds(self.ratios[name])


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
