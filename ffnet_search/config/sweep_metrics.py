"""Metrics by name, as a sweep knows them: those of the table, of its task, and of its user-supplied module."""

from __future__ import annotations

from ffnet_search.config.sweep import Sweep
from ffnet_search.metrics import Metric, find_metric
from ffnet_search.space.registry import qualities


def metric_of(sweep: Sweep, key: str) -> Metric:
    """The metric of a name in a study or a card of the sweep's run.

    One that only the tests of a user-supplied module log has no more than its name.
    """
    logged = [Metric(name, direction) for name, direction in sweep.search.metrics.items()]
    quality = [sweep.quality] if sweep.module is None else []
    try:
        return find_metric(key, [*qualities(), *logged, *quality])
    except KeyError:
        return Metric(key, "minimize")
