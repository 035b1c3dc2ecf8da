"""Runs at a glance: `list`, `compare`, `schema`, `--version`, completion, shipped sweeps by name, `check` resolved."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_line import call, user_error
from patience import PATIENCE_S
from searched_runs import score, searched
from written_runs import two_networks, written_run

import ffnet_search
from ffnet_search.config.files import shipped_sweeps
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Report
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run.run_comparison import compare_runs
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.hyperparameters import Configuration

ROOT = Path(__file__).parents[1]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    written_run(tmp_path / "runs" / "first")
    written_run(tmp_path / "runs" / "second", faster=2.0, train={"epochs": 60})
    return tmp_path / "runs" / "first", tmp_path / "runs" / "second"


def test_the_version() -> None:
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, f"ffnet-search {version('ffnet-search')}\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_completes_in_a_shell_once_it_is_installed(tmp_path: Path) -> None:
    """In a home of its own: a later shell reads what the command has put into `.bashrc`."""
    program = Path(sys.executable).parent / "ffnet-search"
    home = {**os.environ, "HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def bash(script: str) -> str:
        done = subprocess.run(["bash", "-c", script], env=home, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    bash("ffnet-search --install-completion bash || ffnet-search --install-completion")
    completed = (
        "shopt -s expand_aliases; . ~/.bashrc; set -- $(complete -p ffnet-search); "
        'while [ "$1" != -F ]; do shift; done; '
        'COMP_WORDS=(ffnet-search {}); COMP_CWORD={}; "$2" ffnet-search; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    assert bash(completed.format("co", 1)).split() == ["compare"]
    assert {"--latency-ms", "--device"} <= set(bash(completed.format("pick --", 2)).split())


def test_the_candidates_of_a_run_are_a_table(tmp_path: Path) -> None:
    sweep = searched(tmp_path, score, search={"trials": 12})
    table = ffnet_search.leaderboard(sweep.files.folder)
    candidates = {one.key: one for one in read_candidates(sweep.files.study, sweep.search_space)}
    assert len(table) == len(candidates) == 12 and set(table["key"]) == set(candidates)
    assert table["accuracy"].is_monotonic_decreasing and "folder" not in table
    for row in table.to_dict("records"):
        assert row["accuracy"] == candidates[row["key"]].metrics["accuracy"]
        quicker = table[table["latency_ms"] <= row["latency_ms"]]
        assert row["on_front"] == (row["accuracy"] == quicker["accuracy"].max())
    [best, *_] = table["key"]
    place = sweep.files.pareto / f"01-{best}"
    place.mkdir(parents=True)
    (place / "card.json").write_text(json.dumps({"key": best, "metrics": {"test_accuracy": 0.9, "measured_ms": 2.0}}))
    (place / "architecture.yaml").write_text(yaml.safe_dump(candidates[best].network.to_dict()))
    exported = ffnet_search.leaderboard(sweep.files.folder)
    assert list(exported["folder"][:1]) == [str(place)] and exported["folder"][1:].isna().all()
    assert (exported["test_accuracy"][0], exported["measured_ms"][0]) == (0.9, 2.0)


def test_of_equal_candidates_the_quicker_one_is_better(tmp_path: Path) -> None:
    def equal(configuration: Configuration, report: Report) -> Candidate:
        return replace(score(configuration, report), metrics={"accuracy": 0.9})

    sweep = searched(tmp_path, equal, search={"trials": 6})
    table = ffnet_search.leaderboard(sweep.files.folder)
    assert table["latency_ms"].is_monotonic_increasing and list(table["on_front"]) == [True] + 5 * [False]


def test_without_candidates_there_is_no_table_of_them(tmp_path: Path) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    with pytest.raises(SweepError, match="holds no sweep.yaml"):
        ffnet_search.leaderboard(tmp_path / "runs" / "tiny")


def test_runs_are_listed_with_state_best_and_size(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = call("list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if "runs/first" in line)
    assert "profile pending" in row and "63.02 ± 3.48 %" in row and " 1.23 " in row
    document = json.loads(call("list", "--json", cwd=tmp_path).stdout)
    assert {Path(run["folder"]).name for run in document["runs"]} == {"first", "second"}
    (run,) = (run for run in document["runs"] if run["folder"] == "runs/first")
    assert (run["networks"], run["candidates"], run["quality"], run["best"]) == (2, 1, "accuracy", 0.63021)
    assert run["size_mb"] > 0
    assert "must be a folder of runs, but does not exist; did you mean 'runs'?" in user_error(
        "list", "rns", cwd=tmp_path
    )
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    assert user_error("list", "elsewhere", cwd=tmp_path).endswith("does not exist; known: runs\n")
    assert "does not exist; `ffnet-search run SWEEP` makes one" in user_error("list", cwd=tmp_path / "photos")
    sweep = "runs/first/sweep.yaml"
    assert f"is a file; `ffnet-search show {sweep}` shows it" in user_error("list", sweep, cwd=tmp_path)


def test_a_run_in_progress_and_a_damaged_one_are_listed(two: tuple[Path, Path]) -> None:
    first, second = two
    (first / ".lock").write_text(f"{os.getpid()} on {socket.gethostname()}\n")
    (second / "sweep.yaml").write_text("a: 1")
    states = {run.name: run.state for run in ffnet_search.runs(first.parent)}
    assert states["first"] == "profile in progress"
    assert states["second"].startswith("cannot be read: ")


def test_runs_with_user_supplied_classes_are_listed_where_that_is_allowed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "support" / "my_blocks.py", tmp_path / "their_blocks.py")
    images = {"channels": 1, "resolution": 8, "classes": 10}
    stage = {"depth": [1, 2], "width": [16], "mixer": ["their_blocks:Blur"]}
    written_run(tmp_path / "runs" / "own", search_space={"stages": [stage], "input": images})
    assert "add --allow-imports" in call("list", cwd=tmp_path).stdout
    assert "profile pending" in call("list", "--allow-imports", cwd=tmp_path).stdout


def test_without_an_export_the_best_candidate_is_listed(two: tuple[Path, Path]) -> None:
    first, _ = two
    (first / "pareto").rename(first / "elsewhere")
    (run,) = (run for run in ffnet_search.runs(first.parent) if run.name == "first")
    assert (run.best, run.networks, run.measured_ms) == (0.5, 0, None)


def test_two_runs_are_compared_as_table_and_image(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = call("compare", *two, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "train.epochs" in done.stdout and " 60" in done.stdout
    marked = [line.split()[0] for line in done.stdout.splitlines() if re.match(r"[AB]\*? +\d", line)]
    # Of the two that are alike both are on the joint front; of the others the faster one.
    assert sorted(marked) == ["A", "A*", "B*", "B*"]
    assert "no test compares their best networks" in done.stdout
    assert (tmp_path / "compare-first-second.png").read_bytes().startswith(b"\x89PNG")
    found = compare_runs(*two)
    assert found.shares[1] > found.shares[0]
    document = json.loads(call("compare", *two, "--json", "--image", "x.png", cwd=tmp_path).stdout)
    assert [change["field"] for change in document["changes"]] == ["train.epochs"]
    assert (tmp_path / "x.png").exists() and document["best"] is None


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/me"])
def test_an_image_needs_no_home(two: tuple[Path, Path], tmp_path: Path, home: str) -> None:
    """Matplotlib's folder of the moment lay in the command's, whose end made its own clean-up a traceback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG"))}
    done = call("compare", *two, cwd=tmp_path, environment={**environment, "HOME": home})
    assert (tmp_path / "compare-first-second.png").exists()
    assert "Traceback" not in done.stderr and "Matplotlib" not in done.stderr, done.stderr


