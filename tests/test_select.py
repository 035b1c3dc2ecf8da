"""The best network for each of several devices is selected from a study, without running anything."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from command_line import user_error
from searched_runs import DIGITS, score, searched, table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Report
from ffnet_search.export.answer import Offer
from ffnet_search.latency.table import LatencyTable
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run import search_advice, select
from ffnet_search.run.folder.run_folder import RunFolder
from ffnet_search.run.pipeline import profile_named_device
from ffnet_search.run.select import select_network
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.hyperparameters import Configuration


def table_path(sweep: Sweep, device: str) -> Path:
    return sweep.files.latency_table(sweep.device(device))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    latency = [{"name": "laptop"}, {"name": "phone", "batch_size": 4}, {"name": "board"}]
    sweep = searched(tmp_path_factory.mktemp("pick"), score, latency=latency, search={"trials": 60})
    table_of(sweep.search_space, 0.0, 10.0, batch_size=4).save(table_path(sweep, "phone"))
    return sweep


def test_each_device_has_its_own_table_and_the_search_reads_the_first(sweep: Sweep) -> None:
    assert sweep.latency_path.name == "laptop.json"
    assert table_path(sweep, "phone").name == "phone.json"
    assert sweep.device("phone").batch_size == 4
    again = Sweep.from_yaml(sweep.files.sweep)
    assert again.latency == sweep.latency
    assert again.digest == sweep.digest


@pytest.mark.parametrize("device", [None, "laptop", "phone"])
def test_the_best_network_that_fits_the_device_is_selected(sweep: Sweep, device: str | None) -> None:
    table = LatencyTable.load(table_path(sweep, device or "laptop"))
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    times = sorted(table.predict_ms(candidate.architecture) for candidate in candidates)
    for limit in (times[0], times[len(times) // 2], times[-1]):
        choice = select_network(sweep.files.folder, limit, device)
        fitting = [c for c in candidates if table.predict_ms(c.architecture) <= limit]
        assert choice.latency_ms == table.predict_ms(choice.candidate.architecture) <= limit
        assert choice.candidate.metrics["accuracy"] == max(c.metrics["accuracy"] for c in fitting)


def test_other_devices_get_other_networks(sweep: Sweep) -> None:
    keys = {
        device: {select_network(sweep.files.folder, limit, device).candidate.key for limit in (0.4, 0.8, 1.6)}
        for device in ("laptop", "phone")
    }
    assert keys["laptop"] != keys["phone"]


def test_a_study_without_good_networks_gets_the_advice_to_search_on(sweep: Sweep) -> None:
    """The study was made for the laptop: many a network that is quick on the phone was never evaluated."""
    limits = [0.3 + 0.1 * step for step in range(20)]
    told = [choice.advice for limit in limits if (choice := select_network(sweep.files.folder, limit, "phone")).advice]
    assert told and all("never evaluated" in advice and "search.trials" in advice for advice in told)


def test_advice_for_a_retrained_network_names_what_the_prediction_is_compared_with(sweep: Sweep) -> None:
    table, candidates = LatencyTable.load(sweep.latency_path), read_candidates(sweep.files.study, sweep.search_space)
    best = Offer("0123abcd", 0.99, 0.0, 0.1, None)
    advice = search_advice.advice_of(sweep, table, "laptop", best, candidates, 2.0)
    assert "as the search compares networks, by which 0123abcd has 0.00 %, in" in advice
    plain = search_advice.advice_of(sweep, table, "laptop", replace(best, quality=0.0), candidates, 2.0)
    assert plain and "as the search compares" not in plain


@pytest.mark.parametrize(("enough", "advises"), [(60, True), (61, False)])
def test_advice_needs_enough_candidates(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, enough: int, advises: bool
) -> None:
    monkeypatch.setattr(search_advice, "MIN_CANDIDATES", enough)  # of 60 candidates
    limits = [0.3 + 0.1 * step for step in range(20)]
    assert any(select_network(sweep.files.folder, limit, "phone").advice for limit in limits) == advises


@pytest.mark.parametrize(("within_10", "warns"), [(0.5, True), (0.899, True), (0.9, False)])
def test_a_table_that_is_far_off_is_warned_about(sweep: Sweep, within_10: float, warns: bool) -> None:
    """The search refuses such a table; a selection by it is a guess."""
    rough = LatencyTable.load(table_path(sweep, "phone"))
    rough = rough.model_copy(update={"error": rough.error.model_copy(update={"within_10": within_10})})
    rough.save(sweep.files.latency / "board.json")
    warning = select_network(sweep.files.folder, 1e3, "board").warning
    assert bool(warning) == warns
    assert not warns or "of the held-out networks of the table of board are within 10 %" in warning
    (sweep.files.latency / "board.json").unlink()


def test_each_device_is_warned_about_by_its_own_limit(sweep: Sweep) -> None:
    table = LatencyTable.load(table_path(sweep, "phone"))
    table = table.model_copy(update={"error": table.error.model_copy(update={"within_10": 0.7})})
    first, *others = sweep.latency
    lenient = [section.model_copy(update={"min_within_10": 0.5}) for section in others]
    devices = sweep.model_copy(update={"latency": (first, *lenient)})
    assert select.warning_of(devices, "phone", table) == ""
    assert "latency.min_within_10 is 0.9" in select.warning_of(devices, "laptop", table)


def test_a_quality_that_is_minimised_is_selected_by_its_minimum(tmp_path: Path) -> None:
    def error_of(configuration: Configuration, report: Report) -> Candidate:
        assert configuration.architecture is not None
        return Candidate(configuration.architecture, {"mae": 1 / configuration.architecture.macs_m})

    space = yaml.safe_load(DIGITS.read_text())
    space["input"]["numbers"] = space["input"].pop("classes")
    sweep = searched(tmp_path, error_of, task="user_task:Regression", search_space=space, search={"trials": 25})
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    with pytest.raises(SweepError, match="--accuracy is of runs .* ranks by error; give --quality"):
        select_network(sweep.files.folder, quality=0.1, of="accuracy")
    selection = select_network(sweep.files.folder, 1e3)
    assert selection.candidate.metrics["mae"] == min(candidate.metrics["mae"] for candidate in candidates)
    assert " mm in " in selection.advice or not selection.advice


def test_a_limit_that_no_candidate_meets_is_refused_with_the_fastest(sweep: Sweep) -> None:
    with pytest.raises(SweepError, match=r"of 60 candidates the fastest takes \S+ ms .* space reaches \S+ ms"):
        select_network(sweep.files.folder, 1e-6)
    with pytest.raises(SweepError, match="ask for more, or give it smaller choices$"):  # the space does not reach it
        select_network(sweep.files.folder, 1e-6)
    message = r"candidates whose accuracy is ≥ 10.00 % the fastest takes \S+ ms"
    with pytest.raises(SweepError, match=message):
        select_network(sweep.files.folder, 1e-6, quality=0.1)


def test_a_limit_of_any_quality_is_one_that_a_network_can_have(sweep: Sweep) -> None:
    folder, best = sweep.files.folder, select_network(sweep.files.folder, 1e3).offer.quality
    assert select_network(folder, quality=best, of="accuracy").offer.quality == best
    for value, words in (
        (70, "accuracy is from 0 to 1, but 70 was asked for; 70 % is 0.7$"),
        (200, "200 was asked for$"),
    ):
        with pytest.raises(SweepError, match=words):
            select_network(folder, quality=value)
    with pytest.raises(
        SweepError, match="--miou is of runs that rank by it, but this one ranks by accuracy; give --quality"
    ):
        select_network(folder, quality=0.5, of="miou")


def test_a_search_of_hyperparameters_alone_has_no_budget_to_select_by(tmp_path: Path) -> None:
    space = {"architecture": "ffnet_1", "hyperparameters": {"epochs": [1, 2]}}
    images = {"channels": 3, "resolution": 32, "classes": 10}
    search = {"evaluator": "train", "objectives": ["accuracy"]}
    content = {"search_space": {**space, "input": images}, "search": search, "runs": str(tmp_path)}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(content))
    sweep = Sweep.from_yaml(tmp_path / "one.yaml")
    sweep.files.folder.mkdir()
    RunFolder(sweep.files).write_sweep(sweep)
    with pytest.raises(SweepError, match=r"hyper-parameters alone; its networks are in \S+/one/pareto, best first"):
        select_network(sweep.files.folder, 1.0)


def test_a_device_without_a_table_is_refused_with_how_to_make_it(sweep: Sweep) -> None:
    with pytest.raises(
        SweepError,
        match=r"no table of 'phones'; did you mean 'phone'\?.*name it under latency in the sweep",
    ):
        select_network(sweep.files.folder, 1.0, "phones")
    for path, device in ((sweep.latency_path, None), (table_path(sweep, "phone"), "phone")):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(SweepError, match="make it with `ffnet-search profile") as refused:
            select_network(sweep.files.folder, 1.0, device)
        _, _, file, *option = shlex.split(str(refused.value).partition("make it with `")[2].rstrip("`"))
        assert Sweep.of_run(file).files.folder == sweep.files.folder and option in ([], ["--device", str(device)])
        assert not option or Sweep.of_run(file).device(option[1]).name == device
        path.write_bytes(content)
    with pytest.raises(SweepError, match="must be a sweep file or the folder of a run"):
        select_network(sweep.files.folder.parent, 1.0)
    with pytest.raises(SweepError, match="must be the folder of a run, or a sweep file, but does not exist"):
        select_network(sweep.files.folder.parent / "nothing", 1.0)
    with pytest.raises(SweepError, match="must have a device named 'phones'"):
        sweep.device("phones")


def test_a_sweep_file_stands_for_its_run(sweep: Sweep) -> None:
    assert select_network(sweep.files.sweep, 0.8).candidate == select_network(sweep.files.folder, 0.8).candidate


def test_a_sweep_that_never_ran_is_told_to_run_as_a_whole(tmp_path: Path) -> None:
    """By every verb that reads a run: its folder does not exist yet, so advice must name the file."""
    file = tmp_path / "never.yaml"
    file.write_text(yaml.safe_dump({"search_space": str(DIGITS), "runs": str(tmp_path / "runs")}))
    reads = (["pick", file, "--latency-ms", 1], ["export", file, "--table"], ["export", file, "--format", "onnx"])
    for words in (*reads, ["compare", file, file.with_name("other.yaml")]):
        file.with_name("other.yaml").write_text(file.read_text())
        assert f"`ffnet-search run {file}`" in user_error(*words)
    for words in (["rerun", file, 0], ["dashboard", file]):
        assert f"no such study; run `ffnet-search run {file}` first" in user_error(*words)
    assert not list((tmp_path / "runs").glob("*/latency"))


def test_an_existing_table_is_not_measured_again(sweep: Sweep) -> None:
    before = table_path(sweep, "phone").read_bytes()
    assert profile_named_device(sweep, "phone").read_bytes() == before


@pytest.mark.parametrize("names", [["a", "a"], ["a", None]])
def test_several_devices_need_different_names(names: list[str | None], tmp_path: Path) -> None:
    latency = [{"name": name} if name else {} for name in names]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"search_space": str(DIGITS), "latency": latency}))
    with pytest.raises(SweepError, match="latency: several devices must have different names"):
        Sweep.from_yaml(tmp_path / "s.yaml")


def test_the_command_prints_the_selected_network(sweep: Sweep) -> None:
    words = ["pick", str(sweep.files.folder), "--device", "phone", "--latency-ms", "0.8"]
    done = subprocess.run([sys.executable, "-m", "ffnet_search", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert select_network(sweep.files.folder, 0.8, "phone").candidate.key in done.stdout
    assert "ms on phone" in done.stdout
