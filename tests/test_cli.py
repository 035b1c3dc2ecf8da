"""The command line as users meet it: help, user errors in one line, exit codes. Every call is a real process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from command_line import ROOT, call, user_error
from patience import PATIENCE_S

from ffnet_search.cli.app import app
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

WITH_SWEEP = ["check", "fidelity", "profile", "run", "search", "submit", "train"]
OTHERS = ["compare", "dashboard", "export", "init", "list", "pick", "rerun", "schema", "show"]
VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
DIGITS = ROOT / "sweeps" / "digits.yaml"
SPACE = {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": [1, 2], "width": [16, 32]}]}


def write_sweep(folder: Path, **changed: Any) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({"search_space": SPACE, "runs": str(folder / "runs"), **changed}))
    return file


def test_the_verbs() -> None:
    assert " ".join(VERBS) == " ".join(sorted(WITH_SWEEP + OTHERS))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    done = call(verb, "--help")
    assert done.returncode == 0
    described = re.sub(r"\s+", " ", done.stdout)
    assert f"ffnet-search {verb}" in described
    assert ("SWEEP" in described) == (verb in WITH_SWEEP)
    for option in re.findall(r"--[a-z][a-z-]*", described):
        assert re.search(rf"{option}\s+\S+\s+\S+", described), f"{option} has no help"
    assert "<bool>" not in described, "as if a flag took a value"
    assert "[[" not in described


def test_help_lists_all_verbs() -> None:
    done = call("--help")
    assert done.returncode == 0
    assert all(re.search(rf"\b{verb}\b +\w+", done.stdout) for verb in VERBS)


def test_no_verb_shows_help() -> None:
    assert "Usage" in call().stdout + call().stderr


def test_check_says_what_would_be_run() -> None:
    done = call("check", DIGITS, "--trials", 7, "--name", "never-run")
    assert done.returncode == 0, done.stderr
    size = SearchSpace.from_yaml(ROOT / "search_spaces" / "ffnet_digits.yaml").size
    assert f"{size:,} architectures" in done.stdout
    assert "7 trials of ParetoSampler" in done.stdout
    assert done.stdout.count("pending") == 4
    assert not (ROOT / "runs" / "never-run").exists()


def test_user_errors_are_one_line(tmp_path: Path) -> None:
    assert "no-such.yaml: no such file" in user_error("check", "no-such.yaml")
    begin = "`ffnet-search init --data FOLDER` creates one for an image folder"
    assert f"no-such.yaml: no such file; {begin}" in user_error("run", "no-such.yaml")
    assert f"Missing argument 'SWEEP': run needs a sweep file; {begin}" in user_error("run")
    assert "Missing argument 'RUN'; see `ffnet-search pick --help`" in user_error("pick")
    assert "No such command 'bogus'; see `ffnet-search --help`" in user_error("bogus", DIGITS)
    assert "Did you mean 'train'?\n" in user_error("trian", DIGITS)
    assert "no-run: must be the folder of a run, or a sweep file, but does not exist" in user_error(
        "dashboard", "no-run"
    )
    assert "did you mean 'seed'?" in user_error("check", write_sweep(tmp_path, sead=1))
    assert "but got 'digit'; did you mean 'digits'?" in user_error(
        "check", write_sweep(tmp_path, data={"name": "digit"})
    )
    impossible = write_sweep(tmp_path, search={"constraints": {"params_m": 0.0001}})
    assert "search.constraints.params_m must be >= 0.0" in user_error("check", impossible)
    assert "search needs profile, which is not done" in user_error("search", write_sweep(tmp_path))
    assert "command line: search.trials must be > 0, but got 0" in user_error("run", DIGITS, "--trials", 0)
    assert "command line: name" in user_error("run", DIGITS, "--name", "a/b")
    assert "command line: seed must be >= 0, but got -1" in user_error("run", DIGITS, "--seed", -1)


def test_a_folder_in_place_of_a_sweep_is_told_what_to_do(tmp_path: Path) -> None:
    assert f"but holds no sweep.yaml; for images, `ffnet-search init --data {tmp_path}` writes one" in user_error(
        "run", tmp_path
    )
    named = write_sweep(tmp_path, search_space=str(tmp_path))
    assert f"but is a folder; for images, `ffnet-search init --data {tmp_path}` writes one" in user_error(
        "check", named
    )
    (tmp_path / "sweep.yaml").write_text("")
    assert f"its sweep is {tmp_path / 'sweep.yaml'}" in user_error("check", named)


def test_a_sweep_and_its_search_space_are_not_interchanged(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    sweep = write_sweep(tmp_path, search_space="space.yaml")
    for verb in ("check", "run"):
        assert "must be a sweep, but is a search space; a sweep names it" in user_error(verb, tmp_path / "space.yaml")
    other = sweep.with_name("other.yaml")
    other.write_text(yaml.safe_dump({"search_space": sweep.name}))
    assert f"{sweep}: must be a search space, but is a sweep; change search_space in" in user_error("check", other)


def test_a_foreign_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "thesis.tex").write_text("dear")
    for verb in ("run", "train", "profile", "search", "export"):
        assert "holds thesis.tex" in user_error(verb, write_sweep(tmp_path))


def test_unknown_verbs_and_options_are_usage_errors() -> None:
    for words in (["trian", DIGITS], ["train"], ["train", DIGITS, "--epocs", 3], ["run", DIGITS, "--seed", "x"]):
        assert any(hint in user_error(*words) for hint in ("--help`", "init --data", "Did you mean"))


def test_a_bug_shows_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ZeroDivisionError('a bug')")
    sweep = write_sweep(tmp_path, data={"name": "broken:Module"})
    command = "import ffnet_search.config.sweep as s\ndel s.Sweep.from_yaml\nimport ffnet_search.cli.app as c\nc.main()"
    done = subprocess.run([sys.executable, "-c", command, "check", str(sweep)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "AttributeError" in done.stderr


def test_show_prints_what_it_is_given(tmp_path: Path) -> None:
    arch = Architecture.preset("ffnet_2")
    file = tmp_path / "arch.yaml"
    file.write_text(yaml.safe_dump(arch.to_dict()))
    for what in ("ffnet_2", file):
        shown = call("show", what).stdout
        assert arch.key in shown
        assert "6003" in shown.replace(",", "")  # millions of MACs, as published
        assert "token_mixer ffn_attention 352x16x16 k7" in shown
    space = call("show", ROOT / "search_spaces" / "ffnet_imagenet.yaml").stdout
    assert all(f"ffnet_{number}" in space for number in (1, 2, 3))
    sweep = call("show", write_sweep(tmp_path)).stdout
    assert "search space: " in sweep and sweep.count("pending") == 4  # written in the sweep, it has no name


def test_show_says_what_it_cannot_print(tmp_path: Path) -> None:
    assert "but there is none; did you mean 'ffnet_" in user_error("show", "fnet_2")
    (tmp_path / "my-run").mkdir()
    assert f"did you mean '{tmp_path / 'my-run'}'?" in user_error("show", tmp_path / "my-rum")
    assert user_error("show", tmp_path / "9").endswith("but there is none\n")  # shipped sweeps are no paths
    assert user_error("pick", tmp_path / "9", "--latency-ms", 1).endswith(f"not exist; {tmp_path} holds no run\n")
    assert "holds no run.json; `ffnet-search run SWEEP` makes one" in user_error("show", tmp_path / "my-run")
    assert "must be the folder of a run, but holds no run.json" in user_error("show", tmp_path)
    (tmp_path / "run.json").write_text('{"format": 2, "stages": {}}')
    assert "has no front yet; make it with" in user_error("show", tmp_path)
    (tmp_path / "table.json").write_text("{}")
    assert "must be a latency table" in user_error("show", tmp_path / "table.json")
    (tmp_path / "arch.yaml").write_text("stages: [{width: 8, blocks: []}]")
    assert "arch.yaml: must hold what Architecture.to_dict writes, but has" in user_error(
        "show", tmp_path / "arch.yaml"
    )
    (tmp_path / "other.yaml").write_text("a: 1")
    assert "a is not a known key" in user_error("show", tmp_path / "other.yaml")


def test_json_is_one_document_with_what_the_tables_say(tmp_path: Path) -> None:
    def document(*words: object) -> Any:
        done = call(*words, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    space = document("show", ROOT / "search_spaces" / "ffnet_digits.yaml")
    assert space["size"] == SearchSpace.from_yaml(ROOT / "search_spaces" / "ffnet_digits.yaml").size
    assert space["input"] == {"channels": 1, "resolution": 8, "classes": 10}
    arch = Architecture.from_dict(space["networks"]["largest"]["architecture"])
    assert (arch.key, arch.macs_m) == (space["networks"]["largest"]["key"], space["networks"]["largest"]["macs_m"])
    assert document("show", "ffnet_2")["key"] == Architecture.preset("ffnet_2").key
    assert document("init")["sweep"] == "sweeps/digits.yaml"
    plan = document("check", "sweeps/digits.yaml", "--trials", 7)
    assert plan["stages"] == {
        key: {"state": "pending", "changes": []} for key in ("profile", "train", "search", "export")
    }
    assert plan["trials"] == 7
    assert plan["cost"]["networks"] == 7
    shown = document("show", "sweeps/digits.yaml")
    assert {*plan["notes"]} - {*shown["notes"]} == {"consider search: {evaluator: train, early_stopping: {rule: asha}}"}
    assert plan == {**shown, "trials": 7, "cost": plan["cost"], "notes": plan["notes"]}


def test_a_user_error_is_a_document_too(tmp_path: Path) -> None:
    for words, sentence in (
        (["check", "no-such.yaml"], "no-such.yaml: no such file"),
        (["train", "x.yaml", "--epocs", "3"], "No such option: --epocs"),
        (["train"], "Missing argument"),
        (["pick", "nowhere", "--latency-ms", "1"], "must be the folder of a run"),
    ):
        done = call(*words, "--json", cwd=tmp_path)
        told = json.loads(done.stdout)
        assert done.returncode == told["exit_code"] == 2
        assert sentence in told["error"] and sentence in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "number", "code"),
    [("importing", signal.SIGINT, 130), ("training", signal.SIGINT, 130), ("training", signal.SIGTERM, 143)],
)
def test_the_end_by_a_signal_says_how_to_resume(tmp_path: Path, state: str, number: int, code: int) -> None:
    sweep = write_sweep(tmp_path, train={"epochs": 5000})
    command = [sys.executable, "-m", "ffnet_search", "train", str(sweep), "--name", "stopped", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("train ("):
        assert process.poll() is None
    folder = tmp_path / "runs" / "stopped"
    while state == "training" and not list(folder.glob("training/logs/**/metrics.csv")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    document, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert f"results so far are kept in {folder}; to resume: ffnet-search train {sweep} --name stopped" in errors
    message = errors.strip().splitlines()[-1].removeprefix("ffnet-search: ")
    assert json.loads(document) == {"error": message, "exit_code": code}


def test_a_stop_before_the_first_stage_is_silent() -> None:
    code = (
        "import signal\nimport ffnet_search.config.sweep as s\nimport ffnet_search.cli.app as c\n"
        "s.Sweep.from_yaml = lambda path: signal.raise_signal(signal.SIGINT)\nc.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "check", str(DIGITS)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
