"""Training of a supernet on a cluster, as far as it ends before it begins; e2e/test_training.py has the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_sweep import sweep

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.training.ray_train import train_on_cluster


def test_gpus_that_training_lacks_are_named_after_a_bounded_wait(tmp_path: Path, ray_cluster: str) -> None:
    search = {"engine": "ray", "resources": {"gpu": 0.25}, "wait_minutes": 0.02}
    lacking = Sweep.model_validate(sweep(tmp_path, devices=2).model_dump() | {"search": search})
    with pytest.raises(SweepError, match=r"train.devices: 2 ranks ask for 1 GPU .* 1 node \(2 CPU, 0 GPU"):
        train_on_cluster(lacking)
