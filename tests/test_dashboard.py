"""Optuna Dashboard shows our front and nothing else as the best, with notes and files, by its own server's answers."""

from __future__ import annotations

import gzip
import io
import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.report.answers import Answers
from ffnet_search.report.dashboard import serve
from ffnet_search.report.lean import _of_new_spaces, make_lean
from ffnet_search.report.notes import annotate_study
from ffnet_search.search.storage import reader
from ffnet_search.search.storage.reader import QuickStorage
from ffnet_search.search.storage.study import distributions, open_study, params_of, read_candidates, read_trials
from ffnet_search.space.configuration import Configuration

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
    with open_study(sweep.files.study, OBJECTIVES, "x") as (writer, before):
        writer.add(found[len(before) :])
    return sweep


def get(sweep: Sweep, path: str) -> bytes:
    """What Optuna Dashboard answers, asked as a web server would."""
    store = FileSystemArtifactStore(str(sweep.files.artifacts))
    app = optuna_dashboard.wsgi(f"sqlite:///{sweep.files.study}", artifact_store=store)
    status: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
    environ |= {"SERVER_NAME": "test", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    body = app(environ, lambda line, headers, error=None: status.append(line))
    content = b"".join(body)
    assert status[0].startswith("200"), (status, content)
    return content


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


def test_the_search_goes_on_with_an_annotated_study(tmp_path: Path) -> None:
    sweep = make_run(tmp_path)
    before = read_trials(sweep.files.study)
    annotate_study(sweep)
    with open_study(sweep.files.study, OBJECTIVES, "x") as (_, finished):
        assert [trial.user_attrs for trial in finished] == [trial.user_attrs for trial in before]
        assert [trial.constraints for trial in finished] == [trial.constraints for trial in before]


def test_quick_reading_is_optunas_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study that Optuna wrote itself, with all that a trial can have, while it grows."""
    url = f"sqlite:///{tmp_path / 'any.db'}"
    study = optuna.create_study(storage=url, study_name="any", directions=["maximize", "minimize"])
    other = optuna.create_study(storage=url, study_name="other")
    quick, plain = QuickStorage(url), RDBStorage(url)
    space = {"a": FloatDistribution(0, 1), "b": CategoricalDistribution(["x", 2]), "c": IntDistribution(1, 9)}
    params = {"a": 0.5, "b": "x", "c": 3}
    whole = create_trial(
        values=[math.inf, -1.0], params=params, distributions=space, user_attrs={"u": [1]}, system_attrs={"s": {"k": 2}}
    )
    reported = create_trial(state=TrialState.PRUNED, intermediate_values={0: 0.5, 3: math.inf})
    for added in ([whole, reported], [create_trial(state=TrialState.FAIL)], [whole] * 3):
        study.add_trials(added)
        under_way = study.ask(space)
        other.ask()
        for states in (None, (TrialState.COMPLETE,), (TrialState.RUNNING, TrialState.FAIL)):
            expected = plain.get_all_trials(study._study_id, states=states)
            assert quick.get_all_trials(study._study_id, states=states) == expected
        study.tell(under_way, [0.0, 0.0])
    study.add_trial(whole)
    assert quick.get_all_trials(study._study_id) == plain.get_all_trials(study._study_id)
    with pytest.raises(KeyError):
        quick.get_all_trials(99)
    monkeypatch.setattr(reader, "AT_ONCE", 2)
    expected = plain.get_all_trials(study._study_id)
    assert list(reader.stream(quick, study._study_id)) == expected
    for names in ([], ["c", "a"]):
        streamed = list(reader.stream(plain, study._study_id, names))
        assert [t.number for t in streamed] == [t.number for t in expected]
        for some, every in zip(streamed, expected, strict=True):
            assert some.params == {name: value for name, value in every.params.items() if name in names}
            assert (some.values, some.user_attrs, some.state) == (every.values, every.user_attrs, every.state)
    first, *_, last = (t for t in quick.get_all_trials(study._study_id, deepcopy=False) if "b" in t.params)
    assert first.distributions["b"] is last.distributions["b"], "Optuna reads by itself: _get_trials is gone"
    for storage in (quick, plain):
        storage.engine.dispose()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_kept_answers_are_those_of_optuna_dashboard(tmp_path: Path) -> None:
    sweep = make_run(tmp_path)
    storage = QuickStorage(f"sqlite:///{sweep.files.study}")
    asked: list[str] = []
    plain = optuna_dashboard.wsgi(f"sqlite:///{sweep.files.study}")

    def analytic_metrics(environ: dict[str, Any], start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        return plain(environ, start_response)

    app = Answers(analytic_metrics, lambda study: (storage.get_n_trials(study), storage.get_study_system_attrs(study)))

    def ask(path: str, query: str = "", of: Any = app) -> Any:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "wsgi.input": io.BytesIO()}
        environ |= {"SERVER_NAME": "test", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO()}
        status: list[str] = []
        content = b"".join(of(environ, lambda line, headers, *_: status.append(line)))
        return status[0][:3], json.loads(content) if content.startswith(b"{") else len(content)

    app.warm(1)
    assert len(asked) == 2
    for path in ("/api/studies/1", "/api/studies/1/param_importances"):
        for query in ("", "after=0", "after=39", "after=100", "evaluator=ped_anova"):
            assert ask(path, query) == ask(path, query, plain)
    seen = [path for path in asked if path == "/api/studies/1"]
    assert len(seen) == 1, "the study was serialised again without a change"
    for path, query in (("/api/studies/9", ""), ("/api/meta", ""), ("/dashboard", "")):
        assert ask(path, query)[0] == ask(path, query, plain)[0]
    annotate_study(sweep)
    assert "The front" in ask("/api/studies/1", "after=40")[1]["note"]["body"]
    make_run(tmp_path, better=True)
    end = time.monotonic() + 20  # Optuna Dashboard looks for trials every other second
    while not (new := ask("/api/studies/1", "after=40")[1]["trials"]) and time.monotonic() < end:
        time.sleep(0.2)
    assert [trial["number"] for trial in new] == [40]
    storage.engine.dispose()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_lean_answers_lack_nothing_but_distributions_of_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = optuna_dashboard._inmemory_cache._CachedExtraStudyProperty
    for owner, name in (
        (optuna_dashboard._serializer, "serialize_frozen_trial"),
        (optuna_dashboard._serializer, "serialize_distribution"),
        (cache, "_update_search_space"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # to have it back afterwards
    sweep = make_run(tmp_path)
    sweep.files.report.write_text("the report")
    annotate_study(sweep)
    plain_text = get(sweep, "/api/studies/1")
    make_lean()
    make_lean()
    lean_text = get(sweep, "/api/studies/1")
    plain, lean = json.loads(plain_text), json.loads(lean_text)
    for study in (plain, lean):
        for space in (study["intersection_search_space"], study["union_search_space"]):
            for axis in space:  # choices of a union come in any order
                axis["distribution"]["choices"].sort(key=str)
    for trial in plain["trials"] + plain["best_trials"]:
        for parameter in trial["params"]:
            del parameter["distribution"]
    assert lean == plain
    assert any(trial["note"]["body"] and trial["artifacts"] for trial in lean["trials"])
    assert len(lean_text) < 0.7 * len(plain_text)


def test_the_dashboard_is_imported_without_forests_which_stay_at_hand() -> None:
    code = (
        "import sys\n"
        "from ffnet_search.report.lean import without_forests\n"
        "with without_forests():\n"
        "    import optuna_dashboard\n"
        "assert 'sklearn' not in sys.modules and 'optuna.importance' not in sys.modules\n"
        "from optuna.importance import FanovaImportanceEvaluator\n"
        "FanovaImportanceEvaluator()\n"
        "assert 'sklearn' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_union_of_spaces_grows_with_each_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = optuna_dashboard._inmemory_cache._CachedExtraStudyProperty
    spaces = [{"a": IntDistribution(1, 3)}, {"b": IntDistribution(0, 1)}, {"a": IntDistribution(2, 9)}]
    trials = [
        create_trial(value=0.0, params={name: 2 if name == "a" else 1 for name in space}, distributions=space)
        for space in [spaces[0], *spaces, spaces[1], spaces[0]]
    ]
    monkeypatch.setattr(cache, "_update_search_space", cache._update_search_space)
    plain = cache()
    plain.update(trials)
    cache._update_search_space = _of_new_spaces(cache._update_search_space)
    lean = cache()
    lean.update(trials)
    assert lean.union_search_space == plain.union_search_space == [("a", IntDistribution(1, 9)), ("b", spaces[1]["b"])]
    assert lean.intersection_search_space == plain.intersection_search_space == []


def test_answers_are_compressed_for_who_takes_it() -> None:
    body = b'{"trials": [], "best_trials": []}'

    def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def ask(**accepted: str) -> tuple[dict[str, str], bytes]:
        told: dict[str, str] = {}
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies/1", **accepted}
        return told, b"".join(
            Answers(plain, lambda study: (0, None))(environ, lambda line, headers: told.update(headers))
        )

    headers, content = ask(HTTP_ACCEPT_ENCODING="gzip, deflate, br")
    assert headers["Content-Encoding"] == "gzip" and gzip.decompress(content) == body
    assert int(headers["Content-Length"]) == len(content)
    headers, content = ask()
    assert "Content-Encoding" not in headers and content == body


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    import socket

    sweep = make_run(tmp_path, trials=3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SweepError, match=f"cannot listen on 127.0.0.1:{port} .*choose another with --port"):
            serve(sweep.files.study, sweep.files.artifacts, "127.0.0.1", port, lambda address: None)


def test_a_run_is_found_by_its_folder_wherever_it_is(tmp_path: Path) -> None:
    sweep = make_run(tmp_path, trials=3)
    from ffnet_search.run.folder import open_run

    with pytest.raises(SweepError, match="must be a sweep file or the folder of a run, but holds no sweep.yaml"):
        Sweep.of_run(sweep.files.folder)
    sweep.files.study.rename(tmp_path / "elsewhere.db")
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
    moved = sweep.files.folder.rename(tmp_path / "moved")
    assert Sweep.of_run(moved).files.study == tmp_path / "moved" / "study.db"
    assert Sweep.of_run(sweep.path).files.folder == sweep.files.folder
