"""The search: what every engine must keep (one contract suite), samplers, the study on disk, kills and bad files."""

from __future__ import annotations

import csv
import gc
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.config.schema import SamplerSection, SearchSection
from ffnet_search.engines.local import LocalEngine
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import NopPruner, Report, Stopped
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.run.search import search
from ffnet_search.search.early_stopping.asha import SuccessiveHalving
from ffnet_search.search.early_stopping.pruner import StoppingRule
from ffnet_search.search.history import read_history
from ffnet_search.search.loop import run_loop
from ffnet_search.search.optimizer import Search
from ffnet_search.search.samplers import memory
from ffnet_search.search.samplers import optuna as optuna_samplers
from ffnet_search.search.samplers.optuna import known_samplers, make_sampler
from ffnet_search.search.storage import sqlite_rows
from ffnet_search.search.storage.study import candidate_of, configuration_of, open_study, state_of
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cheapest import smallest_reachable
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.parts import Part
from ffnet_search.space.registry import known_metrics
from ffnet_search.space.search_space import SearchSpace

SPACES = Path(__file__).parents[1] / "search_spaces"
DIGITS = SearchSpace.from_yaml(SPACES / "ffnet_digits.yaml")
CIFAR = SearchSpace.from_yaml(SPACES / "ffnet_cifar.yaml")
IMAGENET = SearchSpace.from_yaml(SPACES / "ffnet_imagenet.yaml")
TINY = SearchSpace.model_validate(
    {
        "input": {"channels": 1, "resolution": 8, "classes": 3},
        "stages": [{"depth": [1, 2], "width": [16, 32], "mixer": ["pool", "attention"], "token_kernel": [3, 5]}],
    }
)


class Macs:
    """Latency of a machine on which 100 M MACs take 1 ms."""

    def predict_ms(self, arch: Architecture) -> float:
        return arch.macs_m / 100

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return part.macs / 1e8


CHEAP = CostModel(Macs())


