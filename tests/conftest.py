"""For all tests: one thread, so that results repeat and a busy machine is not asked for more than it has; one Ray."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a Ray on this machine with two CPUs and a `latency_device`, to which this process is connected.
    Its workers can import what the tests define."""
    from ffnet_search.cluster.session import start_here

    here = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here, here / "support", here.parent))))
        ray = start_here(num_cpus=2, resources={"latency_device": 1})
    address = str(ray.get_runtime_context().gcs_address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", address)  # for the processes that tests start
        yield address
    ray.shutdown()
