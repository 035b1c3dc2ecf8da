"""Optuna Dashboard shows exactly our front as the best trials, with notes and files, by its own server's answers."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna_dashboard
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import TrialState, create_trial

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.report import annotate
from ffnet_search.report.annotate import annotate_study
from ffnet_search.report.dashboard import application, serve
from ffnet_search.search.storage.study import open_study, read_candidates, read_trials
from ffnet_search.search.storage.trial_params import distributions, params_of
from ffnet_search.search.storage.trial_reader import BulkStorage
from ffnet_search.space.hyperparameters import Configuration

OBJECTIVES: dict[str, Any] = {"accuracy": "maximize", "latency_ms": "minimize"}


def make_run(folder: Path, trials: int = 40, better: bool = False) -> Sweep:
    """A run whose infeasible architectures would win; `better` adds one that beats all others."""
    (folder / "study").mkdir(exist_ok=True)
    file = folder / "study.yaml"
    spaces = Path(__file__).parents[1] / "search_spaces"
    limits = "search: {constraints: {macs_m: 2.0}}\n"
    file.write_text(f"search_space: {spaces / 'ffnet_digits.yaml'}\nruns: {folder}\n{limits}")
    sweep, rng = Sweep.from_yaml(file), random.Random(0)
    axes, found = distributions(sweep.search_space), []
    for number in range(trials + better):
        arch = sweep.search_space.sample(rng)
        accuracy = 1.0 if number == trials else min(0.9, 0.3 * arch.macs_m)
        ms = 0.001 if number == trials else arch.macs_m
        known = {"key": arch.key, "architecture": str(arch), "latency_ms": ms, "params_m": arch.params_m}
        known |= {"macs_m": arch.macs_m}
        common: dict[str, Any] = {"params": params_of(sweep.search_space, Configuration(arch)), "distributions": axes}
        common["constraints"] = {"macs_m": arch.macs_m / 2 - 1}
        if arch.macs_m > 2 and number != trials:
            found.append(create_trial(state=TrialState.PRUNED, user_attrs=known, **common))
        else:
            found.append(create_trial(values=[accuracy, ms], user_attrs={**known, "accuracy": accuracy}, **common))
    with open_study(sweep.files.study, OBJECTIVES, "x") as writer:
        before = sum(1 for _ in writer.stored())
        writer.add(found[before:])
    return sweep


def ask(app: Any, path: str, method: str = "GET", content: Any = None) -> tuple[str, bytes]:
    """The status and the body of a WSGI application's answer."""
    body = b"" if content is None else json.dumps(content).encode()
    status: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
    }
    environ |= {"SERVER_NAME": "test", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "CONTENT_LENGTH": str(len(body))}
    environ |= {"CONTENT_TYPE": "application/json"}
    answer = b"".join(app(environ, lambda line, headers, error=None: status.append(line)))
    return status[0], answer


def get(sweep: Sweep, path: str) -> bytes:
    """The answer of a plain Optuna Dashboard on the run's study."""
    store = FileSystemArtifactStore(str(sweep.files.artifacts))
    status, answer = ask(optuna_dashboard.wsgi(f"sqlite:///{sweep.files.study}", artifact_store=store), path)
    assert status.startswith("200"), (status, answer)
    return answer


