"""Searches that are killed at random: the driver of `benchmarks/faults.py`, for a few seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from faults import WORKERS, suffer

UNDER_WAY = WORKERS * 2 * 16  # at most, at a kill


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_nothing_is_lost_doubled_or_left_running(tmp_path: Path, seed: int, ray_cluster: str) -> None:
    tally = suffer(tmp_path, seed, candidates=60)
    assert tally.complete == 60
    assert (tally.lost, tally.doubled, tally.running) == (0, 0, 0)
    assert tally.drivers + tally.workers >= 1
    assert tally.again <= (tally.drivers + tally.workers) * UNDER_WAY
