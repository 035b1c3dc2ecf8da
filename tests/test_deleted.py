"""A run's folder that is deleted under a command ends it in one sentence, and the same command begins it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
SPACE = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [2]},
    "stages": [
        {"depth": [1, 2], "width": list(range(8, 72, 8)), "token_kernel": [3, 5, 7], "expansion": [1, 2, 3]},
        {"depth": [1, 2], "width": list(range(8, 72, 8)), "token_kernel": [3, 5, 7], "expansion": [1, 2, 3]},
    ],
}
LATENCY = {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0.0}
SIGNS = {"profile": "latency/*.journal", "train": "training/last.ckpt", "search": "study.db"}  # of work in a stage


@pytest.mark.slow
@pytest.mark.parametrize("stage", SIGNS)
def test_a_folder_deleted_under_a_stage_is_one_sentence(tmp_path: Path, stage: str) -> None:
    sampler = {"class_path": "RandomSampler"}
    content: dict[str, Any] = {
        "search_space": SPACE,
        "data": {"name": "digits", "calibration": 64},
        "train": {"epochs": 1 if stage == "search" else 5000},
        "latency": LATENCY,
        "search": {"trials": 5000, "objectives": ["accuracy", "params_m"], "sampler": sampler},
        "runs": str(tmp_path / "runs"),
    }
    sweep, folder = tmp_path / "gone.yaml", tmp_path / "runs" / "gone"
    sweep.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "ffnet_search", *(["run"] if stage == "search" else [stage]), str(sweep)]
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:  # short enough for sockets
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": temporary}
        said = delete_under(command, folder, stage, environment)
        if stage == "profile":  # which begins soonest
            process = begun(command, folder, stage, environment)
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 143
        assert not os.listdir(temporary), "something is left in the system's temporary folder"
    lines = [line for line in said.splitlines() if line.startswith("ffnet-search: ")]
    assert len(lines) == 1 and "Traceback" not in said, said[-3000:]


def delete_under(command: list[str], folder: Path, stage: str, environment: dict[str, str]) -> str:
    """Delete the folder while a command works in a stage. Returns what it printed; it ends with 2."""
    process = begun(command, folder, stage, environment)
    while folder.exists():  # the command still writes into it, and removes files of its own
        shutil.rmtree(folder, ignore_errors=True)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, said[-3000:]
    return said


def begun(command: list[str], folder: Path, stage: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A command that works in a stage."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob(SIGNS[stage])):
        assert process.poll() is None
        time.sleep(0.05)
    return process
