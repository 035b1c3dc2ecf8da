"""Checks of a sweep before anything is run: data, import paths, limits. They load no torch and take about a second."""

from __future__ import annotations

from collections.abc import Iterator

from ffnet_search.config.files import is_cluster
from ffnet_search.config.start import check_start
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.engines.registry import ENGINES
from ffnet_search.errors import error_context
from ffnet_search.latency.backends.base import BACKENDS
from ffnet_search.plugins import find_module, import_path, is_import_path
from ffnet_search.run.stages import cost_model
from ffnet_search.space.cost_model import check_budget


def check_sweep(sweep: Sweep) -> None:
    """Raise SweepError where a run of `sweep` would be refused, as far as that shows without running anything.

    The data and modules of a sweep in a Ray cluster's file are on the cluster, so its file is checked instead."""
    with error_context(sweep.path):
        import_path(sweep.search.engine, "search.engine", ENGINES)
        for device in sweep.latency:
            import_path(device.backend, "latency.backend", BACKENDS)
    if sweep.path.exists() and is_cluster(sweep.path):
        from ffnet_search.cluster.submit import check_cluster

        check_cluster(sweep.path)
    else:
        with error_context(sweep.path):
            if sweep.module is None or not is_import_path(sweep.data.name):
                check_data(sweep.data, sweep.search_space.images)
            if sweep.train.start_from is not None:
                check_start(sweep.train.start_from)
            for field, path in _import_paths(sweep):
                find_module(path, field)
    check_limits(sweep)


def check_limits(sweep: Sweep) -> None:
    """Raise SweepError where no architecture of the space keeps a limit; on latency once its table exists."""
    costs = cost_model(sweep, measured_only=True)
    with error_context(sweep.path):
        check_budget(sweep.search_space, costs, sweep.search.constraints)


def _import_paths(sweep: Sweep) -> Iterator[tuple[str, str]]:
    names = {
        "task": sweep.task,
        "data.name": sweep.data.name,
        "search.engine": sweep.search.engine,
        "search.early_stopping.rule": sweep.search.early_stopping.rule,
        "search.sampler.class_path": sweep.search.sampler.class_path,
    }
    for index, device in enumerate(sweep.latency):
        names[f"latency.{index}.backend"] = device.backend
    if sweep.module is not None:
        names["module.class_path"] = sweep.module.class_path
    for field in ("callbacks", "loggers"):
        for index, plugin in enumerate(getattr(sweep.train, field)):
            names[f"train.{field}.{index}.class_path"] = plugin.class_path
    for field, name in names.items():
        if is_import_path(name):
            yield field, name