def test_the_best_networks_of_two_runs_are_tested(tmp_path: Path) -> None:
    two_networks(tmp_path / "first", (180, 20))
    two_networks(tmp_path / "second", (150, 20))
    best = compare_runs(tmp_path / "first", tmp_path / "second").best
    assert best is not None and best.tests[-1].is_significant
    assert best.verdict_of(("A", "B")).startswith("A is better by accuracy on test, 200 images (p =")


def test_a_password_is_not_among_the_settings_that_differ(tmp_path: Path) -> None:
    first = written_run(tmp_path / "first", search={"storage": "postgresql://me:hunter2@host/x"})
    second = written_run(tmp_path / "second", faster=2.0)
    (change,) = compare_runs(first, second).changes
    assert change.field == "search.storage" and "hunter2" not in str(change)


def test_what_cannot_be_compared_is_refused(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = two
    sweep = Sweep.of_run(first)
    with pytest.raises(SweepError, match="must be another run than .*first, but is the same"):
        compare_runs(first, first.parent / "." / first.name)
    monkeypatch.setattr(Sweep, "of_run", lambda where: sweep)  # as a sweep's file and the folder of its run
    with pytest.raises(SweepError, match="must be another run than .*first, but is the same"):
        compare_runs(first, first / "sweep.yaml")
    monkeypatch.undo()
    (second / "pareto").rename(second / "elsewhere")
    with pytest.raises(SweepError, match="second: has no front yet; make it with"):
        compare_runs(first, second)


def test_a_schema_is_printed() -> None:
    for kind in ("sweep", "space"):
        schema = json.loads(call("schema", kind).stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
    assert "did you mean 'sweep'?" in user_error("schema", "sweeps")


def test_shipped_sweeps_run_by_name_anywhere(tmp_path: Path) -> None:
    assert {"digits", "cifar", "cifar_cpu"} <= set(shipped_sweeps())
    checked = call("check", "digits", cwd=tmp_path)
    assert checked.returncode == 0 and "runs/digits" in checked.stdout
    assert call("check", "digits", "--name", "other", cwd=tmp_path).stdout.count("pending") == 4
    assert Sweep.of_run("digits").files.folder == Path("runs/digits")
    assert "did you mean 'digits'?" in user_error("run", "digit", cwd=tmp_path)
    missing = user_error("check", "segment", cwd=tmp_path)
    assert "data/cells" in missing and "../" not in missing  # its images are looked for here, not in the package
    (tmp_path / "digits").mkdir()
    assert "holds no sweep.yaml" in user_error("run", "digits", cwd=tmp_path)


@pytest.mark.parametrize("name", ["cifar", "digits_hpo"])
def test_a_shipped_sweep_is_written_to_be_edited(tmp_path: Path, name: str) -> None:
    done = call("init", "--example", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = tmp_path / "sweeps" / f"{name}.yaml"
    assert written.read_text() == (ROOT / "sweeps" / f"{name}.yaml").read_text()
    assert Sweep.from_yaml(written).name == name


def test_wrong_examples_are_refused(tmp_path: Path) -> None:
    assert "--example must be a shipped sweep, but got 'cifr'; did you mean 'cifar'?" in user_error(
        "init", "--example", "cifr", cwd=tmp_path
    )
    assert "--data must be left out" in user_error("init", "--example", "cifar", "--data", "x", cwd=tmp_path)
    assert "--latency-ms needs --data" in user_error("init", "--latency-ms", "5", cwd=tmp_path)
    assert "--minutes needs --data" in user_error("init", "--example", "cifar", "--minutes", "5", cwd=tmp_path)


def test_options_of_export_that_would_have_no_effect_are_refused(two: tuple[Path, Path]) -> None:
    assert "to export fewer networks, set export.top" in user_error("export", two[0], "--top", "1")
    assert "--license is of --push" in user_error("export", two[0], "--license", "mit")


def test_the_resolved_configuration_is_a_sweep_again(tmp_path: Path) -> None:
    done = call("check", "digits", "--seed", 3, "--resolved", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = yaml.safe_load(done.stdout)
    assert content["seed"] == 3 and content["train"]["learning_rate"] == 0.008
    (tmp_path / "again.yaml").write_text(done.stdout)
    again = Sweep.from_yaml(tmp_path / "again.yaml")
    assert again.model_dump() == Sweep.of_run("digits").override(seed=3).model_dump()
    assert json.loads(call("check", "digits", "--seed", 3, "--resolved", "--json", cwd=tmp_path).stdout) == content


def test_the_commands_advised_for_a_folder_of_runs_work(two: tuple[Path, Path]) -> None:
    said = user_error("show", str(two[0].parent), cwd=two[0].parent)
    advised = re.findall(r"ffnet-search (list .+?)(?:`|$)", said, re.M)
    assert advised, said
    for command in advised:
        done = call(*shlex.split(command), cwd=two[0].parent)
        assert done.returncode == 0 and "first" in done.stdout, command
