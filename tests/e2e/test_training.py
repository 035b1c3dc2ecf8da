"""Supernet training by Ray Train: the same as on one device, also where a rank is killed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_sweep import kill_rank, trained

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.models.saved import read_supernet
from ffnet_search.training.fit import train_supernet
from ffnet_search.training.ray_train import train_on_cluster

pytestmark = pytest.mark.usefixtures("ray_cluster")


def on_cluster(runs: Path, search: dict[str, object], **train: object) -> Sweep:
    run = trained(runs, devices=2, checkpoint_minutes=1e-4, **train)
    return Sweep.model_validate(run.model_dump() | {"search": {"engine": "ray", **search}})


def test_two_workers_of_which_one_is_killed_train_what_one_process_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, marks = trained(tmp_path / "alone"), tmp_path / "marks"
    shared = on_cluster(tmp_path / "shared", {}, callbacks=kill_rank(marks, batch=7))
    train_on_cluster(shared)
    assert len(list(marks.iterdir())) == 1
    out, said = capfd.readouterr()
    assert said.count("all start again from the last checkpoint") == 1
    assert not out, "Ray is to be silent"
    train_supernet(alone)
    one, two = (read_supernet(run.files.supernet).state_dict() for run in (alone, shared))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)


def test_a_user_error_in_a_rank_is_one_sentence(tmp_path: Path) -> None:
    content = on_cluster(tmp_path, {}).model_dump()
    run = Sweep.model_validate(content | {"train": content["train"] | {"callbacks": ["lightning:NoSuchCallback"]}})
    with pytest.raises(SweepError, match="NoSuchCallback does not exist"):
        train_on_cluster(run)
