"""With which hyper-parameters a trial was trained from when on: population-based training changes them on the way.

Plain data, in order: `[{"after_epoch": 0, "hyperparameters": {"learning_rate": 0.01}}, {"after_epoch": 3, ...}]`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ffnet_search.space.configuration import Configuration, Value

Schedule = Sequence[Mapping[str, Any]]
FILE = "schedule.json"  # beside the checkpoint that was trained by it


def extended(schedule: Schedule, epoch: int, hyperparameters: Mapping[str, Value]) -> Schedule:
    """With other hyper-parameters after `epoch` epochs; as it was where they are the ones that it ends with."""
    if schedule and schedule[-1]["hyperparameters"] == hyperparameters:
        return schedule
    before = [step for step in schedule if step["after_epoch"] < epoch]
    return [*before, {"after_epoch": epoch, "hyperparameters": dict(hyperparameters)}]


def ending(schedule: Schedule, start: Mapping[str, Value]) -> Mapping[str, Value]:
    """The last hyper-parameters, which are those of the start where nothing changed them."""
    last: Mapping[str, Value] = schedule[-1]["hyperparameters"] if schedule else start
    return last


def in_words(schedule: Schedule) -> str:
    """`learning_rate 0.01; after epoch 3 learning_rate 0.012`."""
    first, *others = (str(Configuration(None, step["hyperparameters"])) for step in schedule)
    changes = (f"after epoch {step['after_epoch']} {words}" for step, words in zip(schedule[1:], others, strict=True))
    return "; ".join([first, *changes])


def read_schedule(folder: Path) -> Schedule:
    """Of the checkpoint in a trial's folder; empty where there is none."""
    path = folder / FILE
    return list(json.loads(path.read_text())) if path.exists() else []


def write_schedule(folder: Path, schedule: Schedule) -> None:
    """Replaces it whole, so that a kill leaves the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{FILE}.new"
    scratch.write_text(json.dumps(schedule))
    os.replace(scratch, folder / FILE)


def forget_schedule(folder: Path) -> None:
    """Once the trial is over."""
    (folder / FILE).unlink(missing_ok=True)
