"""Refuses more threads than cores: they wait for each other, and their times are of no machine."""

from __future__ import annotations

from functools import cache

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.files.cores import usable_cores
from ffnet_search.latency.backends.base import Backend
from ffnet_search.latency.timing import WALL_CLOCK
from ffnet_search.progress import say


def many_threads(section: LatencySection, backend: Backend) -> str:
    """The sentence on threads that the CPU cores here do not suffice for; empty if they do, or where a runtime on
    another device reads the clock."""
    cores = usable_cores()
    if section.threads <= cores or backend.clock(section.threads) is not WALL_CLOCK:
        return ""
    return (
        f"latency.threads must be at most {cores}, the CPU cores that are usable here, but is {section.threads}, which "
        "would wait for each other"
    )


def refuse_many_threads(section: LatencySection, backend: Backend) -> None:
    """Raise SweepError for more threads than cores; if they are accepted by `section.noisy`, only warn."""
    sentence = many_threads(section, backend)
    if sentence and not section.noisy:
        raise SweepError(f"{sentence}; lower it, measure on a machine that has them, or set latency.noisy: true")
    if sentence:
        _warn(f"warning, accepted by latency.noisy: {sentence}")


@cache
def _warn(text: str) -> None:
    """Say it once: each bench of a run would."""
    say(text)
