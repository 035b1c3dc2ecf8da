"""For all tests: one thread, so that results repeat on a busy machine; one Ray; image data in every layout."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from patience import REGISTER, REGISTER_S
from retraining_sweep import SupernetRun, train_run, write_sweep
from searches import Run
from training_steps import ObservedStep, observed_steps

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background jobs: what tests start must hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a Ray on this machine with two CPUs and a `latency_device`, to which this process is connected.
    Its workers can import what the tests define."""
    from ffnet_search.cluster.session import start_here

    here = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here, here / "support", here.parent))))
        patch.setenv(REGISTER, REGISTER_S)
        ray = start_here(num_cpus=2, resources={"latency_device": 1})
    address = str(ray.get_runtime_context().gcs_address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", address)  # for the processes that tests start
        yield address
    ray.shutdown()


@pytest.fixture(scope="session")
def patches() -> np.ndarray:
    from image_data import photo_patches

    return photo_patches()


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory, patches: np.ndarray) -> Path:
    """A folder with every layout of `image_data.KINDS`."""
    from image_data import write_layouts

    return write_layouts(tmp_path_factory.mktemp("data"), patches)


@pytest.fixture
def make_data(layouts: Path) -> Callable[..., Any]:
    """Builds the data of one of `image_data.KINDS`, with changes to its section."""
    from image_data import KINDS, section

    from ffnet_search.data.registry import build_data

    def make(kind: str, seed: int = 0, **changes: Any) -> Any:
        fields, input, _ = KINDS[kind]
        fields = {"batch_size": 16, "calibration": 64} | fields | changes
        if "path" in fields:
            fields["path"] = layouts / fields["path"]
        return build_data(section(**fields), seed, input)

    return make


@pytest.fixture(scope="session")
def supernet_run(tmp_path_factory: pytest.TempPathFactory) -> SupernetRun:
    """A run with a trained supernet and some candidates: to read."""
    return train_run(tmp_path_factory.mktemp("supernet"))


@pytest.fixture
def run_copy(supernet_run: SupernetRun, tmp_path: Path) -> SupernetRun:
    """A copy of `supernet_run` in a folder that the test may change."""
    shutil.copytree(supernet_run.sweep.files.folder, tmp_path / "runs" / "tiny")
    return replace(supernet_run, sweep=write_sweep(tmp_path))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A folder for searches."""
    return Run(tmp_path)


@pytest.fixture
def steps() -> Iterator[list[ObservedStep]]:
    """The steps of every training of the test, in this process."""
    with observed_steps() as observed:
        yield observed
