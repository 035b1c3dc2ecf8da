"""SIGTERM while Ray evaluates: the command ends in words with 143, alone or with its whole group, and loses nothing.

Of a whole group, Ray's processes may end first."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from patience import PATIENCE_S

ROOT = Path(__file__).parents[1]


def write_sweep(folder: Path, engine: str) -> Path:
    content = {
        "search_space": {"hyperparameters": {"module.hidden": list(range(4, 64))}},
        "module": "own_network:Curve",
        "data": {"name": "own_network:Points"},
        "train": {"epochs": 1},
        "search": {
            "evaluator": "train", "trials": 60, "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"],
            "engine": engine, "workers": 1,
        },
        "allow_imports": True,
        "runs": str(folder / "runs"),
    }  # fmt: skip
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def complete(study: Path) -> set[str]:
    query = (
        "select value_json from trial_user_attributes join trials using (trial_id) "
        "where key = 'key' and state = 'COMPLETE'"
    )
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{study.as_uri()}?mode=ro", uri=True)) as db:
        return {json.loads(key) for (key,) in db.execute(query)}
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "tune"])
@pytest.mark.parametrize("whom", ["driver", "group"])
def test_sigterm_ends_a_search_on_ray_in_words(tmp_path: Path, engine: str, whom: str) -> None:
    sweep = write_sweep(tmp_path, engine)
    study = tmp_path / "runs" / "own" / "study.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "ffnet_search", "search", str(sweep)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    while not complete(study):
        assert process.poll() is None
        time.sleep(0.1)
    before = complete(study)
    if whom == "driver":
        process.terminate()
    else:  # as batch systems, `timeout` and systemd do
        os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said and "SIGTERM received" not in said and before <= complete(study)
    if (whom, process.returncode) == ("group", 1):
        return  # Ray 2.60 found its raylet dead before this program heard the signal, and ends the process at once
    assert process.returncode == 143, said
    last = said.strip().splitlines()[-1]
    kept = f"results so far are kept in {study.parent}; to resume: ffnet-search search {sweep}"
    assert last == f"ffnet-search: ended by SIGTERM; {kept}"


@pytest.mark.slow
def test_sigterm_while_ray_starts_is_not_lost() -> None:
    """The first process of Ray that is forked signals its parent, in whose callbacks exceptions are lost."""
    code = (
        "import os, signal\n"
        "from ffnet_search.cluster import session\n"
        "from ffnet_search.run.interrupt import interruptible\n"
        "session.import_ray()\n"
        "os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "with interruptible():\n"
        "    session.start_here()\n"
        "    print('goes on')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, ""), done.stderr
