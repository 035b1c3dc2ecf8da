"""Exported networks by the milliseconds of their models in a format, as `write` noted them in their cards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ffnet_search.errors import SweepError, did_you_mean, shown
from ffnet_search.export.answer import Offer
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.formatting import quoted


def format_ms(network: ExportedNetwork, format: str) -> float:
    """The milliseconds of a network's model in a format; infinite where it was not written, or not run."""
    return float(network.read_card().get("formats", {}).get(format, {}).get("latency_ms", math.inf))


def timed_offers(folder: Path, known: Sequence[Offer], format: str) -> list[Offer]:
    """The exported networks of the run in `folder` by the milliseconds of their models in a format.

    Raises SweepError for an unknown format, and if no model of it was timed."""
    if ":" not in format and format not in FORMATS:
        names = ", ".join(FORMATS)
        raise SweepError(f"--format must be one of {names}, but got {shown(format)}{did_you_mean(format, FORMATS)}")
    times = [(one, format_ms(one.exported, format)) for one in known if one.exported is not None]
    timed = [replace(one, ms=ms, is_measured=True) for one, ms in times if math.isfinite(ms)]
    if timed:
        return timed
    if any(format in one.exported.read_card().get("formats", {}) for one, _ in times if one.exported is not None):
        raise SweepError(f"{folder}: models of {format} are not run here, so have no milliseconds; remove --format")
    raise SweepError(
        f"{folder}: no model of the exported networks was timed as {format}; write them with "
        f"`ffnet-search export {quoted(folder)} --format {format}`"
    )
