"""Latency on a device: `profile` builds a LatencyTable, `measure` times one network, `BACKENDS` lists the runtimes."""

from ffnet_search.profiling.backend import BACKENDS
from ffnet_search.profiling.build import profile
from ffnet_search.profiling.measure import Measurement, measure, measure_all
from ffnet_search.profiling.trust import refuse_inaccurate, refuse_stale

__all__ = ["BACKENDS", "Measurement", "measure", "measure_all", "profile", "refuse_inaccurate", "refuse_stale"]
