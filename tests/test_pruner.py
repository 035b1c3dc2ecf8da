"""Stopping rules by name or import path, and what a sweep may say of them."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from searches import Impatient

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.search.early_stopping.asha import SuccessiveHalving
from ffnet_search.search.early_stopping.pruner import TrialPruner, make_rule
from ffnet_search.strict_yaml import parse


def section(objectives: tuple[str, ...] = ("accuracy",), **early_stopping: Any) -> SearchSection:
    return parse(
        SearchSection, {"objectives": objectives, "evaluator": "train", "early_stopping": early_stopping}, "sweep"
    )


@pytest.mark.parametrize(
    ("how", "pruner"),
    [
        ({"rule": "median", "min_epochs": 3}, MedianPruner(n_warmup_steps=3)),
        ({"rule": "hyperband", "max_epochs": 12, "reduction": 3}, HyperbandPruner(1, 12, reduction_factor=3)),
        ({"rule": "hyperband"}, HyperbandPruner(1, "auto", reduction_factor=2)),
    ],
)
def test_optunas_pruners_answer_as_they_do_in_optuna(how: dict[str, Any], pruner: BasePruner) -> None:
    rule, rng = make_rule(section(**how)), random.Random(0)
    assert rule is not None
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name="early stopping")
    stopped = 0
    for number in range(40):
        trial, final = study.ask(), rng.random()
        for epoch in range(1, 12):
            trial.report(final * epoch, epoch)
            goes_on = rule.report(str(number), epoch, {"accuracy": final * epoch, "latency_ms": 1.0})
            assert goes_on != trial.should_prune()
            assert rule.report(str(number), epoch, {"accuracy": 0.0}) == goes_on  # told again, answered as before
            if not goes_on:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                stopped += 1
                break
        else:
            study.tell(trial, final * 11)
            rule.finish(str(number))
    assert 10 < stopped < 40


def test_the_fields_of_a_sweep_reach_the_rule() -> None:
    how = {"min_epochs": 2, "reduction": 4, "brackets": 2, "max_epochs": 50, "tie_break": "hypervolume"}
    sweep = section(("accuracy", "latency_ms"), rule="asha", **how)
    rule = make_rule(sweep.model_copy(update={"constraints": {"params_m": 1.0}}))
    assert isinstance(rule, SuccessiveHalving)
    assert (rule.min_epochs, rule.reduction, rule.brackets, rule.max_epochs) == (2, 4, 2, 50)
    assert rule.tie_break.__name__ == "most_hypervolume"
    assert rule.objectives == {"accuracy": "maximize", "latency_ms": "minimize"}
    assert rule.limits == {"params_m": 1.0}
    assert make_rule(section()) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"early_stopping": {"rule": "median"}},
            r"'median' must have one objective, since it compares single values, but there are 2 \(accuracy, latency_ms"
            r"\); use rule 'asha', or one objective",
        ),
        (
            {"early_stopping": {"rule": "ashe"}},
            "rule: must be one of none, asha, .* or package.module:Class, but got 'ashe'; did you mean 'asha'",
        ),
        ({"early_stopping": {"rule": "asha", "reduction": 1}}, "early_stopping.reduction must be > 1, but got 1"),
        ({"early_stopping": {"min_epochs": 3}}, "min_epochs is not an option of rule 'none'; remove it"),
        (
            {"objectives": ["accuracy"], "early_stopping": {"rule": "median", "brackets": 2}},
            "brackets is not an option of rule 'median'; remove it",
        ),
        (
            {"evaluator": "supernet", "early_stopping": {"rule": "asha"}},
            "'none' where evaluator is 'supernet', which scores a network without training it, but got 'asha'; remove",
        ),
        (
            {"scheduler": {"class_path": "ASHAScheduler"}},
            "ASHAScheduler requires engine 'tune', but engine is 'local'; use engine 'tune', or early_stopping",
        ),
        (
            {"engine": "tune", "early_stopping": {"rule": "asha"}, "scheduler": {"class_path": "ASHAScheduler"}},
            "must be 'none' where Tune's scheduler ASHAScheduler stops trials, but got 'asha'; remove one",
        ),
    ],
)
def test_a_user_error_is_one_sentence(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        parse(SearchSection, {"evaluator": "train", **content}, "sweep.yaml: search")


def test_an_objective_that_no_epoch_reports_is_a_user_error() -> None:
    how = section(("accuracy", "latency_ms"), rule="asha")
    pruner = TrialPruner(how.objectives, make_rule(how))
    assert pruner.report("a", 1, {"accuracy": 0.5, "latency_ms": 1.0})
    with pytest.raises(SweepError, match=r"latency_ms is neither \(there are accuracy\); use rule 'none'"):
        pruner.report("a", 2, {"accuracy": 0.5})
    assert TrialPruner(how.objectives, None).report("a", 2, {"accuracy": 0.5})


def test_a_user_supplied_rule_is_named_by_import_path() -> None:
    rule = make_rule(section(("accuracy", "latency_ms"), rule="searches:Impatient", min_epochs=3))
    assert isinstance(rule, Impatient) and rule.limit_ms == 0.02
    with pytest.raises(SweepError, match=r"search.early_stopping.rule: there is no .*|no module 'no_such_module'"):
        make_rule(section(rule="no_such_module:Rule"))
