"""The hyper-parameters that a trial was trained with, from which epoch on: population-based training changes them.

Stored as plain data, `{"schedule": [{"after_epoch": 0, "hyperparameters": {"learning_rate": 0.01}}, ...]}`, in the
record of a trial, and while it trains in a file beside the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ffnet_search import atomic_write
from ffnet_search.errors import one_line
from ffnet_search.files.bounded import read_json
from ffnet_search.progress import say
from ffnet_search.space.hyperparameters import Configuration, Value

FILE = "schedule.json"  # beside the checkpoint that was trained by it


@dataclass(frozen=True)
class Segment:
    """The epochs from `after_epoch` to the start of the next segment, all with the same hyper-parameters."""

    after_epoch: int
    hyperparameters: Mapping[str, Value]


Schedule = tuple[Segment, ...]  # in order; empty: nothing was changed


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after `epoch` epochs, from which the same trial or another one can continue."""

    epoch: int
    schedule: Schedule
    checkpoint: bytes


def plain_schedule(schedule: Schedule) -> list[dict[str, Any]]:
    """The schedule as data for JSON."""
    return [asdict(segment) for segment in schedule]


def schedule_of(record: Mapping[str, Any]) -> Schedule:
    """The schedule in the record of a candidate, of its plain form; empty if nothing was changed."""
    return tuple(Segment(**segment) for segment in record.get("schedule", []))


def extended(schedule: Schedule, epoch: int, hyperparameters: Mapping[str, Value]) -> Schedule:
    """The schedule with other hyper-parameters after `epoch` epochs; unchanged where it ends with the same ones."""
    if schedule and schedule[-1].hyperparameters == hyperparameters:
        return schedule
    before = tuple(segment for segment in schedule if segment.after_epoch < epoch)
    return (*before, Segment(epoch, dict(hyperparameters)))


def final_hyperparameters(schedule: Schedule, proposed: Mapping[str, Value]) -> Mapping[str, Value]:
    """The hyper-parameters of the last segment; the proposed ones where nothing was changed."""
    return schedule[-1].hyperparameters if schedule else proposed


def describe(schedule: Schedule) -> str:
    """The schedule in words: `learning_rate 0.01; after epoch 3 learning_rate 0.012`."""
    words: list[str] = []
    for segment in schedule:
        values = str(Configuration(None, segment.hyperparameters))
        words.append(f"after epoch {segment.after_epoch} {values}" if words else values)
    return "; ".join(words)


def read_schedule(folder: Path) -> Schedule:
    """The schedule of the checkpoint in a trial's folder; empty if the folder holds none.

    A damaged one is set aside, with the checkpoints, since nothing says how they were trained."""
    path = folder / FILE
    try:
        return schedule_of(read_json(path))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        for damaged in (path, *folder.glob("*.ckpt")):
            atomic_write.set_aside(damaged)
        reason = one_line(error)[:100]
        say(f"{path} is damaged ({reason}): set aside with the checkpoint; the trial begins again")
        return ()


def begin_training(checkpoint: Path, hyperparameters: Mapping[str, Value], start: TrainingState | None) -> Schedule:
    """Prepare a trial's folder for a training that begins at `start`, or resumes the one that was interrupted there.

    Returns the schedule by which `checkpoint` was trained, continued with `hyperparameters`. At any moment of an
    interruption the checkpoint, if it exists, was trained by the schedule in the folder."""
    folder = checkpoint.parent
    if start is None:
        stored = read_schedule(folder)
        if not stored:  # nothing was changed: a checkpoint here was trained with these
            return extended((), 0, hyperparameters)
        if checkpoint.exists() and stored[-1].hyperparameters == hyperparameters:
            return stored
    checkpoint.unlink(missing_ok=True)
    schedule = extended(start.schedule if start else (), start.epoch if start else 0, hyperparameters)
    atomic_write.write_json(folder / FILE, {"schedule": plain_schedule(schedule)})
    if start is not None:
        atomic_write.write_bytes(checkpoint, start.checkpoint)
    return schedule


def end_training(checkpoint: Path) -> None:
    """Remove a trial's checkpoint and its schedule, once the trial has ended."""
    checkpoint.unlink(missing_ok=True)
    (checkpoint.parent / FILE).unlink(missing_ok=True)
