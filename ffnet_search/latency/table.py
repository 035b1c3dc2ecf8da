"""A latency table: milliseconds of every part of a search space on one device, with the error of its predictions.

`ffnet_search.latency.build.profile` makes a table. It predicts

    predict_ms(arch) = intercept_ms + sum of part_ms(part) + spill_ms_per_m * max(0, params_m - resident_m)

over arch.parts. `part_ms` is calibrated on whole networks and not negative. The last term is the time to fetch weights
again in every run that do not stay in the cache (derived in `ffnet_search.latency.network_model`). Of a space of a few
networks it holds no part, but the time of each network (`LatencyTable.is_exact`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from ffnet_search.atomic_write import write_text
from ffnet_search.errors import NAME, SweepError
from ffnet_search.files.bounded import JSON_BYTES, must_be_date, read_bounded
from ffnet_search.formatting import percent, quoted
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part
from ffnet_search.strict_yaml import Section

MIN_MS, MAX_MS = 1e-9, 1e9  # of any network or part; a file may be untrusted
MAX_SHARE = MAX_MS / MIN_MS


def _no_trace(ms: float) -> float:
    """0 for times that are shorter than any."""
    if 0 < ms < MIN_MS:
        raise ValueError(f"must be 0 or at least {MIN_MS:g}")
    return ms


Ms = Annotated[float, Field(ge=MIN_MS, le=MAX_MS)]  # milliseconds for one batch
MsOrNone = Annotated[float, Field(ge=0, le=MAX_MS), AfterValidator(_no_trace)]  # 0 where a fit gives a part none
Share = Annotated[float, Field(ge=0, le=MAX_SHARE)]  # 0.1 for 10 %
Count = Annotated[int, Field(ge=1, le=10**9)]
VERSION: Literal[2] = 2  # raised with every change of the fields below


class Entry(Section):
    """One part of the space."""

    ms: MsOrNone  # calibrated on whole networks
    raw_ms: MsOrNone  # of the part alone
    spread: Share = 0.0  # relative standard deviation of one round
    measured: bool = True  # timed itself, not interpolated between timed parts of its family


class Check(Section):
    """A whole network that was measured: predicted and measured milliseconds side by side."""

    architecture: Architecture
    predicted_ms: Ms
    measured_ms: Ms
    halves_ms: tuple[Ms, Ms]  # medians over the even and the odd passes: no prediction can be nearer than they are
    spread: Share  # relative standard deviation of one round

    @property
    def error(self) -> float:
        """Relative: +0.1 where the prediction is 10 % too high."""
        return self.predicted_ms / self.measured_ms - 1


class Setting(Section):
    """Device, runtime, date and method of the measurements: a constraint on latency means nothing without them."""

    device: str
    backend: str
    settings: dict[str, Any]  # of the backend
    threads: Count
    batch_size: Count
    dtype: str
    versions: dict[str, str]
    date: Annotated[str, AfterValidator(must_be_date)]  # ISO 8601, UTC
    clock: str
    rounds: Count
    contention: Share  # wall / CPU time of busy threads meanwhile: 1 = no other program on the cores
    anchors_ms: tuple[Ms, ...]  # of the anchor networks, whose times divide out drift
    build_seconds: Annotated[float, Field(ge=0, le=MAX_MS)]


class TableError(Section):
    """Predictions against measurements of networks that were held out from fitting. Shares, not per cent.

    `repeated`: nothing was fitted; each network was measured, and then again."""

    networks: Count
    mean: Share  # of |error|
    max: Share
    within_10: Annotated[float, Field(ge=0, le=1)]  # share of networks with |error| <= 10 %
    kendall: Annotated[float, Field(ge=-1.001, le=1.001)]  # rank correlation, tau-b, rounded
    noise_floor: Share  # mean difference between two halves of the same measurements
    repeated: bool = False

    @classmethod
    def of(cls, checks: Sequence[Check], *, repeated: bool = False) -> TableError:
        """The error of the predictions of held-out networks."""
        errors = np.abs([check.error for check in checks])
        halves = np.array([check.halves_ms for check in checks])
        return cls(
            networks=len(errors),
            mean=float(errors.mean()),
            max=float(errors.max()),
            within_10=float((errors <= 0.1).mean()),
            kendall=kendall_tau([one.predicted_ms for one in checks], [one.measured_ms for one in checks]),
            noise_floor=float(np.abs(halves[:, 0] / halves[:, 1] - 1).mean()),
            repeated=repeated,
        )

    @property
    def networks_words(self) -> str:
        """The networks that the error is of, for sentences."""
        return "networks, each measured again," if self.repeated else "held-out networks"

    def __str__(self) -> str:
        if self.repeated:
            whole = "the one network" if self.networks == 1 else f"all {self.networks} networks"
            return (
                f"{whole} of the space measured; measured again, mean error {percent(self.mean, 1)}, max "
                f"{percent(self.max, 1)}, {percent(self.within_10, 0)} within 10 %"
            )
        return (
            f"mean error {percent(self.mean, 1)} (noise floor {percent(self.noise_floor, 1)}), max "
            f"{percent(self.max, 1)}, {percent(self.within_10, 0)} within 10 %, Kendall {self.kendall:.3f} on "
            f"{self.networks} held-out networks"
        )


class LatencyTable(Section):
    """Latency of every part of a search space on one device.

    >>> table = LatencyTable.load("runs/digits/latency/onnxruntime-t1-b1.json")  # doctest: +SKIP
    >>> table.predict_ms(arch), table.error  # doctest: +SKIP"""

    format: Literal["ffnet-search latency table"] = "ffnet-search latency table"
    version: Literal[2] = VERSION
    setting: Setting
    error: TableError
    intercept_ms: MsOrNone
    spill_ms_per_m: MsOrNone = 0.0  # for a million weights more than the cache holds
    resident_m: float = Field(0.0, ge=0, le=MAX_MS)  # millions of weights that it holds
    entries: dict[str, Entry]  # by Part.key; none if it is exact
    calibration: tuple[Check, ...]  # networks that intercept and slopes were fitted to
    held_out: tuple[Check, ...] = Field(min_length=1)

    @property
    def is_exact(self) -> bool:
        """True if it holds the time of each network of a space, and no parts."""
        return not self.entries

    @property
    def name(self) -> str:
        """The name in files and messages, such as `onnxruntime-t1-b1`."""
        setting, backend = self.setting, self.setting.backend.rpartition(":")[2]
        precision = "" if setting.dtype == "float32" else f"-{setting.dtype}"
        return f"{backend}{precision}-t{setting.threads}-b{setting.batch_size}"

    def predict_ms(self, arch: Architecture) -> Ms:
        """Milliseconds for one batch. Raises SweepError for a network with parts that were not profiled."""
        [ms] = self.predict_batch([arch])
        return ms

    def predict_batch(self, archs: Iterable[Architecture]) -> list[Ms]:
        """Milliseconds of each architecture: `predict_ms` of many at once."""
        if self.is_exact:
            return [self._whole_ms(arch) for arch in archs]
        costs, predictions = self._costs, []
        for arch in archs:
            parts_ms, params = 0.0, 0
            for part in arch.parts:
                ms, part_params = costs.get(part) or self._cost(part)
                parts_ms += ms
                params += part_params
            beyond_m = max(0.0, params / 1e6 - self.resident_m)
            predictions.append(self.intercept_ms + parts_ms + self.spill_ms_per_m * beyond_m)
        return predictions

    def part_ms(self, part: Part, spilt: float = 0.0) -> Ms:
        """Milliseconds that one occurrence of `part` adds to `predict_ms`.

        `spilt` is the share of its weights that does not stay in the cache. Raises SweepError for an unknown part."""
        ms, params = self._costs.get(part) or self._cost(part)
        return ms + spilt * self.spill_ms_per_m * params / 1e6

    def raw_ms(self, arch: Architecture) -> Ms:
        """The sum of the parts' times alone: a baseline to compare `predict_ms` with."""
        return sum(self._entry(part).raw_ms for part in arch.parts)

    @property
    def worst(self) -> tuple[Check, ...]:
        """Held-out networks, worst predicted first."""
        return tuple(sorted(self.held_out, key=lambda check: -abs(check.error)))

    @cached_property
    def _costs(self) -> dict[Part, tuple[Ms, int]]:
        """Milliseconds and weights of parts so far: names are slow, and a search asks for the same parts."""
        return {}

    @cached_property
    def _whole(self) -> dict[Architecture, Ms]:
        return {check.architecture: check.predicted_ms for check in self.held_out}

    def _whole_ms(self, arch: Architecture) -> Ms:
        if arch not in self._whole:
            raise self._lacks(arch.key)
        return self._whole[arch]

    def _entry(self, part: Part) -> Entry:
        entry = self.entries.get(part.key)
        if entry is None:
            raise self._lacks(part.key)
        return entry

    def _lacks(self, key: str) -> SweepError:
        return SweepError(
            f"latency table {self.name}: has no entry for {key!r}, so the architecture is not of the search space that "
            "was profiled; profile that space again"
        )

    def _cost(self, part: Part) -> tuple[Ms, int]:
        self._costs[part] = self._entry(part).ms, part.costs.params
        return self._costs[part]

    def save(self, path: Path) -> None:
        """Write the table as JSON. Raises SweepError if the file cannot be written."""
        write_text(path, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """Read a table. Raises SweepError if the file is missing, invalid, or of an older version."""
        try:
            return cls.model_validate_json(read_bounded(Path(path), JSON_BYTES))
        except FileNotFoundError:
            run = Path(path).absolute().parent.parent  # runs/NAME/latency/DEVICE.json
            sweep = quoted(run) if (run / "sweep.yaml").exists() else "SWEEP"
            raise SweepError(f"{path}: no such latency table; make it with `ffnet-search profile {sweep}`") from None
        except OSError as error:
            raise SweepError(f"{path}: the latency table cannot be read: {error}") from None
        except ValidationError as error:
            detail = error.errors()[0]
            place = ".".join(str(step) for step in detail["loc"]) or "the file"
            raise SweepError(
                f"{path}: must be a latency table (version {VERSION}), but {place[:NAME]} is not valid "
                f"({detail['msg'][:NAME]}); move the file away and profile again"
            ) from None
        except (ValueError, RecursionError) as error:
            raise SweepError(f"{path}: must be a latency table, but cannot be read: {error}") from None


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, tau-b (ties in either count half); 0 if one of them is constant."""
    if min(len(set(a)), len(set(b))) < 2:
        return 0.0
    from scipy.stats import kendalltau  # 0.25 s, which a reader of tables does not need

    return float(kendalltau(a, b).statistic)
