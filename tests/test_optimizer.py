"""The optimizer: ask and tell, and what is kept in memory and on disk."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState
from patience import PATIENCE_S
from searches import CHEAP, CIFAR, DIGITS, TINY, Accuracy, Run, same

from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.engines.local import LocalEngine
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.engine import EngineContext
from ffnet_search.evaluation.outcome import NopPruner
from ffnet_search.search.loop import run_loop
from ffnet_search.search.optimizer import Optimizer
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.search_storage import open_storage
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import smallest_reachable
from ffnet_search.space.search_space import SearchSpace


def test_the_same_seed_gives_the_same_study_and_another_seed_another(tmp_path: Path) -> None:
    runs = [Run(tmp_path / name, seed=seed, space=CIFAR) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    for run in runs:
        run.folder.mkdir()
        run.search(trials=25, constraints={"latency_ms": 1.0})
    a, b, c = (run.stored for run in runs)
    assert a == b
    assert a[:3] == c[:3]  # the ends of the space and of the front
    assert a[-10:] != c[-10:]


def test_a_resumed_search_does_not_repeat_its_first_proposals(tmp_path: Path) -> None:
    whole, halves = (Run(tmp_path / name, space=CIFAR) for name in ("whole", "halves"))
    sampler = {"class_path": "RandomSampler", "init_args": {}}
    for run in (whole, halves):
        run.folder.mkdir()
    whole.search(trials=20, sampler=sampler)
    for trials in (12, 20):
        halves.search(trials=trials, sampler=sampler)
    assert whole.evaluated[:12] == halves.evaluated[:12]
    assert not set(whole.evaluated[12:]) & set(halves.evaluated[12:])


def test_an_interrupted_trial_comes_first_the_next_time(tmp_path: Path) -> None:
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
    assert [path.name for path in cut.folder.glob("*pending*")] == []


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_a_tight_limit_is_searched_though_the_sampler_finds_nothing(tmp_path: Path, factor: float) -> None:
    run = Run(tmp_path, space=CIFAR)
    least, _ = smallest_reachable(CIFAR, lambda part: part.costs.params)
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
def test_nothing_is_evaluated_twice_whatever_the_sampler_repeats(at_once: int, tmp_path: Path) -> None:
    """A fourth of TPE's proposals in the space of digits are repeats, of pending configurations too."""
    sampler = SamplerSection(class_path="TPESampler", init_args={"multivariate": True})
    section, asked = SearchSection(trials=200, sampler=sampler), set[str]()
    problem, evaluate = SearchProblem(DIGITS, section, CHEAP), Accuracy(tmp_path / "log")
    with open_storage(problem, tmp_path / "study.db") as storage:
        optimizer = Optimizer(problem, storage)
        while optimizer.archive.finished < section.trials:
            batch = [optimizer.ask() for _ in range(at_once)]
            for configuration in batch:
                assert configuration is not None and configuration.key not in asked
                asked.add(configuration.key)
                optimizer.tell(configuration, evaluate(configuration, lambda epoch, metrics: True))
    assert optimizer.archive.repeats > 10


def living() -> Counter[type]:
    gc.collect()
    return Counter(type(one) for one in gc.get_objects() if type(one) in (FrozenTrial, Architecture))


def test_what_is_kept_of_a_candidate_is_the_trial_of_the_sampler(tmp_path: Path) -> None:
    """Candidates and architectures are on disk, however many there are."""
    before = living()
    sampler = SamplerSection(class_path="RandomSampler", init_args={})
    section = SearchSection(trials=150, objectives=["accuracy"], sampler=sampler)
    problem = SearchProblem(CIFAR, section, CHEAP)
    with open_storage(problem, tmp_path / "s.db") as storage:
        optimizer = Optimizer(problem, storage)
        make = partial(same, Accuracy(tmp_path / "log"))
        with LocalEngine(EngineContext(make, section, NopPruner(), tmp_path, CIFAR)) as engine:
            run_loop(optimizer, engine)
        alive = living() - before
        assert optimizer.archive.count("evaluated") == 150
        assert alive[FrozenTrial] <= len(optimizer.sampler.study.get_trials(deepcopy=False)) + 10
        assert alive[Architecture] <= len(optimizer.archive.front.candidates) + len(CIFAR.presets) + 10
        keys = [trial.user_attrs["key"] for trial in storage.writer.stored(["stem.width"])]
        assert keys == [trial.user_attrs["key"] for trial in storage.writer.study.trials]


def test_a_genetic_sampler_breeds_from_what_the_walk_found(tmp_path: Path) -> None:
    run = Run(tmp_path, space=CIFAR)
    sampler = {"class_path": "NSGAIISampler", "init_args": {"population_size": 6}}
    run.search(trials=30, proposals=20, constraints={"latency_ms": 0.13}, sampler=sampler)
    origins = Counter(trial.user_attrs["origin"] for trial in run.trials(TrialState.COMPLETE))
    assert origins["walk"] >= 3  # random proposals are all beyond this limit
    assert origins["sampler"] >= 15


def test_a_trial_that_ends_its_process_is_failed_after_three_starts_whoever_proposed_it(tmp_path: Path) -> None:
    """The smallest network comes first, whatever was begun before: without a record it would be begun for ever."""
    code = (
        "import sys; from pathlib import Path; from searches import DIGITS, Run\n"
        "run = Run(Path(sys.argv[1]), resumable=True, broken={DIGITS.smallest.key: 'kill'})\n"
        "run.search(trials=6)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = [subprocess.run(command, env=environment, timeout=PATIENCE_S).returncode for _ in range(4)]
    assert ended == [-signal.SIGKILL] * 3 + [0]
    run = Run(tmp_path, resumable=True)
    (failed,) = run.trials(TrialState.FAIL)
    assert failed.user_attrs["key"] == DIGITS.smallest.key
    assert "ended the whole process 3 times" in failed.user_attrs["reason"]
    assert len(run.trials(TrialState.COMPLETE)) == 5
    run.search(trials=8)
    assert len(run.trials(TrialState.FAIL)) == 1 and run.evaluated.count(DIGITS.smallest.key) == 3


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    """Those of a URL among them, which is how Optuna is told of a file."""
    folder = tmp_path / "odd %41 ?x=1#y {z} ü"
    folder.mkdir()
    with open_storage(SearchProblem(TINY, SearchSection(), CHEAP), folder / "study.db") as storage:
        assert list(storage.writer.stored()) == []
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