@dataclass
class Accuracy:
    """An evaluator: more MACs are better, with some luck. Notes every call in a file, and can be pickled."""

    log: Path
    broken: dict[str, Any] = field(default_factory=dict)  # key -> what comes instead; "": for all; "kill": a death
    sleep_s: float = 0.0
    epochs: int = 0  # all but the last are reported

    def __call__(self, configuration: Configuration, report: Report) -> Candidate | Stopped:
        arch = configuration.architecture
        assert arch is not None
        with self.log.open("a") as file:
            file.write(f"{arch.key}\n")
        time.sleep(self.sleep_s)
        luck = int(hashlib.sha256(arch.key.encode()).hexdigest()[:4], 16) / 2**16
        value = self.broken.get(arch.key, self.broken.get("", 1 - 1 / (1 + arch.macs_m + luck)))
        if value == "kill" or (value == "kill once" and self.log.read_text().split().count(arch.key) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(value, BaseException):
            raise value
        for epoch in range(1, self.epochs):
            metrics = {"accuracy": value * epoch / self.epochs}
            if not report(epoch, metrics):
                return Stopped(epoch, metrics)
        return Candidate(arch, {} if value is None else {"accuracy": 0.5 if value == "kill once" else value})


def same(evaluate: Accuracy) -> Accuracy:
    return evaluate


def architecture_of(trial: FrozenTrial) -> Architecture:
    arch = configuration_of(DIGITS, trial.params).architecture
    assert arch is not None
    return arch


@dataclass
class Impatient:
    """A rule that ends what is slow after two epochs."""

    limit_ms: float

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        return epoch < 2 or metrics["latency_ms"] <= self.limit_ms

    def finish(self, key: str) -> None: ...


@dataclass
class Run:
    """A folder, and searches in it."""

    folder: Path
    space: SearchSpace = DIGITS
    broken: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    digest: str = "d"
    epochs: int = 0
    rule: StoppingRule | None = None
    resumable: bool = False

    @property
    def study(self) -> Path:
        return self.folder / "study.db"

    @property
    def csv(self) -> Path:
        return self.folder / "candidates.csv"

    def search(self, **section: Any) -> list[Candidate]:
        evaluate = Accuracy(self.folder / "log", self.broken, epochs=self.epochs)
        settings = SearchSection.model_validate({"trials": 20, **section})
        return search(
            self.space,
            partial(same, evaluate),
            CHEAP,
            settings,
            self.study,
            self.csv,
            seed=self.seed,
            digest=self.digest,
            rule=self.rule,
            resumable=self.resumable,
        )

    @property
    def evaluated(self) -> list[str]:
        return (self.folder / "log").read_text().split()

    @property
    def on_disk(self) -> optuna.Study:
        return optuna.load_study(study_name="search", storage=f"sqlite:///{self.study}")

    def trials(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self.on_disk.trials if trial.state == state]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def engine() -> str:
    """The others are under this contract too: a few tests in `test_cluster.py`, all of it in `e2e/test_engines.py`."""
    return "local"


IN_FLIGHT = {"local": 1, "ray": 2 * 2 * 16, "tune": 2 + 2}  # at most, with two workers


class TestContract:
    """Of every engine."""

    def test_each_architecture_is_evaluated_once_and_all_are_kept(self, run: Run, engine: str) -> None:
        candidates = run.search(engine=engine, trials=60)
        keys = [candidate.key for candidate in candidates]
        assert len(set(keys)) == 60
        assert sorted(run.evaluated) == sorted(keys)
        stored = run.on_disk.trials
        assert {trial.state for trial in stored} == {TrialState.COMPLETE}
        assert [candidate_of(DIGITS, trial) for trial in stored] == candidates
        assert [trial.number for trial in stored] == list(range(60))
        for trial, candidate in zip(stored, candidates, strict=True):
            assert trial.values == [candidate.metrics["accuracy"], candidate.metrics["latency_ms"]]
            assert trial.user_attrs["key"] == architecture_of(trial).key

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
            (float("inf"), "accuracy is inf"),
            (None, "accuracy is missing"),
            (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        ],
    )
    def test_a_failure_is_told_with_its_reason_and_the_search_goes_on(
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
        assert 15 <= len(run.evaluated) < 15 + IN_FLIGHT[engine]
        run.broken = {}
        assert len(run.search(engine=engine, trials=20)) == 20

    def test_a_search_in_which_all_failed_says_so(self, run: Run, engine: str) -> None:
        run.broken = {"": ValueError("wrong shape")}
        with pytest.raises(SweepError, match="all 3 evaluations failed, the first with: ValueError: wrong shape"):
            run.search(engine=engine, trials=3)

    def test_a_users_mistake_in_an_evaluation_ends_the_search(self, run: Run, engine: str) -> None:
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

    def test_more_trials_go_on_from_what_is_there(self, run: Run, engine: str) -> None:
        first = run.search(engine=engine, trials=15)
        assert run.search(engine=engine, trials=15) == first
        assert run.search(engine=engine, trials=30)[:15] == first
        assert len(set(run.evaluated)) == len(run.evaluated) == 30

    def test_interrupted_it_keeps_what_it_has_and_says_how_to_go_on(
        self, run: Run, engine: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run.search(engine=engine, trials=12)
        run.broken = {"": KeyboardInterrupt()}
        with pytest.raises(KeyboardInterrupt):
            run.search(engine=engine, trials=20)
        assert "12 candidates are kept, and the same command goes on" in capsys.readouterr().err
        assert len(run.on_disk.trials) == 12

    @pytest.mark.parametrize("objectives", [["accuracy", "latency_ms"], ["accuracy"]])
    def test_what_the_rule_stops_is_kept_apart(self, run: Run, engine: str, objectives: list[str]) -> None:
        run.epochs, run.rule = 4, Impatient(0.02)
        candidates = run.search(engine=engine, trials=30, objectives=objectives)
        stopped = [trial for trial in run.on_disk.trials if state_of(trial) == "stopped"]
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
        history = read_history(run.study, DIGITS, SearchSection(objectives=objectives).directions)
        assert (history.stopped, history.excluded, len(history.failures)) == (len(stopped), 0, 0)
        with run.csv.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["state"] == "stopped"]
        assert [(row["key"], row["stopped"]) for row in rows] == [(t.user_attrs["key"], "2") for t in stopped]
        assert len(run.search(engine=engine, trials=30, objectives=objectives)) == len(candidates)  # all are known
        assert len(run.evaluated) == 30

    @pytest.mark.parametrize("objectives", [["accuracy", "latency_ms"], ["accuracy"]])
    def test_every_engine_stops_the_same_trials_and_goes_on_so_when_resumed(
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
        rule = SuccessiveHalving({name: known_metrics()[name].direction for name in objectives})
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
        assert Counter(map(state_of, run.on_disk.trials)).keys() == {"evaluated", "stopped"}
        assert len(run.on_disk.trials) == 30

    def test_one_objective(self, run: Run, engine: str) -> None:
        candidates = run.search(engine=engine, objectives=["accuracy"], constraints={"macs_m": 3.0})
        best = max(candidates, key=lambda candidate: candidate.metrics["accuracy"])
        assert run.on_disk.best_trial.user_attrs["key"] == best.key


SCRIPT = """
import sys
from pathlib import Path
from tests.test_search import *

folder, engine = Path(sys.argv[1]), sys.argv[2]
evaluate = Accuracy(folder / "log", sleep_s=0.01)
section = SearchSection(engine=engine, trials=int(sys.argv[3]), constraints={"latency_ms": 0.03})
search(DIGITS, partial(same, evaluate), CHEAP, section, folder / "study.db", folder / "candidates.csv", digest="d")
"""


def test_killed_at_any_moment_it_goes_on_and_loses_at_most_what_was_under_way(run: Run, engine: str) -> None:
    rng, kills, trials = random.Random(0), 0, 80 if engine == "local" else 300
    root = Path(__file__).parents[1]
    for _ in range(12 if engine == "local" else 5):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(run.folder), engine, str(trials)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},  # RAY_ADDRESS is in it where there is one
            stderr=subprocess.PIPE,
        )
        known = len(run.evaluated) if (run.folder / "log").exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:  # until it evaluates, then at random
            if (run.folder / "log").exists() and len(run.evaluated) > known:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.35))
        process.send_signal(signal.SIGKILL)
        stderr = process.communicate()[1].decode()
        assert process.returncode in (0, -signal.SIGKILL), stderr
        kills += process.returncode != 0
        states = {trial.state for trial in run.on_disk.trials}
        assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
        if process.returncode == 0:
            break
    assert kills >= 3
    candidates = run.search(engine=engine, trials=trials, constraints={"latency_ms": 0.03})
    stored = [trial.user_attrs["key"] for trial in run.on_disk.trials]
    assert len(set(stored)) == len(stored)
    assert len(candidates) == len(run.trials(TrialState.COMPLETE)) == trials
    repeated = Counter(run.evaluated)
    assert sum(repeated.values()) - len(repeated) <= kills * IN_FLIGHT[engine]  # each kill may cost those under way
    assert {c.key for c in candidates} <= repeated.keys()


