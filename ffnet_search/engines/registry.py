"""Engines by registered name or import path."""

from __future__ import annotations

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import error_context
from ffnet_search.evaluation.engine import Engine
from ffnet_search.plugins import Registry, find_class

ENGINES: Registry = {
    "local": "ffnet_search.engines.local:LocalEngine",
    "ray": "ffnet_search.engines.ray_pool:RayPoolEngine",
    "tune": "ffnet_search.engines.tune.engine:TuneEngine",
}


def find_engine(section: SearchSection) -> type[Engine]:
    """The class of `search.engine`. Raises SweepError if there is none."""
    engine: type[Engine] = find_class(section.engine, "search.engine", Engine, ENGINES)
    return engine


def engine_of(sweep: Sweep) -> type[Engine]:
    """The class of the sweep's engine. Raises SweepError, which names the sweep's file, where there is none."""
    with error_context(sweep.path):
        return find_engine(sweep.search)
