"""Every task: the same seed gives the same study, also where training and search are killed and started again, and
every engine the same metrics."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from kill_rank import DIES_AT
from masks import mask_sweep, write_masks
from patience import PATIENCE_S
from photos import photo_sweep, write_photos
from tables import table_sweep, write_table

from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.outcome import Evaluate
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.tasks.base import find_task

ROOT = Path(__file__).parents[2]
STAGES = ("profile", "train", "search")
SCRIPT = f"""
import sys
from pathlib import Path
from ffnet_search.config.sweep import Sweep
from ffnet_search.run.pipeline import run_sweep
run_sweep(Sweep.from_yaml(Path(sys.argv[1])), stages={STAGES})
"""
TRIALS = 8
BATCH, EVALUATION = 5, 3  # at which the process is killed


def segmentation(runs: Path, data: Path) -> Sweep:
    return mask_sweep(runs, write_masks(data, 40))


def table(task: str) -> Callable[[Path, Path], Sweep]:
    return lambda runs, data: table_sweep(runs, write_table(data, task, 60, tests=12), task)


def photos(runs: Path, data: Path) -> Sweep:
    return photo_sweep(runs, write_photos(data, 15))


def forecasting(runs: Path, data: Path) -> Sweep:
    """Of modules, each trained by itself: there is no supernet."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "sweeps/ett.yaml").read_text())
    data.mkdir()
    steps_T = np.arange(300)
    series_TM = np.sin(steps_T[:, None] / np.array([3, 5, 9])) + np.random.default_rng(0).normal(0, 0.1, (300, 3))
    rows = [f"hour {time},{','.join(map(str, row))}" for time, row in zip(steps_T, series_TM, strict=True)]
    (data / "s.csv").write_text("\n".join(["date,a,b,c", *rows]))
    content["search_space"]["hyperparameters"] |= {
        "module.dim": [2, 4],
        "module.kernel": [3, 5],
        "module.ratio": [1, 2],
    }
    content["module"]["init_args"]["shape"] = [3, 12, 6]
    content["data"]["init_args"] = {"path": str(data / "s.csv"), "window": [12, 6], "batch_size": 32}
    content["train"] = {"epochs": 2, "ema": 0.9}
    content["search"]["objectives"] = ["val_mse", "val_mae"]
    return Sweep.from_content(content | {"name": "series", "runs": str(runs)}, Path("series.yaml"))


KINDS = {
    "segmentation": segmentation,
    "multilabel": table("multilabel"),
    "regression": table("regression"),
    "super_resolution": photos,
    "forecasting": forecasting,
}


def written(kind: str, folder: Path, name: str, killed: bool) -> Sweep:
    """A sweep in its file. Its training is killed once, unless `killed` is False."""
    data, marks = folder / f"{name}-data", folder / f"{name}-marks"
    content = KINDS[kind](folder / name, data).model_dump(mode="json")
    marks.mkdir()
    if not killed:
        (marks / "killed").touch()
    dies = {"marks": str(marks), "batch": BATCH, "rank": 0}
    content["train"]["callbacks"] = [{"class_path": "kill_rank:KillRank", "init_args": dies}]
    content["search"] |= {"trials": TRIALS, "engine": "kill_rank:MortalEngine"}
    if kind != "forecasting":
        content["train"]["checkpoint_minutes"] = 1e-4
        content["latency"] = {"noisy": True, "rounds": 3, "calibration": 8, "min_within_10": 0.0}
        content["search"]["objectives"] = [find_task(kind).quality.name, "macs_m"]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return Sweep.from_yaml(path)


def killed(sweep: Sweep, **environment: str) -> None:
    """Run the stages in a process that is killed on the way."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support")))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(sweep.path)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def study(sweep: Sweep) -> dict[str, dict[str, float]]:
    """Configuration -> its metrics but times, in the order of the trials."""
    evaluated = read_candidates(sweep.files.study, sweep.search_space)
    return {
        one.key: {name: value for name, value in one.metrics.items() if not name.endswith("_ms")} for one in evaluated
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_twice_ends_as_one_that_is_not(kind: str, tmp_path: Path) -> None:
    whole, hurt = (written(kind, tmp_path, name, name == "hurt") for name in ("whole", "hurt"))
    run_sweep(whole, stages=STAGES)
    killed(hurt)
    assert not hurt.files.study.exists() or not study(hurt)
    killed(hurt, **{DIES_AT: str(EVALUATION)})
    assert len(study(hurt)) <= EVALUATION
    run_sweep(hurt, stages=STAGES)
    first, second = study(whole), study(hurt)
    assert list(first) == list(second) and len(first) == TRIALS
    for key, metrics in first.items():
        assert second[key] == metrics and all(map(math.isfinite, metrics.values()))
    if whole.uses_supernet:
        one, two = (read_supernet(run.files.supernet).state_dict() for run in (whole, hurt))
        assert all(torch.equal(weight, two[name]) for name, weight in one.items())


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_evaluates_as_this_process_does(kind: str, tmp_path: Path) -> None:
    """One study, continued by one engine after the other; then its networks are evaluated again, here."""
    sweep = written(kind, tmp_path, "whole", killed=False)
    for trials, engine in ((3, "local"), (6, "ray"), (9, "tune")):
        section = sweep.search.model_copy(update={"trials": trials, "engine": engine})
        sweep = sweep.model_copy(update={"search": section})
        run_sweep(sweep, stages=STAGES)
    evaluate: Evaluate = Evaluator.from_sweep(sweep) if sweep.uses_supernet else TrialEvaluator(sweep)
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    assert len({one.key for one in candidates}) == 9
    for one in candidates[-5:]:
        again = evaluate(one.configuration, lambda epoch, metrics: True)
        assert isinstance(again, Candidate)
        for name in sweep.search.objectives[:1]:
            assert one.metrics[name] == pytest.approx(again.metrics[name], rel=1e-3)
