"""Samplers of Optuna and user-supplied ones: every one searches, and a wrong one is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from searches import CHEAP, DIGITS, Run

from ffnet_search.config.search_schema import SamplerSection, SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.samplers.optuna import known_samplers, make_sampler

SAMPLERS = [*sorted(known_samplers()), "own_sampler:Alternating"]
ARGUMENTS = {
    "NSGAIISampler": {"population_size": 4},
    "NSGAIIISampler": {"population_size": 4},
    "own_sampler:Alternating": {"stride": 2},
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("objectives", [["accuracy"], ["accuracy", "latency_ms"]])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_sampler_searches_and_resumes(tmp_path: Path, name: str, objectives: list[str]) -> None:
    sampler = {"class_path": name, "init_args": ARGUMENTS.get(name, {})}
    run = Run(tmp_path)
    for trials in (10, 16):
        section = {"objectives": objectives, "sampler": sampler, "constraints": {"macs_m": 3.0}}
        assert len(run.search(trials=trials, **section)) == trials
    assert len(set(run.evaluated)) == len(run.evaluated) == 16
    origins = {trial.user_attrs["origin"] for trial in run.on_disk.trials}
    assert "sampler" in origins


@pytest.mark.parametrize("name", ["ParetoSampler", "RandomSampler", "NSGAIISampler", "own_sampler:Alternating"])
def test_the_same_seed_gives_the_same_proposals(tmp_path: Path, name: str) -> None:
    runs = [Run(tmp_path / folder, seed=seed) for folder, seed in (("a", 0), ("b", 0), ("c", 1))]
    for run in runs:
        run.folder.mkdir()
        run.search(trials=14, sampler={"class_path": name, "init_args": ARGUMENTS.get(name, {})})
    assert runs[0].evaluated == runs[1].evaluated != runs[2].evaluated


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("TPESampl", {}, "search.sampler.class_path must be one of .*, but got 'TPESampl'; did you mean 'TPESampler'"),
        ("CmaEsSampler", {}, "must be one of"),
        ("own_sampler:Altern", {}, "'own_sampler:Altern' must name a BaseSampler, but Altern does not exist; did you"),
        ("no_such_module:Mine", {}, "there is no module 'no_such_module' to import"),
        ("TPESampler", {"multivariat": True}, "'multivariat' is not a known argument; did you mean 'multivariate'"),
        ("TPESampler", {"seed": 3}, "'seed' must not be given"),
        (
            "NSGAIISampler",
            {"population_size": 1},
            "which are .*population_size.* refused by NSGAIISampler for 2 ob",
        ),
        ("ParetoSampler", {"start": 1}, "refused by ParetoSampler for 2 objective.*: start must be >= 2, but got 1"),
        ("NSGAIISampler", {"population_size": "big"}, "refused by NSGAIISampler"),
        ("own_sampler:Alternating", {"stride": 0}, "refused by Alternating for 2 objective.*: stride must be > 0"),
    ],
)
def test_a_wrong_sampler_is_one_sentence(name: str, args: dict[str, Any], message: str) -> None:
    section = SearchSection(sampler=SamplerSection(class_path=name, init_args=args))
    with pytest.raises(SweepError, match=message):
        make_sampler(SearchProblem(DIGITS, section, CHEAP), finished=0)


def test_an_error_of_a_user_supplied_sampler_is_one_sentence(tmp_path: Path) -> None:
    message = (
        r"^search.sampler own_sampler:Raising raised KeyError: .* \(own_sampler.py, line \d+\); correct it and give"
    )
    with pytest.raises(SweepError, match=message):
        Run(tmp_path).search(trials=40, sampler={"class_path": "own_sampler:Raising"})


@pytest.mark.parametrize(
    ("content", "args"),
    [
        ({}, {}),
        ("ParetoSampler", {}),
        ("TPESampler", {"multivariate": True}),
        ({"class_path": "TPESampler", "init_args": {}}, {}),
        ("RandomSampler", {}),
        ("own_sampler:Alternating", {}),
    ],
)
def test_tpe_alone_is_multivariate_by_default(content: Any, args: dict[str, Any]) -> None:
    section = SearchSection.model_validate({"sampler": content})
    assert section.sampler.init_args == args
    assert SearchSection.model_validate(section.model_dump()) == section
