"""Odd files in run folders and data folders of strangers: a result or one sentence, nothing outside the folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from networks import space
from tiny_sweep import sweep as tiny_sweep
from written_runs import written_run

from ffnet_search.config.files import RunPaths
from ffnet_search.config.start import TRAINABLE, check_start
from ffnet_search.data.layout import class_names
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.fidelity import FILE, read_fidelity
from ffnet_search.evaluation.schedule import read_schedule
from ffnet_search.export.folders import NAMES, folder_names
from ffnet_search.export.yardstick.gains import GAINS, read_gains
from ffnet_search.latency.journal import Journal
from ffnet_search.models.reference import load_reference
from ffnet_search.models.saved import load_trainable, read_supernet
from ffnet_search.report.dashboard import serve
from ffnet_search.run.fidelity.trainings import must_be_results
from ffnet_search.run.folder.lock import working_process
from ffnet_search.run.folder.run_folder import open_run
from ffnet_search.run.overview import runs
from ffnet_search.training.checkpoints import load_checkpoint

NEST = "[" * 100_000
ODD = [b"\xff\xfe", b"\0", NEST.encode(), b'{"a": ' + b"9" * 5000 + b"}", b"[1]", b'"x"']


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    """A socket; its address would be too long with its folder."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("key,state,accuracy\na,evaluated,none\n"),
        lambda path: path.write_bytes(b"state,accuracy\nevaluated,\xff\n"),
        lambda path: path.write_text("state,accuracy\nevaluated," + "9" * 200_000),
        lambda path: os.truncate(path, 1 << 40),
    ],
    ids=["a word", "no text", "a long cell", "too large"],
)
def test_a_table_of_candidates_that_cannot_be_read_is_named_in_the_list(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    files = RunPaths(written_run(tmp_path / "runs" / "odd"))
    for card in files.pareto.glob("*/card.json"):
        card.unlink()
    write(files.candidates)
    written_run(tmp_path / "runs" / "right")
    states = {run.name: run.state for run in runs(tmp_path / "runs")}
    assert states["odd"].startswith("cannot be read: candidates.csv: ") and len(states["odd"]) < 200
    assert states["right"] == "profile pending"


def test_a_list_waits_for_no_pipe(tmp_path: Path) -> None:
    files = RunPaths(written_run(tmp_path / "run"))
    files.candidates.unlink()
    for path in (files.candidates, files.lock):
        pipe(path)
    (run,) = runs(tmp_path / "run")
    assert (run.state, run.candidates) == ("profile pending", 0)


@pytest.mark.parametrize(
    "pid", ["-1", "0x10", "9" * 30, "9" * 5000, "\u0663", "", "\udcff"], ids=lambda pid: ascii(pid)[:12]
)
def test_an_odd_lock_is_of_no_process(pid: str, tmp_path: Path) -> None:
    files = RunPaths(tmp_path)
    files.lock.write_bytes(f"{pid} on {socket.gethostname()}".encode("utf-8", "surrogateescape"))
    assert working_process(files) == ""


@pytest.mark.parametrize(
    "name", ["01-x/../../../evil", "/etc/01-a", "../01-a", "9" * 5000 + "-a", "1-a\0", "x", 3, None], ids=str
)
def test_a_network_is_written_into_the_folder_of_its_run(name: object, tmp_path: Path) -> None:
    (tmp_path / NAMES).write_text(json.dumps({"a": name, "b": "07-b"}))
    assert folder_names(tmp_path, ["a", "b"]) == {"a": "08-a", "b": "07-b"}


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_odd_json_is_one_sentence_or_nothing(content: bytes, tmp_path: Path) -> None:
    for name in (FILE, GAINS, "classes.json", "schedule.json", "journal"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SweepError, match="classes.json must be a list of the classes' names"):
        class_names(tmp_path, 2)
    with pytest.raises(SweepError, match="cannot be read"):
        read_fidelity(tmp_path)
    assert read_gains(tmp_path) == [] and read_schedule(tmp_path) == ()
    assert Journal(tmp_path / "journal", "x").total_rounds == 0


def test_classes_are_a_line_each_whatever_ends_it(tmp_path: Path) -> None:
    for ending in (b"\n", b"\r\n", b"\r"):
        (tmp_path / "classes.txt").write_bytes(ending.join((b"road", b"sky", b"")))
        assert class_names(tmp_path, 2) == ("road", "sky")
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfroad\r\nsky\r\n")  # as Notepad writes UTF-8
    assert class_names(tmp_path, 2) == ("road", "sky")
    (tmp_path / "classes.json").write_bytes(b'\xef\xbb\xbf["a", "b"]')
    assert class_names(tmp_path, 2) == ("a", "b")


def test_qualities_of_networks_alone_are_numbers() -> None:
    must_be_results({"0": {"a": {"validation": 0.5}}, "1": {}}, "alone.json")
    for content in ([], {"0": []}, {"0": {"a": 3}}, {"0": {"a": {"test": "x"}}}):
        with pytest.raises(ValueError, match="must"):
            must_be_results(content, "alone.json")


def test_gains_are_numbers(tmp_path: Path) -> None:
    gain = {"by_hand": "width1", "folder": "width1-a", "ms": 1.0, "quality": 0.5}
    for changed, count in (({}, 1), ({"ms": "x"}, 0), ({"p": None}, 0), ({"error": [1]}, 0)):
        (tmp_path / GAINS).write_text(json.dumps([gain | changed]))
        assert len(read_gains(tmp_path)) == count


def test_a_journal_that_is_a_pipe_is_one_sentence(tmp_path: Path) -> None:
    pipe(tmp_path / "journal")
    with pytest.raises(SweepError, match="journal: cannot be read as a journal .*a regular file"):
        Journal(tmp_path / "journal", "x")


MAKE: dict[str, Callable[[Path], object]] = {
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": pipe,
    "a socket": bound,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", MAKE)
def test_each_file_of_a_run_must_be_one_before_anything_is_done(kind: str, tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path)
    files = sweep.files
    (files.folder / "training").mkdir(parents=True)
    files.latency.mkdir()
    files.state.write_text('{"format": 2, "stages": {}}')
    unfinished = [files.latency / "a.json.journal", files.training / "last.ckpt", files.folder / "study.db.pending"]
    unfinished += [files.folder / f"study.db-{name}" for name in ("wal", "shm", "journal")]
    for path in (files.state, files.study, files.supernet, files.candidates, files.sweep, files.lock, *unfinished):
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        MAKE[kind](path)
        with pytest.raises(SweepError, match=rf"^{path}: (is a link that leads nowhere|must be a file, but is a)"):
            open_run(sweep).__enter__()
        path.rmdir() if kind == "a folder" else path.unlink()
        if before is not None:
            path.write_bytes(before)


@pytest.mark.parametrize("kind", [*MAKE, "a file"])
def test_each_folder_of_a_run_must_be_one(kind: str, tmp_path: Path) -> None:
    sweep = tiny_sweep(tmp_path)
    sweep.files.folder.mkdir(parents=True)
    sweep.files.state.write_text('{"format": 2, "stages": {}}')
    for path in sweep.files.folders - {sweep.files.folder}:
        (MAKE | {"a file": Path.touch})[kind](path)
        if kind == "a folder":
            continue
        with pytest.raises(SweepError, match=rf"^{path}: (is a link that leads nowhere|must be a folder, but is a)"):
            open_run(sweep).__enter__()
        path.unlink()
    with open_run(sweep):
        pass


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", MAKE)
def test_weights_are_read_from_files_alone(kind: str, tmp_path: Path) -> None:
    for path, read in {
        tmp_path / "supernet.ckpt": read_supernet,
        tmp_path / "reference.ckpt": load_reference,
        tmp_path / "last.ckpt": lambda path: load_checkpoint(path, plain=True),
        tmp_path / "start.ckpt": check_start,
        tmp_path / TRAINABLE: lambda path: load_trainable(path.parent, space("ffnet_digits").smallest),
    }.items():
        MAKE[kind](path)
        with pytest.raises((SweepError, OSError)):
            read(path)


@pytest.mark.parametrize("host", ["..", "a" * 300])
def test_a_host_that_is_no_name_is_one_sentence(host: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    from ffnet_search.search.storage.study import open_study

    with open_study(tmp_path / "study.db", {"a": "minimize"}, "d"):
        pass
    with pytest.raises(SweepError, match="cannot listen on .*choose another with --port or --host"):
        serve(tmp_path / "study.db", tmp_path / "files", host, 0, lambda address: None)
