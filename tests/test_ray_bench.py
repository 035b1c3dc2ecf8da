"""Latency on another node: the same profile, on the node that carries the device."""

from __future__ import annotations

from pathlib import Path

import pytest
from latency_spaces import TINY
from patience import BUSY_S

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import LocalBench
from ffnet_search.latency.build import profile
from ffnet_search.latency.jobs import network_job
from ffnet_search.latency.measure import measure_all
from ffnet_search.latency.ray_bench import RemoteBench, make_bench
from ffnet_search.latency.validation import refuse_stale
from ffnet_search.models.deployed import deployed

THERE = LatencySection(rounds=3, calibration=4, held_out=20, noisy=True, min_within_10=0, resource="latency_device")


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_a_table_is_made_where_the_device_is(ray_cluster: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table = profile(TINY, THERE, path, make_bench=make_bench)
    assert table.setting.backend == "onnxruntime" and table.setting.versions["onnxruntime"]
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]
    [measurement] = measure_all([deployed(TINY.largest)], THERE, table=table, make_bench=make_bench)
    assert measurement.ms > 0
    refuse_stale(table, THERE, path, make_bench)


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_what_cannot_be_measured_there_is_one_sentence(ray_cluster: str) -> None:
    image = TINY.largest.input
    with pytest.raises(SweepError, match="a node of the cluster must carry 'telephone', .*ray start"):
        RemoteBench(THERE.model_copy(update={"resource": "telephone"}), image)
    with pytest.raises(SweepError, match="colour is not a known key.*on the node that carries the device"):
        RemoteBench(THERE.model_copy(update={"init_args": {"colour": "red"}}), image)


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_a_user_supplied_backend_measures_there(ray_cluster: str, tmp_path: Path) -> None:
    simulated = THERE.model_copy(update={"backend": "own_backend:Simulator"})
    table = profile(TINY, simulated, tmp_path / "table.json", make_bench=make_bench)
    assert table.setting.device == "a simulator"
    jobs = [network_job(TINY.largest, 0)]
    here = LocalBench(simulated, TINY.largest.input)
    there = make_bench(simulated, TINY.largest.input, None)
    assert list(there.time(jobs, [1], 0)) == list(here.time(jobs, [1], 0))


def test_without_a_resource_it_is_this_process() -> None:
    here = THERE.model_copy(update={"resource": None})
    assert isinstance(make_bench(here, TINY.largest.input, None), LocalBench)
