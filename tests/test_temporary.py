"""Folders of a moment end with what made them, and what a kill leaves in the system's temporary folder is removed.

That whole commands leave nothing there is tested in test_deleted.py, and after kills by `make faults`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ffnet_search.files.temporary import TemporaryFolder, remove_left, scratch_folder, scratch_in

ROOT = Path(__file__).parents[1]
KILLED = "import os; from ffnet_search.files.temporary import TemporaryFolder; kept = TemporaryFolder(); os._exit(9)"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_ends_with_its_block_or_its_object(temporary: Path) -> None:
    with scratch_folder() as name:
        assert Path(name).parent == temporary
        Path(name, "file").touch()
    folder = scratch_folder()
    assert os.listdir(temporary) == [Path(folder.name).name]
    del folder
    assert not os.listdir(temporary)
    with scratch_in(temporary / "run"), scratch_folder() as name:
        assert Path(name).parent == temporary / "run"
    assert not os.listdir(temporary)


def test_what_a_kill_left_is_removed_and_nothing_else(temporary: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", KILLED], env=environment)
    (left,) = temporary.iterdir()
    (left / "file").touch()
    others = [temporary / name for name in (".ffnet-search", "ffnet-a1b2c3d4", ".ffnet-a1b2c3d4x")]
    for other in others:
        other.mkdir()
    (temporary / ".ffnet-linked_0").symlink_to(others[0])
    with TemporaryFolder() as alive:
        remove_left()
        assert Path(alive).is_dir() and not left.exists()
    assert all(other.is_dir() for other in others) and (temporary / ".ffnet-linked_0").is_symlink()


def test_a_folder_that_another_process_removed_at_once_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], tempfile.mkdtemp

    def mkdtemp(**options: Any) -> str:
        made.append(make(**options))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with TemporaryFolder() as name:
        assert Path(name).is_dir() and made == [made[0], name]