def front_of(sweep: Sweep) -> list[Candidate]:
    return pareto_front(read_candidates(sweep.files.study, sweep.search_space), sweep.search.directions)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_best_trials_are_the_front_and_have_notes_and_files(tmp_path: Path) -> None:
    sweep = make_run(tmp_path)
    sweep.files.report.write_text("the report")
    annotate_study(sweep)
    study = json.loads(get(sweep, "/api/studies/1"))
    keys = {candidate.architecture.key for candidate in front_of(sweep)}

    def key_of(trial: dict[str, Any]) -> str:
        return next(str(attr["value"]) for attr in trial["user_attrs"] if attr["key"] == "key")

    pruned = [trial for trial in study["trials"] if trial["state"] == "Pruned"]
    assert pruned and {key_of(trial) for trial in study["best_trials"]} == keys
    assert study["objective_names"] == list(OBJECTIVES)
    assert all(key in study["note"]["body"] for key in keys)
    report = study["artifacts"][0]["artifact_id"]
    assert f"(/artifacts/1/{report})" in study["note"]["body"]
    assert get(sweep, f"/artifacts/1/{report}") == b"the report"
    for trial in study["trials"]:
        names = [artifact["filename"] for artifact in trial["artifacts"]]
        assert names == (["architecture.yaml", "network.svg"] if key_of(trial) in keys else [])
        assert ("On the front" in trial["note"]["body"]) == (key_of(trial) in keys)
        for artifact in trial["artifacts"]:
            content = get(sweep, f"/artifacts/1/{trial['trial_id']}/{artifact['artifact_id']}")
            assert content.startswith(b"<svg" if artifact["filename"].endswith("svg") else b"input:")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_annotating_again_changes_nothing_and_another_front_replaces_the_old(tmp_path: Path) -> None:
    sweep = make_run(tmp_path)
    annotate_study(sweep)
    before = json.loads(get(sweep, "/api/studies/1"))
    annotate_study(sweep)
    assert json.loads(get(sweep, "/api/studies/1")) == before

    make_run(tmp_path, better=True)
    annotate_study(sweep)
    after = json.loads(get(sweep, "/api/studies/1"))
    assert [trial["number"] for trial in after["trials"] if trial["artifacts"]] == [40]
    assert [trial["number"] for trial in after["trials"] if trial["note"]["body"]] == [40]
    assert len(list(sweep.files.artifacts.iterdir())) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_user_wrote_and_uploaded_in_the_dashboard_stays(tmp_path: Path) -> None:
    """By the dashboard's own requests: a new note, another text in place of ours, and a file."""
    sweep = make_run(tmp_path)
    annotate_study(sweep)
    app = optuna_dashboard.wsgi(
        f"sqlite:///{sweep.files.study}", artifact_store=FileSystemArtifactStore(str(sweep.files.artifacts))
    )
    trials = json.loads(get(sweep, "/api/studies/1"))["trials"]
    edited = next(trial for trial in trials if trial["note"]["body"])
    other = next(trial for trial in trials if not trial["note"]["body"])
    for trial in (edited, other):
        note = {"body": f"mine of {trial['trial_id']}", "version": trial["note"]["version"] + 1}
        status, _ = ask(app, f"/api/studies/1/{trial['trial_id']}/note", "PUT", note)
        assert status.startswith("204"), status
    file = {"file": "data:text/plain;base64,aGVsbG8=", "filename": "hello.txt"}
    status, answer = ask(app, "/api/artifacts/1", "POST", file)
    assert status.startswith("201"), (status, answer)
    uploaded = json.loads(answer)["artifact_id"]

    make_run(tmp_path, better=True)
    annotate_study(sweep)
    study = json.loads(get(sweep, "/api/studies/1"))
    bodies = {trial["trial_id"]: trial["note"]["body"] for trial in study["trials"] if trial["note"]["body"]}
    for trial in (edited, other):
        assert bodies.pop(trial["trial_id"]) == f"mine of {trial['trial_id']}"
    assert len(bodies) == 1, "the notes of the earlier front, but for what was edited, are gone"
    assert get(sweep, f"/artifacts/1/{uploaded}") == b"hello"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 40)])
def test_an_odd_report_is_left_out(tmp_path: Path, make: Callable[[Path], object]) -> None:
    sweep = make_run(tmp_path)
    sweep.files.report.unlink(missing_ok=True)
    make(sweep.files.report)
    annotate_study(sweep)
    assert not any(path.stat().st_size > 1 << 20 for path in sweep.files.artifacts.iterdir())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("most", [0, -1])
