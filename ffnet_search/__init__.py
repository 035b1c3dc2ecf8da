"""ffnet-search: train a FFNet supernet once, measure your device, search under its latency budget, ship the front."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {  # name -> module; loaded when first asked for, so that importing this package costs nothing
    "Architecture": "space.architecture",
    "Backbone": "models.deployed",
    "Candidate": "pareto.candidate",
    "Evaluator": "evaluation.inherited",
    "LatencyTable": "latency.table",
    "MetaMixer": "models.metamixer",
    "SearchSpace": "space.search_space",
    "Supernet": "training.modules",
    "Sweep": "config.sweep",
    "SweepError": "errors",
    "check_sweep": "run.check",
    "fuse": "models.deployed",
    "hypervolume": "pareto.front",
    "load": "export.network",
    "load_reference": "models.reference",
    "pareto_front": "pareto.front",
    "profile": "latency.build",
    "run_sweep": "run.pipeline",
    "select_network": "run.select",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
