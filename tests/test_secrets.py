"""No secret reaches the files of a run, or its logs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ffnet_search.config.inputs import train_inputs
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.files.secrets import without_secrets
from ffnet_search.report.dashboard import own_host_only
from ffnet_search.run.folder.run_folder import open_run
from ffnet_search.run.pipeline import run_sweep

SPACE = {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": 1, "width": 8}]}


def test_secrets_are_cut_by_name_and_from_urls() -> None:
    content = {"api_key": "s", "init_args": {"token": "s", "token_kernel": [3]}, "at": ["http://me:s@h/x"], "n": 1}
    assert without_secrets(content) == {
        "api_key": "***", "init_args": {"token": "***", "token_kernel": [3]}, "at": ["http://***@h/x"], "n": 1,
    }  # fmt: skip


def test_no_file_of_a_run_has_a_secret(tmp_path: Path) -> None:
    logger = {"class_path": "lightning.pytorch.loggers:CSVLogger", "init_args": {"name": "x", "password": "hunter2"}}
    content = {
        "search_space": SPACE,
        "runs": str(tmp_path / "runs"),
        "train": {"loggers": [logger]},
        "search": {"storage": "postgresql://me:hunter2@127.0.0.1:1/x"},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    sweep = Sweep.from_yaml(tmp_path / "s.yaml")
    assert "hunter2" not in str(train_inputs(sweep))
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
    with pytest.raises(SweepError) as caught:
        run_sweep(sweep, stages=("search",))
    assert "hunter2" not in str(caught.value)
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()
    kept = Sweep.from_yaml(sweep.files.sweep)
    assert kept.search.storage == "postgresql://***@127.0.0.1:1/x"
    assert kept.digest == sweep.digest  # a new password trains nothing again


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1:8080", True), ("localhost", True), ("[::1]:8080", True), ("evil.example:8080", False), ("", False),
     ("[::1", False)],
)  # fmt: skip
def test_a_dashboard_answers_requests_to_this_machine_alone(host: str, allowed: bool) -> None:
    """Else a page of another site, whose name points to this machine for a moment, could read and change the study."""
    statuses: list[str] = []
    answer = own_host_only(lambda environ, start: [b"study"])(
        {"HTTP_HOST": host}, lambda status, headers: statuses.append(status)
    )
    assert (list(answer) == [b"study"]) is allowed
    assert statuses == ([] if allowed else ["403 Forbidden"])
