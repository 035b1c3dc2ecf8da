"""A better architecture that a search has never evaluated, as predicted from those that it has."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.answer import Offer
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import LATENCY
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.architecture import Architecture

Array = NDArray[np.float64]
SAMPLED_NETWORKS = 400  # random architectures whose quality is predicted
MIN_CANDIDATES = 20  # candidates to fit the prediction on


def advice_of(
    sweep: Sweep,
    table: LatencyTable,
    device: str,
    best: Offer | None,
    candidates: Sequence[Candidate],
    latency_ms: float,
) -> str:
    """Advice to search on: an architecture within a latency on a device that was never evaluated, and is predicted to
    be better than the `best` of the candidates; empty if none is found. `table`: of the device."""
    if len(candidates) < MIN_CANDIDATES or math.isinf(latency_ms):
        return ""
    quality = ranking(sweep)
    seen, rng = {candidate.network.key for candidate in candidates}, random.Random(0)
    drawn = dict.fromkeys(sweep.search_space.sample(rng) for _ in range(SAMPLED_NETWORKS))
    times = table.predict_batch(drawn)
    archs = [arch for arch, time in zip(drawn, times, strict=True) if time <= latency_ms and arch.key not in seen]
    if not archs:
        return ""
    predicted = _predict(table, candidates, quality.key, archs)
    index = int(np.argmin(quality.sign * predicted))
    if best is None or quality.sign * predicted[index] >= quality.sign * best.compared:
        return ""
    arch = archs[index]
    metric = LATENCY if device == sweep.latency_path.stem else LATENCY.on(device)
    reached = quality.format(predicted[index])
    if best.quality != best.compared:  # retrained, and the prediction is of networks that are not
        reached += f" as the search compares networks, by which {best.key} has {quality.format(best.compared)},"
    return (
        f"{arch.key} was never evaluated, and is predicted to reach {reached} in "
        f"{LATENCY.format(table.predict_ms(arch))} ({arch}); search on with more search.trials, and "
        f"search.constraints: {{{metric.key}: {latency_ms:g}}}"
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
