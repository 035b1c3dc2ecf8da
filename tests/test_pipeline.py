"""Stages run once, resume after an interruption, and never continue on the output of another sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from patience import BUSY_S, PATIENCE_S
from small_sweeps import TINY_SWEEP, write_sweep
from stage_states import recorded_stages, states

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import read_exported
from ffnet_search.run.check import check_limits
from ffnet_search.run.folder.run_folder import RunFolder
from ffnet_search.run.overview import runs
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.stages import STAGES, Stage, plan
from ffnet_search.space.architecture import Architecture


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return recorded_stages(monkeypatch)


def test_a_stage_comes_after_all_that_it_reads() -> None:
    names = list(STAGES)
    for name, stage in STAGES.items():
        assert name == stage.name
        assert all(names.index(read) < names.index(name) for read in stage.reads)
    assert names.index("profile") < names.index("train")  # so that a bad budget is refused before training


def test_stages_run_once_and_in_order(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path)
    assert states(sweep) == dict.fromkeys(STAGES, "pending")
    assert not sweep.files.folder.exists()
    run_sweep(sweep)
    assert ran == list(STAGES)
    assert states(sweep) == dict.fromkeys(STAGES, "done")
    run_sweep(sweep)
    assert ran == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_output_is_made_again(tmp_path: Path, ran: list[str], stage: str) -> None:
    sweep = write_sweep(tmp_path)
    run_sweep(sweep)
    STAGES[stage].outputs(sweep)[0].unlink()
    ran.clear()
    run_sweep(sweep)
    readers = [other for other in STAGES if stage in STAGES[other].reads]
    assert ran == [stage, *readers]  # since an input was made again
    ran.clear()
    run_sweep(sweep)
    assert ran == []


@pytest.mark.parametrize("ahead", ["profile", "train", "search"])
def test_a_clock_that_went_back_ends_nothing(tmp_path: Path, ran: list[str], ahead: str) -> None:
    """A stage was made when the clock was ahead: those that read it are made after it all the same."""
    sweep = write_sweep(tmp_path)
    run_sweep(sweep, stages=[*STAGES][: [*STAGES].index(ahead) + 1])
    content = json.loads(sweep.files.state.read_text())
    content["stages"][ahead]["finished"] = "2099-01-01T00:00:00.000000+00:00"
    sweep.files.state.write_text(json.dumps(content))
    run_sweep(sweep)
    assert ran == list(STAGES)
    assert states(sweep) == dict.fromkeys(STAGES, "done")
    run_sweep(sweep)
    assert ran == list(STAGES)


def test_export_again_exports_again_and_search_again_says_why_not(
    tmp_path: Path, ran: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path)
    run_sweep(sweep)
    ran.clear()
    run_sweep(sweep, stages=["search"])
    assert "search (3 of 4): done before and unchanged, 200 trials, made" in capfd.readouterr().err
    run_sweep(sweep, stages=["export"])
    assert ran == ["export"]
    assert states(sweep) == dict.fromkeys(STAGES, "done")


def test_what_more_is_wanted_of_a_finished_stage_is_named(tmp_path: Path, ran: list[str]) -> None:
    run_sweep(write_sweep(tmp_path))
    content = {"search": {"trials": 300}, "export": {"top": 3}}
    found = {name: list(map(str, one.changes)) for name, one in plan(write_sweep(tmp_path, **content)).items()}
    assert found["search"] == ["trials (200 -> 300)"] and "top (8 -> 3)" in found["export"]
    assert found["train"] == [] and ran == list(STAGES)


def test_a_run_whose_files_are_gone_is_not_listed_as_done(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path)
    run_sweep(sweep)
    assert [run.state for run in runs(sweep.files.folder)] == ["done"]
    sweep.files.supernet.unlink()
    assert [run.state for run in runs(sweep.files.folder)] == ["train incomplete"]


def test_an_interrupted_stage_resumes(tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = write_sweep(tmp_path)

    def interrupted(sweep: Sweep) -> None:
        sweep.files.training.mkdir()
        (sweep.files.training / "half").write_text("work")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(cast(dict[str, Stage], STAGES), "train", replace(STAGES["train"], run=interrupted))
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep)
    assert list(states(sweep).values()) == ["done", "incomplete", "pending", "pending"]
    with pytest.raises(SweepError, match=r"train.epochs \(30 -> 4\) has changed .* which invalidates train;"):
        run_sweep(write_sweep(tmp_path, train={"epochs": 4}))
    assert (sweep.files.training / "half").read_text() == "work"
    run_sweep(sweep)
    assert ran == list(STAGES)


def test_single_stages_name_what_they_lack(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path)
    with pytest.raises(SweepError, match=r"search needs profile, which is not done; run `ffnet-search profile .*tiny"):
        run_sweep(sweep, stages=("search",))
    run_sweep(sweep, stages=("profile",))
    with pytest.raises(SweepError, match="search needs train, which is not done"):
        run_sweep(sweep, stages=("search",))
    with pytest.raises(SweepError, match="export needs train, which is not done"):
        run_sweep(sweep, stages=("export",))
    run_sweep(sweep, stages=("train",))
    run_sweep(sweep, stages=("search",))
    run_sweep(sweep, stages=("export",))
    assert ran == list(STAGES)


def test_an_unknown_engine_is_refused_before_any_stage(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path, search={"engine": "locale"})
    with pytest.raises(SweepError, match=r"tiny.yaml: search.engine must be one of .* did you mean 'local'"):
        run_sweep(sweep)
    assert ran == []


def test_a_stage_that_the_sweep_does_not_need_is_refused(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path, search={"evaluator": "train"})
    with pytest.raises(SweepError, match="has no stage train, since its search needs profile, search and export alone"):
        run_sweep(sweep, stages=("train",))
    run_sweep(sweep)
    assert ran == ["profile", "search", "export"]


def test_an_impossible_budget_is_refused_before_training(tmp_path: Path, ran: list[str]) -> None:
    sweep = write_sweep(tmp_path, search={"constraints": {"latency_ms": 0.001}})
    check_limits(sweep)  # nothing is known before the table exists
    with pytest.raises(SweepError, match=r"tiny.yaml: search.constraints.latency_ms must be >= 0\.0[0-9]+, the least"):
        run_sweep(sweep)
    assert ran == ["profile"]


def test_an_impossible_size_is_refused_without_a_table(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, search={"constraints": {"params_m": 0.0001}})
    with pytest.raises(SweepError, match="search.constraints.params_m must be >= "):
        check_limits(sweep)
    assert min(Architecture.from_dict(sweep.search_space.smallest.to_dict()).params_m, 1) > 0.0001


def test_a_folder_without_a_front_has_an_empty_one(tmp_path: Path) -> None:
    assert read_exported(write_sweep(tmp_path).files.pareto) == []


@pytest.mark.slow
@pytest.mark.timeout(BUSY_S)
def test_a_whole_run_that_is_killed_resumes(tmp_path: Path) -> None:
    """Profile, train, search and export the real digits: kill it once, resume it, then skip all stages."""
    sweep = write_sweep(tmp_path, **TINY_SWEEP)
    command = [sys.executable, "-m", "ffnet_search", "run", str(sweep.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    while not sweep.files.training.exists() and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    errors = first.communicate()[1]
    assert sweep.files.training.exists(), errors
    assert states(sweep)["train"] in ("incomplete", "done")

    second = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
    assert second.returncode == 0, second.stderr
    assert states(sweep) == dict.fromkeys(STAGES, "done")
    picks = read_exported(sweep.files.pareto)
    assert 1 <= len(picks) <= 2
    for pick in picks:
        assert pick.architecture in sweep.search_space
        assert pick.architecture.params_m <= 0.2
        assert pick.architecture.key in second.stdout
        assert (pick.folder / "model.onnx").exists()
        assert pick.read_card()["formats"]["pt2"]["max_difference"] < 1e-3
    assert str(sweep.files.report) in second.stdout

    made = {path: path.stat().st_mtime_ns for path in pipeline_files(sweep)}
    third = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
    assert third.returncode == 0, third.stderr
    assert third.stdout == second.stdout
    assert made == {path: path.stat().st_mtime_ns for path in pipeline_files(sweep)}
    assert RunFolder(sweep.files).records.keys() == set(STAGES)


def pipeline_files(sweep: Sweep) -> list[Path]:
    return [path for stage in STAGES for path in STAGES[stage].outputs(sweep)]
