"""Select the best evaluated network within a latency on one of a run's devices, from its study and a latency table."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffnet_search.config.files import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.formatting import percent
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import LATENCY
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import least_latency

Array = NDArray[np.float64]
DRAWN = 400  # random architectures whose quality is predicted
ENOUGH = 20  # candidates to fit the prediction on


@dataclass(frozen=True)
class Selection:
    """`advice`: why to continue the search, or empty. `warning`: how far off the device's table is, or empty."""

    device: str
    candidate: Candidate
    latency_ms: float
    table: LatencyTable
    advice: str = ""
    warning: str = ""


def select_network(folder: Path, latency_ms: float, device: str | None = None) -> Selection:
    """Select the best candidate of a run by the task's quality that is predicted to keep `latency_ms` on `device`.

    `device` names a table in the run's `latency/`; by default it is the search's first one. Raises SweepError where the
    run, its study or the table is missing, and where no candidate is as fast: with the fastest candidate, and the
    fastest architecture of the search space."""
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
    fitting = [(candidate, time) for candidate, time in zip(candidates, times, strict=True) if time <= latency_ms]
    if not fitting:
        least = least_latency(sweep.search_space, table)
        fastest_ms, reached_ms = LATENCY.format(min(times)), LATENCY.format(table.predict_ms(least))
        raise SweepError(
            f"{folder}: of {len(candidates)} candidates the fastest takes {fastest_ms} on {path.stem}, but "
            f"{latency_ms:g} ms were asked for; the search space reaches {reached_ms} ({least}): "
            "search on with such a limit, or give the space smaller choices"
        )
    quality = sweep.quality
    best, time = min(fitting, key=lambda pair: (quality.sign * pair[0].metrics[quality.name], pair[1]))
    selection = Selection(path.stem, best, time, table, warning=_warning(sweep, path.stem, table))
    return replace(selection, advice=_advice(sweep, selection, candidates, latency_ms))


def _table_path(files: RunPaths, sweep: Sweep, device: str | None) -> Path:
    name = device or sweep.latency_path.stem
    path = files.latency / f"{name}.json"
    if not path.exists():
        known = sorted(table.stem for table in files.latency.glob("*.json"))
        raise SweepError(
            f"{files.latency}: holds no table of {name!r}{did_you_mean(name, known)}; available: "
            f"{', '.join(known) or 'none'}; make it with `ffnet-search profile SWEEP --device {name}`"
        )
    return path


def _advice(sweep: Sweep, selection: Selection, candidates: Sequence[Candidate], latency_ms: float) -> str:
    if len(candidates) < ENOUGH:
        return ""
    quality, table = sweep.quality, selection.table
    seen, rng = {candidate.network.key for candidate in candidates}, random.Random(0)
    drawn = dict.fromkeys(sweep.search_space.sample(rng) for _ in range(DRAWN))
    times = table.predict_batch(drawn)
    archs = [arch for arch, time in zip(drawn, times, strict=True) if time <= latency_ms and arch.key not in seen]
    if not archs:
        return ""
    predicted = _predict(table, candidates, quality.name, archs)
    index = int(np.argmin(quality.sign * predicted))
    if quality.sign * predicted[index] >= quality.sign * selection.candidate.metrics[quality.name]:
        return ""
    arch = archs[index]
    metric = LATENCY if selection.device == sweep.latency_path.stem else LATENCY.on(selection.device)
    return (
        f"{arch.key} was never evaluated, and is predicted to reach {quality.format(predicted[index])} in "
        f"{LATENCY.format(table.predict_ms(arch))} ({arch}); search on with more search.trials, and "
        f"search.constraints: {{{metric.key}: {latency_ms:g}}}"
    )


def _warning(sweep: Sweep, device: str, table: LatencyTable) -> str:
    wanted, within_10 = sweep.latency[0].min_within_10, table.error.within_10
    if within_10 >= wanted:
        return ""
    return (
        f"only {percent(within_10, 0)} of the held-out networks of the table of {device} are within 10 % of their "
        f"prediction (latency.min_within_10 is {wanted:g}): measure the network there before relying on this"
    )


def _predict(table: LatencyTable, known: Sequence[Candidate], quality: str, archs: Sequence[Architecture]) -> Array:
    """Predict a quality of `archs` by ridge regression on the logarithms of MACs, weights, time and parts."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def features(archs: Sequence[Architecture]) -> Array:
        times = table.predict_batch(archs)
        rows = [(arch.macs_m, arch.params_m, time, len(arch.parts)) for arch, time in zip(archs, times, strict=True)]
        return np.log(np.array(rows))

    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    model.fit(features([one.network for one in known]), [one.metrics[quality] for one in known])
    return np.asarray(model.predict(features(archs)))
