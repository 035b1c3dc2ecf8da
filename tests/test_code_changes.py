"""An edit of user-supplied code invalidates nothing that was made with the old code, and `run` and `check` tell it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from forgotten import forgotten
from small_sweeps import sweep_of
from stage_states import recorded_stages, states

from ffnet_search.cli.json_output import of_plan
from ffnet_search.cli.tables.plan import print_sweep
from ffnet_search.config.sweep import Sweep
from ffnet_search.run.folder.code_changes import changed_code, code_of
from ffnet_search.run.folder.run_folder import read_records
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.stages import STAGES

CODE = "import own_helper\nclass Blur:\n    def __call__(self, image): return image\n"
CONTENT: dict[str, Any] = {"data": {"augment": {"transforms": ["own_code:Blur"]}}}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "own_code.py").write_text(CODE)
    (tmp_path / "own_helper.py").write_text("SIGMA = 1\n")
    monkeypatch.chdir(tmp_path)
    recorded_stages(monkeypatch)
    with forgotten("own_code"):
        yield sweep_of(tmp_path, CONTENT)


def test_the_code_of_a_sweep_is_its_modules_and_what_they_import(sweep: Sweep, tmp_path: Path) -> None:
    assert list(code_of(sweep)) == ["own_code.py", "own_helper.py"]
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "own_code.py").write_text(f"import pipe\n{CODE}")
    assert list(code_of(sweep)) == ["own_code.py", "own_helper.py"]
    assert code_of(sweep_of(tmp_path, {"train": {"callbacks": ["lightning.pytorch.callbacks:Timer"]}})) == {}


def test_an_edit_is_told_and_invalidates_nothing(
    sweep: Sweep, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_sweep(sweep, stages=["profile", "train"])
    assert "note:" not in capfd.readouterr().err
    (tmp_path / "own_helper.py").write_text("SIGMA = 2\n")
    run_sweep(sweep)
    words = "own_helper.py has changed since profile and train began, and what is made stays; to make all with the new"
    assert f"note: {words}" in capfd.readouterr().err
    assert set(states(sweep).values()) == {"done"}
    print_sweep(sweep)
    assert words in capfd.readouterr().out
    assert [note for note in of_plan(sweep)["notes"] if note.startswith(words)]
    (tmp_path / "own_helper.py").write_text("SIGMA = 1\n")
    words = changed_code(sweep, read_records(sweep.files), STAGES)
    assert words.startswith("own_helper.py has changed since search and export began")


def test_a_stage_that_resumes_keeps_the_code_with_which_it_began(sweep: Sweep, tmp_path: Path) -> None:
    run_sweep(sweep)
    (tmp_path / "own_code.py").write_text(CODE + "\n")
    run_sweep(sweep.override(trials=300))
    since = changed_code(sweep, read_records(sweep.files), STAGES)
    assert since.startswith("own_code.py has changed since profile, train and search began")  # the export is made again
    sweep.files.supernet.unlink()
    run_sweep(sweep.override(trials=300), stages=["train"])
    assert "profile and search" in changed_code(sweep, read_records(sweep.files), STAGES)


def test_a_run_of_which_no_code_is_known_says_nothing(sweep: Sweep, tmp_path: Path) -> None:
    run_sweep(sweep)
    content = json.loads(sweep.files.state.read_text())
    for record in content["stages"].values():
        del record["code"]
    sweep.files.state.write_text(json.dumps(content))
    (tmp_path / "own_code.py").write_text(CODE + "\n")
    assert changed_code(sweep, read_records(sweep.files), STAGES) == ""