def test_the_number_of_trial_notes_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    sweep = make_run(tmp_path)
    front = front_of(sweep)
    monkeypatch.setattr(annotate, "MAX_TRIALS", len(front) + most)
    annotate_study(sweep)
    study = json.loads(get(sweep, "/api/studies/1"))
    assert sum(bool(trial["note"]["body"]) for trial in study["trials"]) == len(front) + most


def test_the_search_resumes_with_an_annotated_study(tmp_path: Path) -> None:
    sweep = make_run(tmp_path)
    before = list(read_trials(sweep.files.study))
    annotate_study(sweep)
    with open_study(sweep.files.study, OBJECTIVES, "x") as writer:
        finished = list(writer.stored())
        assert [trial.user_attrs for trial in finished] == [trial.user_attrs for trial in before]
        assert [trial.constraints for trial in finished] == [trial.constraints for trial in before]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_served_study_is_the_one_on_disk(tmp_path: Path) -> None:
    """It answers as a plain Optuna Dashboard does, keeps a note that is written on it, and shows new trials."""
    sweep = make_run(tmp_path)
    annotate_study(sweep)
    storage = BulkStorage(f"sqlite:///{sweep.files.study}")
    served = application(storage, 1, sweep.files.artifacts)
    status, answer = ask(served, "/api/studies/1")
    plain = json.loads(get(sweep, "/api/studies/1"))
    assert status.startswith("200")
    for study in (shown := json.loads(answer), plain):
        for axis in study["union_search_space"]:  # the choices of a union come in any order
            axis["distribution"]["choices"].sort(key=str)
        study["union_user_attrs"].sort(key=str)
        for trial in (*study["trials"], *study["best_trials"]):
            trial["user_attrs"].sort(key=str)
    assert shown == plain

    note = {"body": "written by hand", "version": plain["note"]["version"] + 1}
    assert ask(served, "/api/studies/1/note", "PUT", note)[0].startswith("204")
    assert json.loads(get(sweep, "/api/studies/1"))["note"] == note

    make_run(tmp_path, better=True)
    assert [trial.number for trial in storage.get_all_trials(1)][-1] == 40
    status, answer = ask(application(storage, 1, sweep.files.artifacts), "/api/studies/1")
    assert json.loads(answer)["trials"][-1]["number"] == 40
    storage.engine.dispose()


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    sweep = make_run(tmp_path, trials=3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SweepError, match=f"cannot listen on 127.0.0.1:{port} .*choose another with --port"):
            serve(sweep.files.study, sweep.files.artifacts, "127.0.0.1", port, lambda address: None)


def test_a_run_is_found_by_its_folder_wherever_it_is(tmp_path: Path) -> None:
    sweep = make_run(tmp_path, trials=3)
    from ffnet_search.run.folder.run_folder import open_run

    with pytest.raises(SweepError, match="must be a sweep file or the folder of a run, but holds no sweep.yaml"):
        Sweep.of_run(sweep.files.folder)
    sweep.files.study.rename(tmp_path / "elsewhere.db")
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
    moved = sweep.files.folder.rename(tmp_path / "moved")
    assert Sweep.of_run(moved).files.study == tmp_path / "moved" / "study.db"
    assert Sweep.of_run(sweep.path).files.folder == sweep.files.folder


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing_in_the_temporary_folder(tmp_path: Path, sent: signal.Signals) -> None:
    sweep = make_run(tmp_path, trials=4)
    temporary = tempfile.mkdtemp(dir="/tmp")  # a longer one is not used
    environment = {**os.environ, "TMPDIR": temporary, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-m", "ffnet_search", "dashboard", str(sweep.path), "--port", "0"]
    default = partial(signal.signal, sent, signal.SIG_DFL)  # also under nohup
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=default) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(sent)
        assert process.wait() == -sent
    os.rmdir(temporary)  # which is empty
