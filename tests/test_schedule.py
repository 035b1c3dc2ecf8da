"""The schedule of a trial whose hyper-parameters change while it trains, and the folder that it trains in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ffnet_search.evaluation.schedule import (
    Segment,
    TrainingState,
    begin_training,
    describe,
    end_training,
    extended,
    final_hyperparameters,
    plain_schedule,
    read_schedule,
    schedule_of,
)

SLOW, QUICK = {"learning_rate": 0.01}, {"learning_rate": 0.012}
CHANGED = (Segment(0, SLOW), Segment(3, QUICK))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "key" / "last.ckpt"
    path.parent.mkdir()
    return path


def test_a_schedule_is_extended_only_by_a_change() -> None:
    start = extended((), 0, SLOW)
    assert start == (Segment(0, SLOW),)
    assert extended(start, 3, SLOW) == start
    assert extended(start, 3, QUICK) == CHANGED
    assert extended(CHANGED, 3, SLOW) == (Segment(0, SLOW), Segment(3, SLOW))  # at the same epoch: the later change


def test_its_plain_form_its_words_and_its_end() -> None:
    assert plain_schedule(CHANGED)[1] == {"after_epoch": 3, "hyperparameters": QUICK}
    assert describe(CHANGED) == "learning_rate 0.01; after epoch 3 learning_rate 0.012"
    assert schedule_of(json.loads(json.dumps({"schedule": plain_schedule(CHANGED)}))) == CHANGED
    assert schedule_of({}) == ()
    assert final_hyperparameters(CHANGED, SLOW) == QUICK
    assert final_hyperparameters((), SLOW) == SLOW


def test_a_trial_that_nothing_changed_keeps_its_checkpoint_and_writes_no_schedule(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"epoch 2")
    assert begin_training(checkpoint, SLOW, None) == (Segment(0, SLOW),)
    assert checkpoint.read_bytes() == b"epoch 2"
    assert read_schedule(checkpoint.parent) == ()


def test_a_trial_that_continues_from_another_takes_its_checkpoint_and_schedule(checkpoint: Path) -> None:
    checkpoint.write_bytes(b"of the worst")
    state = TrainingState(3, (Segment(0, SLOW),), b"of the best")
    assert begin_training(checkpoint, QUICK, state) == CHANGED
    assert checkpoint.read_bytes() == b"of the best"
    assert read_schedule(checkpoint.parent) == CHANGED
    end_training(checkpoint)
    assert not list(checkpoint.parent.iterdir())


def test_an_interrupted_trial_resumes_only_by_the_schedule_of_its_checkpoint(checkpoint: Path) -> None:
    begin_training(checkpoint, QUICK, TrainingState(3, (Segment(0, SLOW),), b"epoch 3"))
    assert begin_training(checkpoint, QUICK, None) == CHANGED  # interrupted later: resumes
    assert checkpoint.exists()
    checkpoint.unlink()  # interrupted before the checkpoint was written: starts again, with the last values
    assert begin_training(checkpoint, QUICK, None) == (Segment(0, QUICK),)
    checkpoint.write_bytes(b"epoch 1")
    assert begin_training(checkpoint, SLOW, None) == (Segment(0, SLOW),)  # of other values: starts again
    assert not checkpoint.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schedule": 1}', '{"schedule": [{"x": 1}]}', "[" * 5000])
def test_a_damaged_schedule_is_set_aside_with_its_checkpoint(checkpoint: Path, content: str) -> None:
    checkpoint.write_bytes(b"epoch 2")
    (checkpoint.parent / "schedule.json").write_text(content)
    assert begin_training(checkpoint, SLOW, None) == (Segment(0, SLOW),)
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["last.ckpt.damaged", "schedule.json.damaged"]
