"""A sweep of the digits that trains within seconds, alone or on ranks."""

from __future__ import annotations

from pathlib import Path

from ffnet_search.config.sweep import Sweep

TINY = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [2]},
    "stages": [
        {"depth": [1, 2], "width": [8, 16], "mixer": ["ffn_attention", "pool"], "token_kernel": [3, 5], "expansion": 2},
        {"depth": [1], "width": [16, 32], "mixer": ["attention", "ffn_attention"], "token_kernel": [3], "expansion": 2},
    ],
}  # fmt: skip


def sweep(runs: Path, **train_section: object) -> Sweep:
    content = {
        "name": "tiny",
        "runs": str(runs),
        "search_space": TINY,
        "data": {"name": "digits", "batch_size": 128, "calibration": 128},
        "train": {"epochs": 3, "learning_rate": 3e-3, "warmup_epochs": 0.5, **train_section},
    }
    return Sweep.model_validate(content)


def trained(runs: Path, devices: int = 1, **train_section: object) -> Sweep:
    """Of two epochs, each of 10 batches in 5 steps; with SGD, since Adam makes a gradient of rounding errors a step."""
    run = sweep(runs, devices=devices, epochs=2, optimizer="sgd", learning_rate=0.05, accumulate=2, **train_section)
    changes = {"randaugment": 1, "jitter": 0.2, "transforms": ["own_transforms:Speckle"]}
    augmented = run.data.model_dump() | {"augment": {"crop": 1, "flip": True, "cutout": 2, **changes}}
    return Sweep.model_validate(run.model_dump() | {"data": augmented})


def kill_rank(marks: Path, **init_args: object) -> list[dict[str, object]]:
    """The `callbacks` of a sweep whose rank 1 dies: see `kill_rank.KillRank`. Makes the folder `marks`."""
    marks.mkdir(parents=True)
    return [{"class_path": "kill_rank:KillRank", "init_args": {"marks": str(marks), **init_args}}]
