"""The whole contract of engines on those that use Ray."""

from __future__ import annotations

import signal
import time

import pytest
from engine_contract import EngineContract, started
from searches import Run

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(params=["ray", "tune"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_actors_of_a_killed_driver_go_away(run: Run, ray_cluster: str) -> None:
    import ray

    process = started(run, "ray", 2000, hold=0)
    deadline = time.monotonic() + 60
    while not (run.folder / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ray.available_resources().get("CPU", 0) == 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while ray.available_resources().get("CPU", 0) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 2


def test_tune_leaves_its_own_results(run: Run) -> None:
    from ray.tune import ExperimentAnalysis

    run.search(
        engine="tune",
        trials=4,
        scheduler={"class_path": "ASHAScheduler", "init_args": {"metric": "accuracy", "mode": "max"}},
    )
    (experiment,) = (run.folder / "tune").iterdir()
    frame = ExperimentAnalysis(str(experiment), default_metric="accuracy", default_mode="max").dataframe()
    assert sorted(frame["config/key"]) == sorted(run.evaluated)
    assert len(list(experiment.glob("*/events.out.tfevents.*"))) == 4


class TestOnRay(EngineContract):
    """The engines that use Ray."""
