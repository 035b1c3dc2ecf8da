"""A run's folder belongs to one process at a time, and its record survives kills and foreign files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import write_sweep

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.run.folder.changes import differences
from ffnet_search.run.folder.run_folder import FORMAT, RunFolder, StageRecord, open_run, read_records

HOLD = """
import sys, time
from ffnet_search.config.sweep import Sweep
from ffnet_search.run.folder.run_folder import open_run
with open_run(Sweep.from_yaml(sys.argv[1])):
    if "fork" in sys.argv:
        import os
        parent = os.getpid()
        if os.fork() == 0:
            while os.getppid() == parent:
                time.sleep(0.05)
            time.sleep(1)
            os._exit(0)
    print("holds", flush=True)
    time.sleep(60)
"""


def holder(sweep: Sweep, *words: str) -> subprocess.Popen[str]:
    """Start another process that has the folder open."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(sweep.path), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    sweep.files.folder.parent.write_text("a file")
    with pytest.raises(SweepError, match="tiny: must be a folder or new, .* a part of it, is a file; set `runs`"):
        read_records(sweep.files)
    with pytest.raises(SweepError, match="tiny: cannot be written .*; set `runs` in .*tiny.yaml"):
        open_run(sweep).__enter__()


def test_a_second_process_is_refused_and_pointed_to_the_first(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    other = holder(sweep)
    try:
        with pytest.raises(SweepError, match=f"process {other.pid} on {socket.gethostname()} is working in it; wait"):
            open_run(sweep).__enter__()
        with open_run(sweep.override(name="another")):
            pass
    finally:
        end(other)


def test_a_damaged_lock_is_no_traceback(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    with open_run(sweep):
        sweep.files.lock.write_bytes(b"\xff\xfe" * 4096)
        with pytest.raises(SweepError, match="another process is working in it; wait"):
            open_run(sweep).__enter__()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    end(holder(sweep))
    assert sweep.files.lock.read_text()  # nothing was cleaned up
    with open_run(sweep):
        assert sweep.files.lock.read_text() == f"{os.getpid()} on {socket.gethostname()}\n"


def test_a_folder_that_is_moved_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    """Else half a run would be written in its place."""
    sweep = write_sweep(tmp_path)
    with open_run(sweep) as folder:
        folder.begin("train", StageRecord("x", {}))
        os.rename(folder.path, tmp_path / "moved")
        (folder.path / "training").mkdir(parents=True)  # a checkpoint creates the folder again
        with pytest.raises(SweepError, match="was moved or deleted while this command worked in it; remove what is"):
            folder.finish("train")
    assert (tmp_path / "moved" / "run.json").exists() and not sweep.files.state.exists()


def test_the_child_processes_of_a_killed_run_are_waited_for(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    end(holder(sweep, "fork"))
    with open_run(sweep):
        pass


def test_the_lock_is_free_after_an_error_and_refuses_the_same_process(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    with pytest.raises(KeyError), open_run(sweep):
        raise KeyError
    with open_run(sweep), pytest.raises(SweepError, match=f"process {os.getpid()} on"):
        open_run(sweep).__enter__()
    with open_run(sweep):
        pass


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    sweep.files.folder.mkdir(parents=True)
    (sweep.files.folder / "thesis.tex").write_text("dear")
    with pytest.raises(SweepError, match=r"must be new, empty or the folder of a run, but holds thesis.tex and no run"):
        open_run(sweep).__enter__()
    assert [path.name for path in sweep.files.folder.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    sweep.files.folder.mkdir(parents=True)
    with open_run(sweep) as folder:
        assert folder.records == {}
        folder.write_sweep(sweep)
    with open_run(sweep):  # killed before the first record
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    Path(sweep.runs).write_text("a file")
    with pytest.raises(SweepError, match=r"runs/tiny: cannot be written .*; set `runs` in .*tiny.yaml"):
        open_run(sweep).__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    Path(sweep.runs).mkdir(mode=0o555)
    with pytest.raises(SweepError, match="cannot be written"):
        open_run(sweep).__enter__()


def test_records_survive(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    record = StageRecord("abc", {"train": {"epochs": 3}}, {"trials": 9}, "2026-01-01T00:00:00.000000+00:00")
    with open_run(sweep) as folder:
        folder.write("train", record)
        folder.write("search", StageRecord("def", {}))
    assert RunFolder(sweep.files).records == {"train": record, "search": StageRecord("def", {})}
    assert not list(sweep.files.folder.glob("*.tmp"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", '{"format": 1}', '{"format": 1, "stages": {}}', '{"format": 9, "stages": {}}'),
        *(
            json.dumps({"format": FORMAT, "stages": {"train": {"digest": "d", "inputs": {}, **odd}}})
            for odd in (
                {"number": -3},
                {"amounts": {"trials": -3}},
                {"finished": "99999-01-01T00:00:00+00:00"},
                {"inputs": {"a": 1e300}},
            )
        ),
    ],
)
def test_a_broken_record_is_one_sentence(tmp_path: Path, text: str) -> None:
    sweep = write_sweep(tmp_path)
    sweep.files.folder.mkdir(parents=True)
    sweep.files.state.write_text(text)
    with pytest.raises(SweepError, match=r"run.json: must be the record of a run of this version, but"):
        open_run(sweep).__enter__()
    assert sweep.files.state.read_text() == text


@pytest.mark.parametrize("latency", [{"threads": 2}, [{"name": "laptop"}, {"name": "phone", "batch_size": 4}]])
def test_the_copy_of_the_sweep_says_the_same(tmp_path: Path, latency: Any) -> None:
    content = {"train": {"epochs": 3}, "data": {"path": "some/where"}, "search": {"constraints": {"macs_m": 1}}}
    sweep = write_sweep(tmp_path, **content, latency=latency)
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
    copy = Sweep.from_yaml(sweep.files.sweep)
    assert copy.model_dump() == sweep.model_dump()
    assert copy.latency == sweep.latency and copy.runs == sweep.runs
    assert copy.digest == sweep.digest


def test_setting_aside_moves_files_and_records_together(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    files = sweep.files
    with open_run(sweep) as folder:
        for stage, path in (("train", files.supernet), ("profile", files.latency / "x.json")):
            path.parent.mkdir(exist_ok=True)
            path.write_text(stage)
            folder.write(stage, StageRecord(stage, {}))
        folder.write_sweep(sweep)
        folder.set_aside({"train": [files.supernet]})
        folder.write("train", StageRecord("train", {}))
        files.supernet.write_text("second")
        folder.set_aside({"train": [files.supernet]})  # within the same second
    assert set(RunFolder(files).records) == {"profile"}
    assert (files.latency / "x.json").exists()
    first, second = sorted(files.folder.glob("previous-*"))
    assert [(aside / files.supernet.name).read_text() for aside in (first, second)] == ["train", "second"]
    assert set(json.loads((first / "run.json").read_text())["stages"]) == {"train"}
    assert Sweep.from_yaml(first / "sweep.yaml").digest == sweep.digest


def test_changes_are_the_innermost_differences() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "stages": [{"d": 1}, {"d": 2}], "gone": 1}
    new = {"a": {"b": 2, "c": [1]}, "stages": [{"d": 1}, {"d": 3}], "more": {"x": 1}}
    assert [str(change) for change in differences(old, new)] == [
        "a.b (1 -> 2)",
        "a.c ([1, 2] -> [1])",
        "stages.1.d (2 -> 3)",
        "gone (1 -> nothing)",
        "more (nothing -> {'x': 1})",
    ]
    assert list(differences(old, old)) == []
