"""The best network that was evaluated within a latency on one of a run's devices, in a second: nothing is run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.formatting import percent
from ffnet_search.latency.table import LatencyTable
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.feasibility import CostModel

DRAWN = 400  # architectures that are looked at beside the evaluated ones
ENOUGH = 20  # candidates, for a guess at the accuracy of others


@dataclass(frozen=True)
class Selection:
    """`advice`: empty, or why to search on. `warning`: empty, or how far off the device's table is."""

    device: str
    candidate: Candidate
    latency_ms: float
    table: LatencyTable
    advice: str
    warning: str = ""


def pick(folder: Path, latency_ms: float, device: str | None = None) -> Selection:
    """The most accurate candidate of a run that `device` (the name of a table in the run's `latency/`; that of the
    search by default) is predicted to run within `latency_ms`.

    Raises SweepError where the run, its study or the table is missing, and where no candidate is as fast: with the
    fastest that was evaluated, and the fastest that there can be.
    """
    files = RunPaths(folder)
    if not files.sweep.exists():
        raise SweepError(f"{folder}: must be the folder of a run, but holds no {files.sweep.name}")
    sweep = Sweep.from_yaml(files.sweep)
    path = _table_path(files, sweep, device)
    table = LatencyTable.load(path)
    candidates = read_candidates(files.study, sweep.search_space)
    if not candidates:
        raise SweepError(f"{files.study}: holds no evaluated candidate; run `ffnet-search search {files.sweep}` first")
    times = table.predict_batch(candidate.network for candidate in candidates)
    fitting = [(c, ms) for c, ms in zip(candidates, times, strict=True) if ms <= latency_ms]
    least = CostModel(table).least(sweep.search_space, "latency_ms")
    if not fitting:
        raise SweepError(
            f"{folder}: of {len(candidates)} candidates the fastest takes {min(times):.3g} ms on {path.stem}, but "
            f"{latency_ms:g} ms were asked for; the search space reaches {table.predict_ms(least):.3g} ms ({least}): "
            "search on with such a limit, or give the space smaller choices"
        )
    best, ms = max(fitting, key=lambda pair: (pair[0].metrics["accuracy"], -pair[1]))
    unseen = _best_unseen(sweep, table, candidates, latency_ms)
    advice = ""
    if unseen and unseen[1] > best.metrics["accuracy"]:
        advice = (
            f"{unseen[0].key} was never evaluated, and is guessed to reach {100 * unseen[1]:.2f} % in "
            f"{table.predict_ms(unseen[0]):.3g} ms ({unseen[0]}); search on with more search.trials, and "
            f"search.constraints: {{{_metric(sweep, path.stem)}: {latency_ms:g}}}"
        )
    warning = ""
    if table.error.within_10 < sweep.latency.min_within_10:
        warning = (
            f"only {percent(table.error.within_10, 0)} of the networks that the table of {path.stem} was checked on "
            f"are within 10 % of their prediction (latency.min_within_10 is {sweep.latency.min_within_10:g}): measure "
            "the network there before relying on this"
        )
    return Selection(path.stem, best, ms, table, advice, warning)


def _metric(sweep: Sweep, device: str) -> str:
    """The name of a device's latency in a sweep."""
    return "latency_ms" if device == sweep.latency_path.stem else f"latency_ms@{device}"


def _table_path(files: RunPaths, sweep: Sweep, device: str | None) -> Path:
    name = device or sweep.latency_path.stem
    path = files.latency / f"{name}.json"
    there = sorted(found.stem for found in files.latency.glob("*.json"))
    if not path.exists():
        raise SweepError(
            f"{files.latency}: holds no table of {name!r}{did_you_mean(name, there)}; there are: "
            f"{', '.join(there) or 'none'}; make it with `ffnet-search profile SWEEP --device {name}`"
        )
    return path


def _best_unseen(
    sweep: Sweep, table: LatencyTable, candidates: Sequence[Candidate], latency_ms: float
) -> tuple[Architecture, float] | None:
    """Of random architectures within the limit that were not evaluated, the one whose accuracy is guessed to be the
    highest: a ridge regression on the logarithms of MACs, weights, time and parts."""
    if len(candidates) < ENOUGH:
        return None
    seen, rng = {candidate.network.key for candidate in candidates}, random.Random(0)
    drawn = dict.fromkeys(sweep.search_space.sample(rng) for _ in range(DRAWN))
    fast = [
        a for a, ms in zip(drawn, table.predict_batch(drawn), strict=True) if ms <= latency_ms and a.key not in seen
    ]
    if not fast:
        return None

    def features(archs: Sequence[Architecture]) -> np.ndarray:
        times = table.predict_batch(archs)
        rows = [(a.macs_m, a.params_m, ms, len(a.parts)) for a, ms in zip(archs, times, strict=True)]
        return np.log(np.array(rows))

    known = features([candidate.network for candidate in candidates])
    centre, scale = known.mean(0), known.std(0) + 1e-9
    x = np.c_[np.ones(len(known)), (known - centre) / scale]
    y = np.array([candidate.metrics["accuracy"] for candidate in candidates])
    weights = np.linalg.solve(x.T @ x + np.diag([0.0, 1, 1, 1, 1]), x.T @ y)
    guesses = np.c_[np.ones(len(fast)), (features(fast) - centre) / scale] @ weights
    index = int(guesses.argmax())
    return fast[index], float(guesses[index])
