"""The copy of a study in PostgreSQL: a server of our own, started for these tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from searches import Run, stored

from ffnet_search.errors import SweepError
from ffnet_search.search.storage.study import quiet_optuna

pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'ffnet-search[postgresql]'")


def binary(name: str) -> str | None:
    found = shutil.which(name)
    if found is None and shutil.which("pg_config"):
        folder = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        found = shutil.which(name, path=folder)
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of an empty database; PostgreSQL does not run as root."""
    initdb, pg_ctl = binary("initdb"), binary("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed: initdb and pg_ctl are not in PATH")
    user: dict[str, Any] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, "nobody")
        data, options = f"{folder}/data", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/", **user}
        subprocess.run([initdb, "-D", data, "-U", "sweeper", "-A", "trust", "-E", "UTF8"], **quiet)
        subprocess.run([pg_ctl, "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start"], **quiet)
        try:
            yield f"postgresql://sweeper:secret@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([pg_ctl, "-D", data, "-w", "-m", "immediate", "stop"], **quiet)


def there(database: str, run: Run) -> list[tuple[Any, ...]]:
    """What Optuna itself reads from the copy."""
    with quiet_optuna():
        storage = optuna.storages.RDBStorage(database.replace("postgresql:", "postgresql+psycopg:"))
        trials = optuna.load_study(study_name=run.folder.name, storage=storage).trials
        storage.remove_session()
        storage.engine.dispose()
    return [stored(trial) for trial in trials]


def test_the_copy_is_the_study_also_where_one_of_them_was_lost(run: Run, database: str) -> None:
    section = {"storage": database, "constraints": {"latency_ms": 0.03}}
    run.search(trials=5)  # before there was a database
    run.search(trials=12, **section)
    assert len(run.stored) >= 12
    assert there(database, run) == run.stored
    run.study.unlink()  # with the machine that it was on
    assert len(run.search(trials=15, **section)) == 15
    assert there(database, run) == run.stored
    assert len(set(run.evaluated)) == len(run.evaluated) == 15, "nothing is evaluated again"


def test_another_search_of_the_name_is_refused(run: Run, database: str) -> None:
    run.search(trials=12, storage=database)
    run.study.unlink()
    run.digest = "other"
    with pytest.raises(SweepError, match=r"search.storage: the study .* in postgresql://\*\*\*@.* of another"):
        run.search(trials=3, storage=database)
    run.study.unlink()
    run.digest, run.seed = "d", 7
    run.search(trials=12)
    with pytest.raises(SweepError, match=r"must begin with the same trials, but do not"):
        run.search(trials=12, storage=database)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody:secret@127.0.0.1:1/none", r"postgresql://\*\*\*@127.0.0.1:1/none: .*onnection"),
        ("my database", "search.storage must be a database's URL"),
        ("moon://x/y", "needs a driver that is not installed"),
    ],
)
def test_a_database_that_is_not_there_is_one_sentence(run: Run, url: str, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        run.search(trials=3, storage=url)
    assert not (run.folder / "log").exists()
