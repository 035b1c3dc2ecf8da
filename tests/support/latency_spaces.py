"""Search spaces and a quick latency section for the tests of the latency room."""

from __future__ import annotations

from networks import SPACES, space

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.jobs import network_job
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

DIGITS = space("ffnet_digits")
TINY = SearchSpace.model_validate(
    {
        "input": {"channels": 1, "resolution": 8, "classes": 10},
        "stem": {"width": 16, "stride": 2},
        "stages": [{"depth": [1, 2], "width": [16, 32, 48], "token_kernel": [3, 5], "expansion": [2, 3]}],
    }
)
QUICK = LatencySection(rounds=3, calibration=4, held_out=20)

__all__ = ["DIGITS", "QUICK", "SPACES", "TINY", "few", "model_of"]


def few(networks: int) -> SearchSpace:
    """A space of so many networks, of different widths."""
    stage = {"depth": 1, "width": [16 + 8 * number for number in range(networks)]}
    return SearchSpace.model_validate({"input": {"resolution": 8, "classes": 2}, "stages": [stage]})


def model_of(arch: Architecture, batch: int = 1) -> Model:
    """The model of an architecture with random weights."""
    return network_job(arch, 0).model(batch)
