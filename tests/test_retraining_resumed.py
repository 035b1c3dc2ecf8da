"""Retraining that was interrupted or done before: nothing is trained twice, and a resumed one ends the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from retraining_sweep import SupernetRun, retraining_in, trainings, write_sweep
from training_steps import ObservedStep, assert_trained

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.trained import WEIGHTS
from ffnet_search.export.exported import read_exported
from ffnet_search.export.retraining.record import RECORD
from ffnet_search.export.retraining.retrain import retrain
from ffnet_search.export.retraining.training import remove_others
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.training.modules import FFNetModule


def test_trainings_by_another_recipe_are_removed_and_stray_files_stay(tmp_path: Path) -> None:
    for name in ("of-this", "of-another"):
        (tmp_path / name / "trials").mkdir(parents=True)
    (tmp_path / ".DS_Store").touch()  # as macOS leaves it where its user has looked
    remove_others(tmp_path / "of-this")
    assert {path.name for path in tmp_path.iterdir()} == {"of-this", ".DS_Store"}


def test_what_was_retrained_is_not_retrained_again(
    run_copy: SupernetRun, steps: list[ObservedStep], tmp_path: Path
) -> None:
    first = retrain(run_copy.sweep, run_copy.chosen(1), retraining_in(run_copy.sweep))
    assert_trained(steps)
    assert trainings(steps) == set(first)
    more = retrain(run_copy.sweep, run_copy.chosen(2), retraining_in(run_copy.sweep))
    assert trainings(steps) == set(more) - set(first)
    assert {key: more[key] for key in first} == first
    assert all(more[key].content == first[key].content for key in first)
    other = write_sweep(tmp_path, export={"retrain": {"epochs": 1}})
    assert set(retrain(other, run_copy.chosen(1), retraining_in(other))) == trainings(steps) == set(first)
    assert len(list(other.files.retrained.iterdir())) == 1  # nothing reads the old ones
    other.files.supernet.write_bytes(other.files.supernet.read_bytes() + b"0")  # trained again
    retrain(other, run_copy.chosen(1), retraining_in(other))
    assert trainings(steps) == set(first)


def test_interrupted_it_resumes_and_ends_as_if_it_never_was(
    run_copy: SupernetRun, steps: list[ObservedStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    retraining, chosen, folder = (
        retraining_in(run_copy.sweep),
        run_copy.chosen(2),
        run_copy.sweep.files.retrained,
    )
    whole = retrain(run_copy.sweep, chosen, retraining)
    epochs = sum(retraining.epochs_of(one.configuration) for one in chosen)
    epoch = len(steps) // epochs
    shutil.rmtree(folder)
    steps.clear()
    step = FFNetModule.training_step

    def until_the_fatal_one(self: FFNetModule, *arguments: Any) -> Any:
        if len(steps) == (epochs - 1) * epoch + 1:  # in the last epoch of the second network
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FFNetModule, "training_step", until_the_fatal_one)
        with pytest.raises(KeyboardInterrupt):
            retrain(run_copy.sweep, chosen, retraining)
    steps.clear()
    resumed = retrain(run_copy.sweep, chosen, retraining)
    assert len(steps) == epoch
    assert resumed == whole
    assert all(resumed[key].content == whole[key].content for key in whole)
    assert not list(folder.rglob("last.ckpt"))


@pytest.mark.slow
def test_killed_in_the_middle_of_a_retraining_it_ends_as_if_it_never_was(tmp_path: Path) -> None:
    """A SIGKILL to `ffnet-search export` while it retrains its second network, then the same command."""
    changed: dict[str, Any] = {
        "export": {"top": 3, "retrain": {"epochs": 8, "candidates": 3, "distil": 0.5}},
        "report": {"yardstick": False},
    }
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (write_sweep(tmp_path / name, **changed) for name in ("whole", "killed"))
    run_sweep(whole, stages=("profile", "train", "search"))
    shutil.copytree(whole.files.folder, killed.files.folder)

    def start(sweep: Sweep) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ffnet_search", "export", str(sweep.path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)

    def files(sweep: Sweep, name: str) -> dict[str, Path]:
        return {path.parent.name: path for path in sweep.files.retrained.glob(f"*/trials/*/{name}")}

    process = start(killed)
    while not (files(killed, RECORD) and files(killed, "last.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said
    assert 1 <= len(files(killed, RECORD)) < 3 and not killed.files.front_csv.exists()
    for sweep in (whole, killed):
        process = start(sweep)
        said = process.communicate()[1]
        assert process.returncode == 0, said
    assert "of them were retrained before" in said and "; 0 of them" not in said
    ours, theirs = (files(sweep, WEIGHTS) for sweep in (killed, whole))
    assert len(ours) == 3 and {key: path.read_bytes() for key, path in ours.items()} == {
        key: path.read_bytes() for key, path in theirs.items()
    }
    assert not files(killed, "last.ckpt")
    fronts = [
        {one.key: {name: value for name, value in one.metrics.items() if "accuracy" in name} for one in networks}
        for networks in (read_exported(sweep.files.pareto) for sweep in (killed, whole))
    ]
    assert fronts[0] == fronts[1] and fronts[0]
