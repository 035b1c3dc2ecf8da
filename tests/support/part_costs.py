"""Costs of parts on a machine that does not exist."""

from __future__ import annotations

from ffnet_search.space.parts import Part


def cost(part: Part) -> float:
    """Milliseconds that are not linear in anything: utilisation grows with the width."""
    return 0.002 + part.costs.macs / 1e8 * (1 + 8 / part.out_width) + part.costs.params / 1e8
