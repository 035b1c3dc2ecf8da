"""Runs that cannot be written, by the real command: an archive, another person's folder, a mount that is read only."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from base_run import write_base

from ffnet_search.files.bounded import read_json

RUN = "runs/tiny"
AS_ROOT = "mount --bind runs runs && mount -o remount,ro,bind runs || exit 77; exec "  # root may write any mode


def read_only(folder: Path, *words: str) -> list[str]:
    """The command line of a program beside whose folder `runs` cannot be written."""
    if os.geteuid():
        for path in sorted((folder / "runs").rglob("*"), reverse=True):
            path.chmod(0o555 if path.is_dir() else 0o444)
        return [sys.executable, "-m", "ffnet_search", *words]
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("root may write here whatever the modes, and may not mount")
    return ["unshare", "-m", "sh", "-c", f'{AS_ROOT}"$@"', "sh", sys.executable, "-m", "ffnet_search", *words]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the run of a search that was killed: SQLite's log lies beside the study."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    write_base(tmp_path)
    monkeypatch.chdir(tmp_path)
    study = tmp_path / RUN / "study.db"
    other = sqlite3.connect(study)
    other.execute("pragma journal_mode = wal")
    other.execute("update trial_user_attributes set value_json = '0.99' where key = 'accuracy' and trial_id = 1")
    other.commit()
    for suffix in ("", "-wal"):
        shutil.copy(f"{study}{suffix}", f"{study}{suffix}.copy")
    other.close()
    for suffix in ("", "-wal"):
        os.replace(f"{study}{suffix}.copy", f"{study}{suffix}")
    return tmp_path


def test_what_must_write_nothing_works(folder: Path) -> None:
    for words in (["show", RUN], ["pick", RUN, "--latency-ms", "1e9"]):
        ran = subprocess.run(read_only(folder, *words), capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    assert "99" in ran.stdout + ran.stderr, "the log of SQLite was not read"


def test_a_dashboard_serves_a_copy_and_says_so(folder: Path) -> None:
    words = read_only(folder, "dashboard", RUN, "--port", "0")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "notes and what you change last until the dashboard ends" in process.stderr.readline()
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, process.stderr.read()
    assert not (folder / RUN / "artifacts").exists()


def test_what_must_write_says_where(folder: Path) -> None:
    words = ["export", RUN, "--format", "pt2"]
    ran = subprocess.run(read_only(folder, *words), capture_output=True, text=True)
    assert ran.returncode == 2
    assert "01-net: cannot be written, and holds no pt2 model; copy the run to where you may write" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_a_format_that_is_there_needs_no_writing(folder: Path) -> None:
    for card in (folder / RUN).glob("pareto/*/card.json"):
        content = read_json(card)
        entry = {"files": ["model.onnx"], "max_difference": 0.0, "latency_ms": 1.0, "onnx_latency_ms": 1.0}
        card.write_text(json.dumps({**content, "formats": {"onnx": {**entry, "versions": {}}}}))
    ran = subprocess.run(read_only(folder, "export", RUN, "--format", "onnx"), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_disk_without_any_room_is_named_with_its_file(folder: Path) -> None:
    """A limit of file sizes stands for the disk; the lock is the first file that a command writes."""
    words = [sys.executable, "-m", "ffnet_search", "profile", "tiny.yaml"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
    ran = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit)
    assert ran.returncode == 2
    assert re.fullmatch(r"ffnet-search: .*tiny/\.lock: cannot be written: File too large; see to it, .*\n", ran.stderr)


def test_a_format_for_which_there_is_no_room_is_one_sentence(folder: Path) -> None:
    words = [sys.executable, "-m", "ffnet_search", "export", RUN, "--format", "pt2"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    ran = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit)
    assert ran.returncode == 2, ran.stderr
    assert (
        ran.stderr.splitlines()[-1].startswith("ffnet-search: ") and "cannot be written: File too large" in ran.stderr
    )
