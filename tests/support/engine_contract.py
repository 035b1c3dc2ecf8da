"""The contract of engines: `class TestMine(EngineContract)`, with fixtures `run` and `engine`, the engine's name."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from searches import CHEAP, DIGITS, IMAGENET, TINY, Impatient, Run, architecture_of

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.pareto.front import pareto_front
from ffnet_search.search.early_stopping.asha import SuccessiveHalving
from ffnet_search.search.history import read_history
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.registry import known_metrics

ROOT = Path(__file__).parents[2]
SCRIPT = """
import signal
import sys
from functools import partial
from pathlib import Path
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.engines.registry import find_engine
from ffnet_search.search.problem import SearchProblem
from searches import CHEAP, DIGITS, Accuracy, same, search

folder, engine = Path(sys.argv[1]), sys.argv[2]
hold = int(sys.argv[5]) if sys.argv[5] else None
evaluate = Accuracy(folder / "log", sleep_s=float(sys.argv[4]), hold=hold)
if death := sys.argv[6]:
    evaluate.broken = {DIGITS.smallest.key: getattr(signal, death, death)}
section = SearchSection(engine=engine, trials=int(sys.argv[3]), constraints={"latency_ms": 0.03})
resumable = bool(death) and find_engine(section).evaluates_here
search(SearchProblem(DIGITS, section, CHEAP), partial(same, evaluate), folder, resumable=resumable)
"""
# Evaluations at once, at most, with two workers.
PENDING = {"local": 1, "own_engine:ThreadEngine": 2, "ray": 2 * 2 * 16, "tune": 2 + 2}


def started(
    run: Run, engine: str, trials: int, hold: int | str = "", death: str = "", sleep_s: float = 0.01
) -> subprocess.Popen[bytes]:
    """A search in a process of its own, which waits after `hold` evaluations, if any; the smallest network dies a
    `death`, if any."""
    paths = (ROOT, ROOT / "tests", ROOT / "tests" / "support")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    arguments = [sys.executable, "-c", SCRIPT, str(run.folder), engine, str(trials), str(sleep_s), str(hold), death]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.PIPE)


class EngineContract:
    """The tests that every engine passes."""

    def test_each_architecture_is_evaluated_once_and_all_are_kept(self, run: Run, engine: str) -> None:
        candidates = run.search(engine=engine, trials=60)
        keys = [candidate.key for candidate in candidates]
        assert len(set(keys)) == 60
        assert sorted(run.evaluated) == sorted(keys)
        stored = run.on_disk.trials
        assert {trial.state for trial in stored} == {TrialState.COMPLETE}
        assert [TrialRecord.from_trial(trial).candidate(DIGITS) for trial in stored] == candidates
        assert [trial.number for trial in stored] == list(range(60))
        for trial, candidate in zip(stored, candidates, strict=True):
            assert trial.values == [candidate.metrics["accuracy"], candidate.metrics["latency_ms"]]
            assert trial.user_attrs["key"] == architecture_of(trial).key

    def test_a_trial_that_hangs_is_ended_and_failed(self, run: Run, engine: str) -> None:
        run.broken = {DIGITS.smallest.key: "hang"}
        run.search(engine=engine, trials=6, trial_minutes=0.03)
        (failed,) = run.trials(TrialState.FAIL)
        assert failed.user_attrs["key"] == DIGITS.smallest.key
        assert "search.trial_minutes (0.03)" in failed.user_attrs["reason"]
        assert len(run.trials(TrialState.COMPLETE)) == 5

    def test_a_search_whose_time_is_over_ends_in_good_order_and_continues(self, run: Run, engine: str) -> None:
        minutes, waits_for_nothing = (0.5, True) if engine in ("ray", "tune") else (0.01, False)
        run.broken = {DIGITS.smallest.key: "hang"} if waits_for_nothing else {}
        found = run.search(engine=engine, trials=1_000_000, minutes=minutes)
        assert 1 <= len(found) < 1_000_000
        run.broken = {}
        again = run.search(engine=engine, trials=len(found) + 5)
        assert len(again) == len(found) + 5
        keys = [candidate.key for candidate in again]
        assert len(set(keys)) == len(keys) and set(keys) <= set(run.evaluated)

    def test_beyond_a_limit_nothing_is_evaluated_but_all_is_told(self, run: Run, engine: str) -> None:
        limits = {"latency_ms": 0.03, "params_m": 0.3}
        candidates = run.search(engine=engine, trials=40, constraints=limits)
        assert len(candidates) == 40
        assert all(c.metrics[name] <= limit for c in candidates for name, limit in limits.items())
        infeasible = run.trials(TrialState.PRUNED)
        assert DIGITS.largest.key in {trial.user_attrs["key"] for trial in infeasible}
        assert not {trial.user_attrs["key"] for trial in infeasible} & set(run.evaluated)
        for trial in run.on_disk.trials:
            metrics = CHEAP(architecture_of(trial))
            assert trial.constraints == pytest.approx({n: metrics[n] / limit - 1 for n, limit in limits.items()})
            assert (trial.state == TrialState.PRUNED) == any(value > 0 for value in trial.constraints.values())

    def test_optuna_and_its_dashboard_see_the_front_that_we_see(self, run: Run, engine: str) -> None:
        candidates = run.search(engine=engine, trials=40, constraints={"latency_ms": 0.03})
        front = {c.key for c in pareto_front(candidates, {"accuracy": "maximize", "latency_ms": "minimize"})}
        assert {trial.user_attrs["key"] for trial in run.on_disk.best_trials} == front
        # optuna-dashboard 0.21 plots what has values, and takes for feasible what has no old list of violations > 0.
        plotted = [trial for trial in run.on_disk.trials if trial.values]
        assert len(plotted) == 40
        assert all(max(trial.constraints.values()) <= 0 for trial in plotted)
        assert not any("constraints" in trial.system_attrs for trial in run.on_disk.trials)
        assert run.on_disk.metric_names == ["accuracy", "latency_ms"]

    def test_ends_and_presets_come_first(self, tmp_path: Path, engine: str) -> None:
        run = Run(tmp_path, space=IMAGENET)
        run.search(engine=engine, trials=8, constraints={"latency_ms": 70.0})
        origins = {trial.user_attrs["origin"]: trial for trial in run.on_disk.trials}
        assert {"smallest", "largest", "ffnet_1", "ffnet_2", "ffnet_3"} < origins.keys()
        if engine == "local":  # the others write in the order in which they end
            assert list(origins)[:5] == ["smallest", "largest", "ffnet_1", "ffnet_2", "ffnet_3"]
        assert origins["smallest"].state == origins["ffnet_1"].state == TrialState.COMPLETE
        assert origins["largest"].state == origins["ffnet_3"].state == TrialState.PRUNED

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (float("nan"), "accuracy is nan"),
            (1e300, "accuracy is 1e+300"),
            (float("inf"), "accuracy is inf"),
            (None, "accuracy is missing"),
            (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        ],
    )
    def test_a_failure_is_stored_with_its_reason_and_the_search_continues(
        self, run: Run, engine: str, value: object, reason: str
    ) -> None:
        run.broken = {DIGITS.smallest.key: value}
        candidates = run.search(engine=engine, trials=10)
        assert len(candidates) == 9
        (failed,) = run.trials(TrialState.FAIL)
        assert failed.user_attrs["key"] == DIGITS.smallest.key
        assert failed.user_attrs["reason"] == reason
        assert ("memory" in failed.user_attrs.get("traceback", "")) == isinstance(value, Exception)
        run.broken = {}
        assert len(run.search(engine=engine, trials=10)) == 10  # the next run tries it again
        assert run.evaluated.count(DIGITS.smallest.key) == 2
        assert len(run.trials(TrialState.FAIL)) == 1

    def test_many_failures_in_a_row_stop_the_search_and_lose_nothing(self, run: Run, engine: str) -> None:
        run.search(engine=engine, trials=5)
        run.broken = {"": OSError("no such device")}
        with pytest.raises(SweepError, match=r"10 evaluations in a row failed.*OSError: no such device"):
            run.search(engine=engine, trials=50)
        assert 15 <= len(run.evaluated) < 15 + PENDING[engine]
        run.broken = {}
        assert len(run.search(engine=engine, trials=20)) == 20

    def test_a_search_in_which_all_failed_says_so(self, run: Run, engine: str) -> None:
        run.broken = {"": ValueError("wrong shape")}
        with pytest.raises(SweepError, match="all 3 .* failed, the first with: ValueError: wrong shape; correct the"):
            run.search(engine=engine, trials=3)

    def test_a_user_error_in_an_evaluation_ends_the_search(self, run: Run, engine: str) -> None:
        run.broken = {"": SweepError("supernet.ckpt: is damaged")}
        with pytest.raises(SweepError, match=r"^supernet.ckpt: is damaged$"):
            run.search(engine=engine)

    def test_a_small_space_is_exhausted_and_then_it_ends(
        self, tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = Run(tmp_path, space=TINY)
        candidates = run.search(engine=engine, trials=100)
        assert len({c.key for c in candidates}) == len(run.evaluated) == TINY.size == 12
        assert "all 12 architectures of the space are known, so it ends with 12 of 100" in capsys.readouterr().err
        assert len(run.search(engine=engine, trials=100)) == 12
        assert len(run.evaluated) == 12

    def test_more_trials_resume_the_study(self, run: Run, engine: str) -> None:
        first = run.search(engine=engine, trials=15)
        assert run.search(engine=engine, trials=15) == first
        assert run.search(engine=engine, trials=30)[:15] == first
        assert len(set(run.evaluated)) == len(run.evaluated) == 30

    def test_interrupted_it_keeps_its_candidates_and_leaves_the_words_to_the_command(
        self, run: Run, engine: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run.search(engine=engine, trials=12)
        run.broken = {"": KeyboardInterrupt()}
        capsys.readouterr()
        with pytest.raises(KeyboardInterrupt):
            run.search(engine=engine, trials=20)
        said = capsys.readouterr().err
        assert "resume" not in said and "interrupted" not in said
        assert len(run.on_disk.trials) == 12

    @pytest.mark.parametrize("objectives", [["accuracy", "latency_ms"], ["accuracy"]])
    def test_what_the_rule_stops_is_kept_apart(self, run: Run, engine: str, objectives: list[str]) -> None:
        run.epochs, run.rule = 4, Impatient()
        candidates = run.search(engine=engine, trials=30, objectives=objectives)
        stopped = [trial for trial in run.on_disk.trials if TrialRecord.from_trial(trial).state == "stopped"]
        assert len(candidates) + len(stopped) == 30
        assert candidates
        assert stopped
        assert all(candidate.metrics["latency_ms"] <= 0.02 for candidate in candidates)
        for trial in stopped:
            assert trial.state == TrialState.PRUNED
            assert trial.user_attrs["stopped"] == 2
            assert trial.user_attrs["latency_ms"] > 0.02
            assert [set(metrics) for metrics in trial.user_attrs["reports"].values()] == [{"accuracy"}] * 2
            curve = {int(epoch): metrics["accuracy"] for epoch, metrics in trial.user_attrs["reports"].items()}
            assert trial.intermediate_values == (curve if len(objectives) == 1 else {})
            assert curve[2] == trial.user_attrs["accuracy"]
        assert {trial.user_attrs["key"] for trial in run.on_disk.best_trials} <= {c.key for c in candidates}
        history = read_history(run.study, DIGITS, [known_metrics()[name] for name in objectives])
        assert (history.stopped, history.excluded, len(history.failures)) == (len(stopped), 0, 0)
        with run.csv.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["state"] == "stopped"]
        assert [(row["key"], row["stopped"]) for row in rows] == [(t.user_attrs["key"], "2") for t in stopped]
        assert len(run.search(engine=engine, trials=30, objectives=objectives)) == len(candidates)  # all are known
        assert len(run.evaluated) == 30

    @pytest.mark.parametrize("objectives", [["accuracy", "latency_ms"], ["accuracy"]])
    def test_every_engine_stops_the_same_trials_also_when_resumed(
        self, run: Run, engine: str, objectives: list[str]
    ) -> None:
        run.epochs = 27
        section: dict[str, Any]
        section = {"objectives": objectives, "early_stopping": {"rule": "asha"}, "evaluator": "train"}
        section["resources"] = {"cpu": 2}  # one at once
        for trials in (12, 30):
            run.search(
                engine=engine, trials=trials, sampler={"class_path": "RandomSampler", "init_args": {}}, **section
            )
        rule = SuccessiveHalving(SearchSection.model_validate(section))
        for trial in run.on_disk.trials:
            reports = {int(epoch): metrics for epoch, metrics in trial.user_attrs["reports"].items()}
            assert list(reports) == list(range(1, 1 + trial.user_attrs.get("stopped", 26)))
            latency_ms = trial.user_attrs["latency_ms"]
            answers = [
                rule.report(trial.user_attrs["key"], epoch, {"latency_ms": latency_ms, **metrics})
                for epoch, metrics in reports.items()
            ]
            assert all(answers[:-1])
            assert answers[-1] == (trial.state == TrialState.COMPLETE)
        assert Counter(TrialRecord.from_trial(trial).state for trial in run.on_disk.trials).keys() == {
            "evaluated",
            "stopped",
        }
        assert len(run.on_disk.trials) == 30

    def test_one_objective(self, run: Run, engine: str) -> None:
        candidates = run.search(engine=engine, objectives=["accuracy"], constraints={"macs_m": 3.0})
        best = max(candidates, key=lambda candidate: candidate.metrics["accuracy"])
        assert run.on_disk.best_trial.user_attrs["key"] == best.key

    @pytest.mark.slow
    @pytest.mark.parametrize("death", ["crash", "SIGABRT", "SIGBUS"])
    def test_a_native_crash_is_a_failed_trial_after_three_deaths(self, run: Run, engine: str, death: str) -> None:
        for _ in range(4):  # the last start, or the only one where others evaluate
            process = started(run, engine, 6, death=death)
            stderr = process.communicate()[1].decode()
            if process.returncode == 0:
                break
            assert process.returncode == -(signal.SIGSEGV if death == "crash" else signal.Signals[death]), stderr
        assert process.returncode == 0, stderr
        failed = {trial.user_attrs["key"]: trial.user_attrs["reason"] for trial in run.trials(TrialState.FAIL)}
        assert "3 times" in failed[DIGITS.smallest.key]
        assert len(failed) <= (2 if engine == "own_engine:ThreadEngine" else 1)  # its two threads die together
        assert run.evaluated.count(DIGITS.smallest.key) == 3
        assert len(run.trials(TrialState.COMPLETE)) == 6 - len(failed)

    @pytest.mark.slow
    def test_killed_at_any_moment_it_resumes_and_loses_at_most_what_was_pending(self, run: Run, engine: str) -> None:
        rng, kills, trials = random.Random(0), 6, 80 if engine == "local" else 300
        for _ in range(kills):
            known = len(run.evaluated)
            process = started(run, engine, trials, hold=known + 12)
            wanted = known + rng.randint(1, 9)  # evaluations after which it is killed
            while process.poll() is None and len(run.evaluated) < wanted:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            stderr = process.communicate()[1].decode()
            assert process.returncode == -signal.SIGKILL, stderr
            states = {trial.state for trial in run.on_disk.trials}
            assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
        candidates = run.search(engine=engine, trials=trials, constraints={"latency_ms": 0.03})
        stored = [trial.user_attrs["key"] for trial in run.on_disk.trials]
        assert len(set(stored)) == len(stored)
        assert len(candidates) == len(run.trials(TrialState.COMPLETE)) == trials
        repeated = Counter(run.evaluated)
        assert sum(repeated.values()) - len(repeated) <= kills * PENDING[engine]  # those in evaluation, at most
        assert {candidate.key for candidate in candidates} <= repeated.keys()
