"""Batches of a user-supplied data module that are none of the task: one sentence, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_data import section

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.space.input import Input
from ffnet_search.training.fit import train_supernet

INPUTS = {
    "classification": Input(3, 8, 4),
    "multilabel": Input(3, 8, 2, "multilabel"),
    "regression": Input(3, 8, 2, "regression"),
    "segmentation": Input(3, 8, 4, "segmentation"),
    "super_resolution": Input(3, (12, 16), 2, "super_resolution"),
}
SPACE = {
    "input": {"channels": 3, "resolution": 8, "classes": 4},
    "stages": [{"depth": [1, 2], "width": [8, 16], "token_kernel": [3, 5]}],
}


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("task", "fault", "message"),
    [
        ("classification", "floats", r"int64 labels, but gave torch.float32 \(16,\)"),
        ("classification", "one too far", r"int64 labels, each of 0 to 3, but gave torch.int64 \(16,\) of 1 to 4"),
        ("classification", "columns", r"int64 labels, but gave torch.int64 \(16, 1\)"),
        ("multilabel", "one too far", r"of 0 and 1, and nothing beyond, but gave torch.float32 \(16, 2\) of 1 to 2"),
        ("multilabel", "a column too few", r"of the shape \(16, 2\), but gave torch.float32 \(16, 1\)"),
        ("multilabel", "no columns", r"float32 targets \(B, labels\) of 0 and 1, but gave torch.float32 \(16,\)"),
        ("regression", "a column too few", r"of the shape \(16, 2\), but gave torch.float32 \(16, 1\)"),
        ("regression", "no columns", r"float32 numbers \(B, targets\), but gave torch.float32 \(16,\)"),
        ("regression", "not finite", r"all of them finite, but gave torch.float32 \(16, 2\) of inf to inf"),
        ("segmentation", "floats", r"uint8 masks, but gave torch.float32 \(16, 8, 8\)"),
        ("segmentation", "columns", r"uint8 masks, but gave torch.int64 \(16, 1, 8, 8\)"),
        ("segmentation", "another size", r"of the shape \(16, 8, 8\), but gave torch.int64 \(16, 4, 4\)"),
        ("segmentation", "one too far", r"of ids 0 to 3, or 255 where .*, but gave torch.int64 \(16, 8, 8\) of 1 to 4"),
        ("super_resolution", "floats", r"times the size, but gave torch.float32 \(16, 3, 12, 12\)"),
        ("super_resolution", "another size", r"\(16, 3, 12, 12\), but gave torch.uint8 \(16, 3, 6, 6\)"),
    ],
)
def test_targets_that_are_none_of_the_task_are_one_sentence(task: str, fault: str, split: str, message: str) -> None:
    good = section("user_data:Broken", init_args={"task": task, "fault": fault, "split": "none"})
    build_data(good, 0, INPUTS[task])
    bad = section("user_data:Broken", init_args={"task": task, "fault": fault, "split": split})
    with pytest.raises(
        SweepError, match=rf"data.name: {split}_dataloader of user_data:Broken must give .*{message}( of \S+ to \S+)?$"
    ):
        build_data(bad, 0, INPUTS[task])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Streamed", "val_dataloader of user_data:Streamed must have a length, but has none"),
        ("NoImages", "test_dataloader of user_data:NoImages must give at least one batch, but gave none"),
    ],
)
def test_loaders_must_have_batches_and_a_length(name: str, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        build_data(section(f"user_data:{name}"), 0, INPUTS["classification"])


def sweep_of(folder: Path, name: str, **arguments: object) -> Sweep:
    content = {
        "name": "user",
        "runs": str(folder),
        "search_space": SPACE,
        "data": {"name": f"user_data:{name}", "init_args": arguments, "batch_size": 16, "calibration": 16},
        "train": {"epochs": 1},
    }
    return Sweep.model_validate(content)


def test_a_run_refuses_them_before_it_profiles(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "Broken", task="classification", fault="floats", split="train")
    with pytest.raises(SweepError, match="train_dataloader of user_data:Broken must give int64 labels"):
        run_sweep(sweep)
    assert not sweep.latency_path.exists()


def test_a_later_batch_ends_the_training_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"train_dataloader of user_data:LateFault must give .* of \d to 7"):
        train_supernet(sweep_of(tmp_path, "LateFault"))
