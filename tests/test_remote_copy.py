"""A copy of a run's folder in an object store: sent while it grows, fetched where the folder is missing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gcs
import pytest
import s3

from ffnet_search.config.files import RunPaths
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.run.folder import remote_copy as remote_copy_module
from ffnet_search.run.folder.remote_copy import RemoteCopy, remote_copy
from ffnet_search.run.folder.run_folder import StageRecord, open_run

BUCKETS = {"s3": s3.bucket, "gs": gcs.bucket}
SPACE = {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": [1], "width": [8]}] * 2}


@pytest.fixture(params=["s3", "gs", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param in BUCKETS:
        with BUCKETS[request.param]() as (url, _):
            yield url
    else:
        yield (tmp_path / "store").as_uri()


def names(files: RunPaths) -> set[str]:
    return {path.relative_to(files.folder).as_posix() for path in files.folder.rglob("*") if path.is_file()}


def test_another_machine_resumes_the_run(tmp_path: Path, store: str) -> None:
    first, second = (RunPaths(tmp_path / machine / "run") for machine in ("first", "second"))
    first.training.mkdir(parents=True)
    first.lock.touch()
    with remote_copy(first, store):
        (first.training / "last.ckpt").write_bytes(b"x" * 6_000_000)  # more than one part of an upload
        first.supernet.write_bytes(b"soon gone")
    with closing(sqlite3.connect(first.study)) as study:
        study.execute("pragma journal_mode = wal")
        study.execute("create table t (x)")
        with remote_copy(first, store):
            study.execute("insert into t values (7)")
            study.commit()  # into SQLite's log beside the file
            first.supernet.unlink()
            first.state.write_text("{}")
    second.folder.mkdir(parents=True)
    with remote_copy(second, store):
        pass
    assert names(second) == {"training/last.ckpt", "study.db", "run.json"}
    assert (second.training / "last.ckpt").read_bytes() == b"x" * 6_000_000
    with closing(sqlite3.connect(second.study)) as study:
        assert study.execute("select x from t").fetchall() == [(7,)]


def test_the_local_folder_wins(tmp_path: Path, store: str) -> None:
    files = RunPaths(tmp_path / "run")
    files.folder.mkdir()
    for text in ("old", "new"):
        files.state.write_text(text)
        with remote_copy(files, store):
            assert files.state.read_text() == text
    shutil.rmtree(files.folder)
    files.folder.mkdir()
    with remote_copy(files, store):
        assert files.state.read_text() == "new"


def test_the_record_is_sent_last_and_unchanged_files_are_not(tmp_path: Path) -> None:
    files = RunPaths(tmp_path / "run")
    files.folder.mkdir()
    for path in (files.state, files.supernet, files.candidates):
        path.write_text(path.name)
    with s3.bucket() as (url, objects):
        with remote_copy(files, url) as mirror:
            assert mirror is not None
            sent = [key for key in objects if not key.endswith("/")]
            assert sent[-1] == "some/runs/run/run.json" and len(sent) == 3
            objects["some/runs/run/supernet.ckpt"] = b"as it was"
            files.candidates.write_text("changed")
            mirror.send()
        assert objects["some/runs/run/supernet.ckpt"] == b"as it was"
        assert objects["some/runs/run/candidates.csv"] == b"changed"


def test_each_record_of_a_stage_is_sent_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with s3.bucket() as (url, objects):
        sweep = Sweep.model_validate({"name": "x", "search_space": SPACE, "runs": url})
        with open_run(sweep) as folder:
            folder.write("profile", StageRecord("digest", {}))
            assert b'"profile"' in objects["some/runs/x/run.json"]


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x?scheme=http&endpoint_override=127.0.0.1:1", "moon://x"])
def test_a_store_that_does_not_exist_is_one_sentence(tmp_path: Path, url: str) -> None:
    files = RunPaths(tmp_path / "run")
    files.folder.mkdir()
    with pytest.raises(SweepError, match=r"^runs: .* cannot be read or written: ") as caught, remote_copy(files, url):
        pass
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    files = RunPaths(tmp_path / "run")
    files.folder.mkdir()
    (files.folder / "notes.db").write_text("no database")
    remote = RemoteCopy(files, (tmp_path / "store").as_uri())
    with pytest.raises(SweepError, match="cannot be read or written: file is not a database"):
        remote.send()


@pytest.mark.parametrize("kind", BUCKETS)
def test_a_bucket_that_does_not_exist_is_one_sentence(tmp_path: Path, kind: str) -> None:
    files = RunPaths(tmp_path / "run")
    files.folder.mkdir()
    files.state.write_text("{}")
    with BUCKETS[kind]() as (url, objects):
        elsewhere = url.replace("@bucket/", "@other/")
        with pytest.raises(SweepError, match=r"^runs: \w+://other/some/runs/run cannot be read or written: ") as caught:
            RemoteCopy(files, elsewhere).send()
        assert "error_info" not in str(caught.value) and not objects


def test_a_store_of_google_that_does_not_answer_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_copy_module, "PATIENCE_S", 1)
    url = "gs://anonymous@bucket/x?scheme=http&endpoint_override=127.0.0.1:1"
    with pytest.raises(SweepError, match="Could not connect"):
        RemoteCopy(RunPaths(tmp_path / "run"), url).fetch()


def test_runs_that_is_a_url_works_in_a_folder() -> None:
    sweep = Sweep.model_validate({"name": "x", "search_space": SPACE, "runs": "s3://bucket/mine"})
    assert (sweep.files.folder, sweep.remote_runs) == (Path("runs/x"), "s3://bucket/mine")
    assert Sweep.model_validate(sweep.model_dump(mode="json")) == sweep
    sweep = Sweep.model_validate({"name": "x", "search_space": SPACE, "runs": "mine"})
    assert (sweep.files.folder, sweep.remote_runs) == (Path("mine/x"), None)
