"""A search for hyper-parameters: conditions, studies, kills."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from recipes import RECIPE, Rate, space_of
from searches import search

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.samplers.optuna import known_of
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.cost_model import analytic_metrics
from ffnet_search.space.hyperparameters import Configuration, Value
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).parents[1]


def searched(
    folder: Path, space: SearchSpace, start: Mapping[str, Value] | None = None, seed: int = 0, **section: Any
) -> list[Candidate]:
    settings = SearchSection.model_validate({"trials": 40, "objectives": ["accuracy"], **section})
    folder.mkdir(exist_ok=True)
    evaluate = Rate(folder / "log")
    return search(SearchProblem(space, settings, None, seed, start or {}), lambda: evaluate, folder)


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{folder / 'study.db'}").trials


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler", "NSGAIISampler"])
def test_a_search_draws_what_has_an_effect_and_keeps_it(tmp_path: Path, sampler: str) -> None:
    space = space_of(RECIPE)
    args = {"multivariate": True} if sampler == "TPESampler" else {}
    found = searched(
        tmp_path, space, {"learning_rate": 0.05, "batch_size": 100}, sampler={"class_path": sampler, "init_args": args}
    )
    assert len({candidate.key for candidate in found}) == 40
    first = found[0].hyperparameters  # what the sweep says, where it may be, and the middle or the first choice
    assert first == {"learning_rate": 0.05, "optimizer": "adamw", "weight_decay": 0.04, "batch_size": 64}
    for trial, candidate in zip(stored(tmp_path), found, strict=True):
        values = candidate.hyperparameters
        assert trial.params == dict(values)
        assert values.keys() <= RECIPE.keys()
        assert ("momentum" in values, "weight_decay" in values) == (
            (True, False) if values["optimizer"] == "sgd" else (False, True)
        )
        assert (trial.state, trial.user_attrs["key"]) == (TrialState.COMPLETE, candidate.key)
        assert candidate.record == {"seed": 7}
    assert read_candidates(tmp_path / "study.db", space) == found
    with (tmp_path / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["optimizer"] for row in rows] == [candidate.hyperparameters["optimizer"] for candidate in found]
    assert {bool(row["momentum"]) for row in rows} == {True, False}
    best = max(candidate.metrics["accuracy"] for candidate in found)
    assert searched(tmp_path, space) == found  # all are made
    assert best > 0.5


def test_tpe_learns_conditional_ones_too(tmp_path: Path) -> None:
    found = searched(tmp_path, space_of(RECIPE), trials=120)
    late = [candidate.hyperparameters for candidate in found[-40:]]
    assert sum(values["optimizer"] == "sgd" for values in late) > 30
    momenta = [float(str(values["momentum"])) for values in late if "momentum" in values]
    assert sum(abs(momentum - 0.9) < 0.04 for momentum in momenta) > len(momenta) / 2  # by chance: 0.42


def test_costs_are_known_while_hyperparameters_are_still_to_be_suggested() -> None:
    section = SearchSection(objectives=("accuracy", "macs_m"), constraints={"params_m": 1.0})
    problem = SearchProblem(space_of(RECIPE), section)
    known = known_of(problem, {})
    assert known.params is None
    assert known.values == {1: analytic_metrics(problem.space.smallest)["macs_m"]}
    assert known.excess.keys() == {"params_m"}


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    a, b, c = (searched(tmp_path / name, space_of(RECIPE), seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert a == b
    assert a[1:] != c[1:]


def test_a_small_space_ends_and_a_key_is_of_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = space_of({"learning_rate": [0.1, 0.01], "ema": [0.0, 0.9]})
    found = searched(tmp_path, space)
    assert len({candidate.key for candidate in found}) == 4
    assert "all 4 proposals of the space are known, so it ends with 4 of 40" in capsys.readouterr().err
    arch = found[0].architecture
    assert arch is not None
    assert arch.key not in {candidate.key for candidate in found}
    assert Configuration(arch).key == arch.key
    assert Configuration(arch, {"a": 1, "b": 2}).key == Configuration(arch, {"b": 2, "a": 1}).key


def test_without_an_architecture_there_are_hyperparameters_alone(tmp_path: Path) -> None:
    space = SearchSpace.model_validate({"hyperparameters": RECIPE})
    found = searched(tmp_path, space, trials=10)
    assert [candidate.architecture for candidate in found] == [None] * 10
    assert read_candidates(tmp_path / "study.db", space) == found
    assert str(found[0].configuration).startswith("learning_rate ")


SCRIPT = """
import sys
from pathlib import Path
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.search.problem import SearchProblem
from searches import search
from recipes import Rate
from recipes import RECIPE, space_of
folder = Path(sys.argv[1])
evaluate = Rate(folder / "log", hold=20)
section = SearchSection(trials=60, objectives=["accuracy"])
search(SearchProblem(space_of(RECIPE), section), lambda: evaluate, folder)
"""


def test_killed_it_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    log, deadline = tmp_path / "log", time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().split()) > 12):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = stored(tmp_path)
    assert 12 <= len(before) < 60
    assert {trial.state for trial in before} == {TrialState.COMPLETE}
    found = searched(tmp_path, space_of(RECIPE), trials=60)
    assert [candidate.key for candidate in found[: len(before)]] == [trial.user_attrs["key"] for trial in before]
    assert len({candidate.key for candidate in found}) == len(found) == 60
