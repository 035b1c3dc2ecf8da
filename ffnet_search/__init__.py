"""ffnet-search: train an FFNet supernet once, measure your device, search under a latency budget, export the front."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {  # name -> where it is defined; loaded when first asked for, so that importing this package costs nothing
    "Architecture": "space.architecture:Architecture",
    "Backbone": "models.deployed:Backbone",
    "Candidate": "pareto.candidate:Candidate",
    "Evaluator": "evaluation.inherited:Evaluator",
    "LatencyTable": "latency.table:LatencyTable",
    "MetaMixer": "models.metamixer:MetaMixer",
    "SearchSpace": "space.search_space:SearchSpace",
    "Supernet": "training.modules:Supernet",
    "Sweep": "config.sweep:Sweep",
    "SweepError": "errors:SweepError",
    "best": "run.overview:best",
    "check": "run.check:check_sweep",
    "fuse": "models.deployed:fuse",
    "hypervolume": "pareto.front:hypervolume",
    "leaderboard": "run.overview:leaderboard",
    "load": "export.network:load",
    "load_reference": "models.reference:load_reference",
    "pareto_front": "pareto.front:pareto_front",
    "profile": "latency.build:profile",
    "runs": "run.overview:runs",
    "select_network": "run.select:select_network",
}
__all__ = sorted((*_PUBLIC, "run"))

import_module(f"{__name__}.run")  # binds the subpackage to its name, once: the function below then keeps the name


def run(*arguments: Any, **options: Any) -> Any:
    """Run the stages of a sweep and return the exported front: `run.pipeline.run_sweep`."""
    return import_module(f"{__name__}.run.pipeline").run_sweep(*arguments, **options)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return list(__all__)
