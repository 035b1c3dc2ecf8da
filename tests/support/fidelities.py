"""Comparisons of a supernet with networks trained alone, on made-up qualities."""

from __future__ import annotations

from networks import space

from ffnet_search.evaluation.fidelity import Compared, Fidelity
from ffnet_search.evaluation.fidelity_networks import choose_networks
from ffnet_search.space.cost_model import analytic_metrics

DIGITS = space("ffnet_digits")


def compared(inherited: list[float], alone: list[float], again: tuple[int, ...] = (), **more: str) -> Fidelity:
    """Networks of the digits space in order of MACs, with these qualities on validation, and none right on test."""
    chosen = sorted(choose_networks(DIGITS, len(alone)).items(), key=lambda pair: pair[1].macs_m)
    networks = tuple(
        Compared(
            name,
            arch,
            {**analytic_metrics(arch), "latency_ms": arch.macs_m},
            {"validation": inherited[place], "test": 0.0},
            {"validation": alone[place], "test": 0.0},
            {"validation": alone[place] + 0.02, "test": 0.0} if place in again else {},
        )
        for place, (name, arch) in enumerate(chosen)
    )
    return Fidelity(
        **{"task": "classification", "split": "validation", "cost": "latency_ms", **more}, networks=networks
    )  # type: ignore[arg-type]


ALONE = [0.50, 0.69, 0.55, 0.66, 0.58, 0.78, 0.61, 0.85, 0.70, 0.72, 0.80, 0.75]  # of 66 pairs, 15 are not in order
