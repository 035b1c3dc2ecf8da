"""A latency table: milliseconds of every part that a search space can ask for, on one device, and how far to trust it.

A table is made by `ffnet_search.latency.build.profile`. It predicts

    predict_ms(arch) = intercept_ms + sum of part_ms(part) + spill_ms_per_m * max(0, params_m - resident_m)

over arch.parts. `part_ms` is calibrated on whole networks and not negative; the last term is what is fetched again in
every run because it does not stay in the cache (derived in `ffnet_search/profiling/predictor.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from ffnet_search.errors import SweepError
from ffnet_search.formatting import percent
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part
from ffnet_search.strict_yaml import Section

Ms = float  # milliseconds for one batch
FORMAT: Literal["ffnet-search latency table"] = "ffnet-search latency table"
VERSION: Literal[2] = 2  # raised with every change of the fields below


class Entry(Section):
    """One part. `measured`: timed itself, or interpolated between timed parts of its family.

    `raw_ms` is what the part took alone, before calibration; `spread` the relative standard deviation of one round.
    """

    ms: Ms = Field(ge=0, allow_inf_nan=False)
    raw_ms: Ms = Field(ge=0, allow_inf_nan=False)
    spread: float = Field(0.0, ge=0)
    measured: bool = True


class Check(Section):
    """A whole network that was measured: predicted and measured milliseconds side by side.

    `halves_ms` are medians over the even and over the odd rounds: their difference is noise, and no prediction can be
    expected to be nearer than that.
    """

    architecture: Architecture
    predicted_ms: Ms = Field(gt=0)
    measured_ms: Ms = Field(gt=0)
    halves_ms: tuple[Ms, Ms]
    spread: float = Field(ge=0)

    @property
    def error(self) -> float:
        """Relative: +0.1 where the prediction is 10 % too high."""
        return self.predicted_ms / self.measured_ms - 1


class Setting(Section):
    """What was measured on, with what, when and how: a constraint on latency means nothing without it."""

    device: str
    backend: str
    settings: dict[str, Any]  # of the backend
    threads: int
    batch_size: int
    dtype: str
    versions: dict[str, str]
    date: str  # ISO 8601, UTC
    clock: str
    rounds: int
    contention: float  # wall / CPU time of busy threads while it was measured: 1 = nobody else on the cores
    anchors_ms: tuple[Ms, ...]  # of the networks whose times divide out drift
    build_seconds: float


class TableError(Section):
    """How predictions compare with measurements of networks that were held out from fitting. Shares, not per cent."""

    networks: int
    mean: float  # of |error|
    max: float
    within_10: float  # share of networks with |error| <= 10 %
    kendall: float  # rank correlation, tau-b
    noise_floor: float  # mean difference between two halves of the same measurements

    @classmethod
    def of(
        cls, predicted_ms: Sequence[float], measured_ms: Sequence[float], halves_ms: Sequence[tuple[float, float]]
    ) -> TableError:
        predicted, measured, halves = np.asarray(predicted_ms), np.asarray(measured_ms), np.asarray(halves_ms)
        errors = np.abs(predicted / measured - 1)
        return cls(
            networks=len(errors),
            mean=float(errors.mean()),
            max=float(errors.max()),
            within_10=float((errors <= 0.1).mean()),
            kendall=kendall_tau(predicted, measured),
            noise_floor=float(np.abs(halves[:, 0] / halves[:, 1] - 1).mean()),
        )

    def __str__(self) -> str:
        return (
            f"mean error {percent(self.mean, 1)} (noise floor {percent(self.noise_floor, 1)}), max "
            f"{percent(self.max, 1)}, {percent(self.within_10, 0)} within 10 %, Kendall {self.kendall:.3f} on "
            f"{self.networks} held-out networks"
        )


class LatencyTable(Section):
    """Latency of every part of a search space on one device.

    >>> table = LatencyTable.load("runs/digits/latency/onnxruntime-t1-b1.json")  # doctest: +SKIP
    >>> table.predict_ms(arch), table.error  # doctest: +SKIP
    """

    format: Literal["ffnet-search latency table"] = FORMAT
    version: Literal[2] = VERSION
    setting: Setting
    error: TableError
    intercept_ms: Ms = Field(ge=0)
    spill_ms_per_m: Ms = Field(0.0, ge=0)  # for a million weights more than the cache holds
    resident_m: float = Field(0.0, ge=0)  # millions of weights that it holds
    entries: dict[str, Entry]  # by Part.key
    calibration: tuple[Check, ...]  # networks that the intercept and the slopes were fitted on
    held_out: tuple[Check, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """For files and messages, e.g. `onnxruntime-t1-b1`."""
        return f"{self.setting.backend}-t{self.setting.threads}-b{self.setting.batch_size}"

    def predict_ms(self, arch: Architecture) -> Ms:
        """Milliseconds for one batch. Raises SweepError for a network with parts that were not profiled."""
        [ms] = self.predict_batch([arch])
        return ms

    def predict_batch(self, archs: Iterable[Architecture]) -> list[Ms]:
        """`predict_ms` of each."""
        cost, found = self._costs.__getitem__, []
        for arch in archs:
            parts_ms, params = map(sum, zip(*map(cost, arch.parts), strict=True))
            beyond_m = max(0.0, params / 1e6 - self.resident_m)
            found.append(self.intercept_ms + parts_ms + self.spill_ms_per_m * beyond_m)
        return found

    def part_ms(self, part: Part, spilt: float = 0.0) -> Ms:
        """What one occurrence of `part` adds to `predict_ms`, where a share `spilt` of its weights does not stay in the
        cache. Raises SweepError where it is not known."""
        ms, params = self._costs[part]
        return ms + spilt * self.spill_ms_per_m * params / 1e6

    def raw_ms(self, arch: Architecture) -> Ms:
        """The sum of parts as they were measured alone: a straw man to compare `predict_ms` with."""
        return sum(self._entry(part).raw_ms for part in arch.parts)

    @property
    def worst(self) -> tuple[Check, ...]:
        """Held-out networks, worst predicted first."""
        return tuple(sorted(self.held_out, key=lambda check: -abs(check.error)))

    def _entry(self, part: Part) -> Entry:
        entry = self.entries.get(part.key)
        if entry is None:
            raise SweepError(
                f"latency table {self.name}: has no entry for {part.key!r}, so the architecture is not of the search "
                "space that was profiled; profile that space again (ffnet-search profile)"
            )
        return entry

    @cached_property
    def _costs(self) -> _Costs:
        return _Costs(self)

    def save(self, path: Path) -> None:
        """Whole or not at all. Raises SweepError where the file cannot be written."""
        scratch = path.with_name(f"{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(self.model_dump_json(indent=1), encoding="utf-8")
            os.replace(scratch, path)
        except OSError as error:
            raise SweepError(f"{path}: the latency table cannot be written: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """Raises SweepError, naming the file and what to do, where it is missing, broken, foreign or older."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except FileNotFoundError:
            raise SweepError(f"{path}: no such latency table; make it with ffnet-search profile") from None
        except OSError as error:
            raise SweepError(f"{path}: the latency table cannot be read: {error}") from None
        except ValidationError as error:
            detail = error.errors()[0]
            place = ".".join(str(step) for step in detail["loc"]) or "the file"
            raise SweepError(
                f"{path}: must be a latency table (version {VERSION}), but {place} is not valid ({detail['msg']}); "
                "move the file away and profile again"
            ) from None


class _Costs(dict[Part, tuple[Ms, int]]):
    """Part -> calibrated milliseconds and weights, looked up by name once: a search asks for the same parts often."""

    def __init__(self, table: LatencyTable) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, part: Part) -> tuple[Ms, int]:
        self[part] = self._table._entry(part).ms, part.params
        return self[part]


def kendall_tau(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Rank correlation, tau-b (ties in either count half), by all pairs; 0 where one of them is constant."""
    i, j = np.triu_indices(len(a), k=1)
    x, y = np.asarray(a, float), np.asarray(b, float)
    over_a, over_b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
    pairs = np.sqrt(float((over_a != 0).sum()) * float((over_b != 0).sum()))
    return float((over_a * over_b).sum() / pairs) if pairs else 0.0