def content(run: Run) -> list[tuple[Any, ...]]:
    return [(t.number, t.state, t.params, t.values, t.constraints, t.user_attrs) for t in run.on_disk.trials]


def test_the_same_seed_gives_the_same_study_and_another_seed_another(tmp_path: Path) -> None:
    runs = [Run(tmp_path / name, seed=seed, space=CIFAR) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    for run in runs:
        run.folder.mkdir()
        run.search(trials=25, constraints={"latency_ms": 1.0})
    a, b, c = map(content, runs)
    assert a == b
    assert a[:3] == c[:3]  # the ends of the space and of the front
    assert a[-10:] != c[-10:]


def test_a_resumed_search_does_not_repeat_its_first_proposals(run: Run) -> None:
    run.search(trials=10)
    again = [trial.params for trial in run.on_disk.trials]
    samplers = [
        make_sampler(SamplerSection(class_path="RandomSampler", init_args={}), 0, n, 2) for n in (0, len(again))
    ]
    asked = [optuna.create_study(sampler=s).ask(trial_axes()).params for s in samplers]
    assert asked[0] != asked[1]


def test_what_was_cut_off_comes_first_the_next_time(tmp_path: Path) -> None:
    whole, cut = (Run(tmp_path / name, resumable=True) for name in ("whole", "cut"))
    for run in (whole, cut):
        run.folder.mkdir()
    whole.search(trials=10)
    key = whole.evaluated[7]
    cut.broken = {key: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        cut.search(trials=10)
    cut.broken = {}
    cut.search(trials=10)
    assert cut.evaluated[:9] == [*whole.evaluated[:8], key]
    origins = [
        {trial.user_attrs["key"]: trial.user_attrs["origin"] for trial in run.on_disk.trials} for run in (whole, cut)
    ]
    assert origins[0][key] == origins[1][key] == "sampler"
    assert [path.name for path in cut.folder.glob("*under_way*")] == []


def trial_axes() -> dict[str, optuna.distributions.BaseDistribution]:
    return {str(i): optuna.distributions.CategoricalDistribution((1, 2, 3)) for i in range(20)}


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_a_tight_limit_is_searched_though_the_sampler_finds_nothing(tmp_path: Path, factor: float) -> None:
    run = Run(tmp_path, space=CIFAR)
    least, _ = smallest_reachable(CIFAR, lambda part: part.params)
    section = {"proposals": 5, "sampler": {"class_path": "RandomSampler", "init_args": {}}}
    candidates = run.search(trials=10, constraints={"params_m": least.params_m * factor}, **section)
    assert all(c.metrics["params_m"] <= least.params_m * factor for c in candidates)
    assert len(candidates) == 10  # at the least itself there are 54: the stride and pooling kernels have no parameters


def test_limits_that_exclude_each_other_are_named(tmp_path: Path) -> None:
    run = Run(
        tmp_path, space=SearchSpace.model_validate(TINY.model_dump() | {"stem": {"width": [8, 64], "stride": [1, 4]}})
    )
    costs = {name: smallest_reachable(run.space, CHEAP.of_part[name])[1] for name in ("params_m", "macs_m")}
    assert run.search(trials=3, proposals=3, constraints=costs)  # here one network is the least of both
    run = Run(tmp_path / "b")
    run.folder.mkdir()
    with pytest.raises(SweepError, match="no architecture was found that keeps"):
        run.search(trials=3, proposals=3, constraints={"params_m": 1e-6, "macs_m": 1e-6})


@pytest.mark.parametrize("at_once", [1, 4])
def test_tpe_repeats_nothing_while_there_is_something_new_near(at_once: int, tmp_path: Path) -> None:
    """Of the space of digits a fourth of its proposals were repeats."""
    section, asked = SearchSection(trials=200), set[str]()
    with open_study(tmp_path / "study.db", section.directions, "") as (to_disk, finished):
        state = Search(DIGITS, CHEAP, section, 0, to_disk, finished)
        evaluate = Accuracy(tmp_path / "log")
        while state.told < section.trials:
            batch = [state.ask(at_once - number) for number in range(at_once)]
            for configuration in batch:
                assert configuration is not None and configuration.key not in asked
                asked.add(configuration.key)
                outcome = evaluate(configuration, lambda epoch, metrics: True)
                state.tell(configuration, outcome)
    assert state.repeats <= 2


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_that_is_told_and_moved_is_as_optuna_has_it(state: TrialState) -> None:
    axes = {"width": optuna.distributions.CategoricalDistribution((16, 32))}
    study, other = (memory.in_memory(["maximize"], optuna.samplers.RandomSampler(seed=1)) for _ in range(2))
    other.add_trial(create_trial(value=0.0))
    for number in range(3):
        trial = memory.ask(study, axes)
        trial.set_user_attr("key", str(number))
        told = memory.tell(trial, [float(number)] if state == TrialState.COMPLETE else None, state)
        assert told == study.trials[number] and told.state == state
        assert told.datetime_complete is not None
    other.add_trials(study.trials)
    assert [one.number for one in study.trials] == [0, 1, 2]
    assert [one.number for one in other.trials] == [0, 1, 2, 3]
    for before, after in zip(study.trials, other.trials[1:], strict=True):
        assert (before.params, before.user_attrs, before.state) == (after.params, after.user_attrs, after.state)
        assert before.datetime_complete == after.datetime_complete
    if state == TrialState.COMPLETE:
        assert other.best_trial.number == 3 and study.best_trial.number == 2


def living() -> Counter[type]:
    gc.collect()
    return Counter(type(one) for one in gc.get_objects() if type(one) in (FrozenTrial, Architecture))


@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler"])
def test_what_is_kept_of_a_candidate_is_a_key_and_its_objectives(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials, candidates and architectures are on disk, how many there may be."""
    monkeypatch.setattr(optuna_samplers, "MEMORY", 20)
    before = living()
    section = SearchSection(trials=150, objectives=["accuracy"], sampler=SamplerSection(class_path=name, init_args={}))
    with open_study(tmp_path / "s.db", section.directions, "d") as (to_disk, finished):
        state = Search(CIFAR, CHEAP, section, 0, to_disk, finished)
        make = partial(same, Accuracy(tmp_path / "log"))
        with LocalEngine(EngineContext(make, section, NopPruner(), tmp_path, CIFAR)) as engine:
            run_loop(state, engine)
        alive = living() - before
        assert state.evaluated == 150
        assert alive[FrozenTrial] <= 2 * 2 * 20  # of the sampler's study, and the one before it
        assert alive[Architecture] <= len(state.front) + len(CIFAR.presets) + 10
        keys = [trial.user_attrs["key"] for trial in to_disk.stored(["stem.width"])]
        assert keys == [trial.user_attrs["key"] for trial in to_disk.study.trials]


@pytest.mark.parametrize("name", sorted(known_samplers()))
@pytest.mark.parametrize("objectives", [["accuracy"], ["accuracy", "latency_ms"]])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_known_sampler_searches(tmp_path: Path, name: str, objectives: list[str]) -> None:
    args = {"NSGAIISampler": {"population_size": 4}, "NSGAIIISampler": {"population_size": 4}}.get(name, {})
    section = {"objectives": objectives, "sampler": {"name": name, "init_args": args}, "constraints": {"macs_m": 3.0}}
    assert len(Run(tmp_path).search(trials=16, **section)) == 16


def test_a_genetic_sampler_breeds_from_what_the_walk_found(tmp_path: Path) -> None:
    run = Run(tmp_path, space=CIFAR)
    sampler = {"class_path": "NSGAIISampler", "init_args": {"population_size": 6}}
    run.search(trials=30, proposals=20, constraints={"latency_ms": 0.13}, sampler=sampler)
    origins = Counter(trial.user_attrs["origin"] for trial in run.trials(TrialState.COMPLETE))
    assert origins["walk"] >= 3  # random proposals are all beyond this limit
    assert origins["sampler"] >= 15


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("TPESampl", {}, "did you mean 'TPESampler'"),
        ("CmaEsSampler", {}, "must be a sampler"),
        ("TPESampler", {"multivariat": True}, "'multivariat' is not a known argument; did you mean 'multivariate'"),
        ("TPESampler", {"seed": 3}, "'seed' must not be given"),
        ("NSGAIISampler", {"population_size": 1}, "which are .*population_size.*refused by Optuna for 2 objective"),
        ("NSGAIISampler", {"population_size": "big"}, "refused by Optuna"),
    ],
)
def test_a_wrong_sampler_is_one_sentence(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        make_sampler(SamplerSection(class_path=name, init_args=args), seed=0, finished=0, objectives=2)


def test_the_csv_holds_every_architecture_that_was_looked_at(run: Run) -> None:
    run.broken = {DIGITS.smallest.key: float("nan")}
    run.search(trials=20, constraints={"latency_ms": 0.03})
    with run.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["key"] for row in rows}) == len(rows) == len(run.on_disk.trials)
    assert Counter(row["state"] for row in rows)["evaluated"] == 19
    assert {(row["state"], row["feasible"]) for row in rows} == {
        ("evaluated", "true"),
        ("failed", "true"),
        ("infeasible", "false"),
    }
    for row, trial in zip(rows, run.on_disk.trials, strict=True):
        arch = architecture_of(trial)
        assert (row["key"], row["architecture"], int(row["trial"])) == (arch.key, str(arch), trial.number)
        assert float(row["macs_m"]) == arch.macs_m
        assert bool(row["accuracy"]) == (row["state"] == "evaluated")
        assert bool(row["reason"]) == (row["state"] == "failed")


def spoil_text(path: Path) -> None:
    path.write_text("this is not a database, but it is long enough to be looked at" * 20)


def spoil_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20000])


def foreign_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("create table photos (name text)")
    connection.close()


def other_study(path: Path) -> None:
    path.unlink()
    optuna.create_study(study_name="mine", storage=f"sqlite:///{path}")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [spoil_text, spoil_middle, cut_short, foreign_tables, other_study, a_folder])
def test_a_broken_or_foreign_file_is_refused_and_left_alone(run: Run, spoil: Any) -> None:
    run.search(trials=3)
    spoil(run.study)
    before = run.study.read_bytes() if run.study.is_file() else None
    with pytest.raises(SweepError, match=r"study\.db: "):
        run.search(trials=4)
    assert (run.study.read_bytes() if run.study.is_file() else None) == before
    assert len(run.evaluated) == 3


def test_a_study_of_another_search_is_refused(run: Run) -> None:
    run.search(trials=3)
    run.digest = "e"
    with pytest.raises(SweepError, match=r"must be of this search \(e\), but is of another \(d\)"):
        run.search(trials=4)
    assert len(run.on_disk.trials) == 3


def test_what_a_kill_left_of_a_new_file_is_used(run: Run) -> None:
    run.study.touch()
    assert len(run.search(trials=3)) == 3
    half = Run(run.folder / "half")
    half.folder.mkdir()
    optuna.create_study(study_name="search", storage=f"sqlite:///{half.study}", directions=["minimize"])
    assert len(half.search(trials=3)) == 3


def test_what_was_told_is_what_is_returned(run: Run) -> None:
    told = Accuracy(run.folder / "log")

    def meddling(configuration: Configuration, report: Report) -> Candidate | Stopped:
        candidate = told(configuration, report)
        if len(run.evaluated) == 4:
            with closing(sqlite3.connect(run.study)) as connection:
                connection.execute("update trials set state = 'FAIL'")
                connection.commit()
        return candidate

    section = SearchSection(trials=6)
    with pytest.raises(
        SweepError, match="must hold each of the 6 candidates that were evaluated once, but holds 3: an"
    ):
        search(DIGITS, lambda: meddling, CHEAP, section, run.study, run.csv, digest=run.digest)


def test_finished_it_is_one_file(run: Run) -> None:
    run.search(trials=3)
    assert sorted(path.name for path in run.folder.iterdir()) == ["candidates.csv", "log", "study.db"]


def finished_trials() -> Iterator[FrozenTrial]:
    axes = {name: optuna.distributions.CategoricalDistribution((3, 5, "pool")) for name in "ab"}
    common: dict[str, Any] = {
        "params": {"a": 5, "b": "pool"},
        "distributions": axes,
        "user_attrs": {"key": "x", "n": 1.5},
    }
    yield create_trial(
        values=[0.5, 1e-3], constraints={"macs_m": -1.0}, system_attrs={"NSGAIISampler:generation": 1}, **common
    )
    yield create_trial(state=TrialState.PRUNED, constraints={"macs_m": 1.0}, **common)
    yield create_trial(state=TrialState.PRUNED, intermediate_values={2: 0.5}, **common)
    yield create_trial(state=TrialState.FAIL, **common)


@pytest.mark.parametrize("direct", [True, False])
def test_written_trials_are_read_by_optuna_as_they_were(
    tmp_path: Path, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sqlite_rows._rows_are_right()  # with the version of Optuna that is pinned
    monkeypatch.setattr(sqlite_rows, "_rows_are_right", lambda: direct)
    trials = [*finished_trials(), *finished_trials()]
    with open_study(tmp_path / "s.db", {"accuracy": "maximize", "latency_ms": "minimize"}, "d") as (to_disk, found):
        assert to_disk.is_direct == direct
        assert found == []
        to_disk.add(trials[:2])
        to_disk.add(trials[2:])
    read = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").trials
    assert [trial.number for trial in read] == list(range(8))
    for before, after in zip(trials, read, strict=True):
        for name in (
            "state",
            "params",
            "distributions",
            "user_attrs",
            "system_attrs",
            "constraints",
            "intermediate_values",
        ):
            assert getattr(after, name) == getattr(before, name)
        assert (after.datetime_start, after.datetime_complete) == (before.datetime_start, before.datetime_complete)
    assert read[0].values == [0.5, 1e-3]


def test_a_database_that_cannot_be_written_is_a_users_matter(run: Run) -> None:
    with open_study(run.study, {"accuracy": "maximize"}, "d") as (to_disk, _):
        assert to_disk._rows is not None
        with sqlite3.connect(run.study) as other:
            other.execute("drop table trial_params")
        other.close()
        trial = create_trial(
            value=1.0, params={"a": 1}, distributions={"a": optuna.distributions.CategoricalDistribution((1, 2))}
        )
        with pytest.raises(SweepError, match="cannot be read or written .*trial_params"):
            to_disk.add([trial])
        with sqlite3.connect(run.study) as other:
            assert other.execute("select count(*) from trials").fetchone() == (0,)  # all or nothing
        other.close()
