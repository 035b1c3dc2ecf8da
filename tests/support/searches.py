"""Searches for tests: an evaluator that costs nothing, and a folder with searches in it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.engines.registry import find_engine
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import Evaluate, Report, Stopped
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.early_stopping.pruner import StoppingRule
from ffnet_search.search.loop import run_search
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.search.storage.trial_params import configuration_of
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import CostModel
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

SPACES = Path(__file__).parents[2] / "search_spaces"
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
    """The latency of a machine on which 100 M MACs take 1 ms."""

    def predict_ms(self, arch: Architecture) -> float:
        return arch.macs_m / 100

    def part_ms(self, part: Part, spilt: float = 0.0) -> float:
        return part.costs.macs / 1e8


CHEAP = CostModel(Macs())


@dataclass
class Accuracy:
    """An evaluator: more MACs are better, with some luck. Logs every call in a file, and can be pickled."""

    log: Path
    # Key -> the outcome instead; "": of all; "kill", "crash": deaths; "hang"; "preempt": SIGTERM; a signal to itself.
    broken: dict[str, Any] = field(default_factory=dict)
    sleep_s: float = 0.0
    epochs: int = 0  # all but the last are reported
    hold: int | None = None  # evaluations after which all others wait for a file, `go on`, beside the log

    def __call__(self, configuration: Configuration, report: Report) -> Candidate | Stopped:
        arch = configuration.architecture
        assert arch is not None
        with self.log.open("a") as file:
            file.write(f"{arch.key}\n")
        time.sleep(self.sleep_s)
        held(self.log, self.hold)
        luck = int(hashlib.sha256(arch.key.encode()).hexdigest()[:4], 16) / 2**16
        value = self.broken.get(arch.key, self.broken.get("", 1 - 1 / (1 + arch.macs_m + luck)))
        if value == "crash":
            ctypes.string_at(0)
        if value == "hang":
            time.sleep(600)
        if value == "kill" or (value == "kill once" and self.log.read_text().split().count(arch.key) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(value, signal.Signals):
            os.kill(os.getpid(), value)
            time.sleep(600)
        if value in ("preempt", "preempt further"):  # by another process; further: one more epoch each time
            if value == "preempt further":
                report(self.log.read_text().split().count(arch.key), {"accuracy": 0.5})
            subprocess.run(["kill", "-TERM", str(os.getpid())], check=True)
            time.sleep(600)
        if isinstance(value, BaseException):
            raise value
        for epoch in range(1, self.epochs):
            metrics = {"accuracy": value * epoch / self.epochs}
            if not report(epoch, metrics):
                return Stopped(epoch, metrics)
        return Candidate(arch, {} if value is None else {"accuracy": 0.5 if value == "kill once" else value})


def held(log: Path, hold: int | None) -> None:
    """Wait in the evaluations after the first `hold`: the search cannot end before it was hurt, on any machine."""
    while hold is not None and len(log.read_text().split()) > hold and not log.with_name("go on").exists():
        time.sleep(0.02)


def same(evaluate: Accuracy) -> Accuracy:
    """What makes an evaluator, for engines that pickle it."""
    return evaluate


def architecture_of(trial: FrozenTrial) -> Architecture:
    arch = configuration_of(DIGITS, trial.params).architecture
    assert arch is not None
    return arch


@dataclass
class Impatient:
    """A rule that stops what is slow after two epochs."""

    section: SearchSection | None = None
    limit_ms: float = 0.02

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        return epoch < 2 or metrics["latency_ms"] <= self.limit_ms

    def finish(self, key: str) -> None: ...


def search(
    problem: SearchProblem,
    make_evaluate: Callable[[], Evaluate],
    folder: Path,
    digest: str = "d",
    rule: StoppingRule | None = None,
    resumable: bool = False,
) -> list[Candidate]:
    """A search with any evaluator, whose study and table are in `folder`."""
    study, candidates = folder / "study.db", folder / "candidates.csv"
    with open_storage(problem, study, candidates, digest=digest, resumable=resumable) as storage:
        optimizer = Optimizer(problem, storage, rule)
        context = EngineContext(make_evaluate, problem.section, optimizer.pruner, folder, problem.space)
        return run_search(optimizer, find_engine(problem.section)(context), storage)


def stored(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that a trial holds but its times."""
    return trial.number, trial.state, trial.params, trial.values, trial.constraints, trial.user_attrs


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

    def problem(self, **section: Any) -> SearchProblem:
        settings = SearchSection.model_validate({"trials": 20, **section})
        return SearchProblem(self.space, settings, CHEAP, self.seed)

    def search(self, **section: Any) -> list[Candidate]:
        evaluate = Accuracy(self.folder / "log", self.broken, epochs=self.epochs)
        return search(
            self.problem(**section), partial(same, evaluate), self.folder, self.digest, self.rule, self.resumable
        )

    @property
    def evaluated(self) -> list[str]:
        """The keys of all evaluations, in order."""
        log = self.folder / "log"
        return log.read_text().split() if log.exists() else []

    @property
    def on_disk(self) -> optuna.Study:
        """The study as Optuna reads it."""
        return optuna.load_study(study_name="search", storage=f"sqlite:///{self.study}")

    @property
    def stored(self) -> list[tuple[Any, ...]]:
        """All that each trial holds on disk but its times."""
        return [stored(trial) for trial in self.on_disk.trials]

    def trials(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self.on_disk.trials if trial.state == state]
