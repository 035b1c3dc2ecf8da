"""Tasks and metrics of a sweep by import path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sweep_content import TINY, load

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError

TASK = "user_task:Regression"
OTHER = {"input": {"channels": 1, "resolution": 8, "numbers": 5}, "stages": TINY["search_space"]["stages"]}


@pytest.mark.parametrize("in_a_file", [True, False])
def test_a_task_by_import_path_reaches_the_search_space_and_the_objectives(tmp_path: Path, in_a_file: bool) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(OTHER))
    sweep = load(tmp_path, {"task": TASK, "search_space": "space.yaml" if in_a_file else OTHER})
    assert (sweep.search_space.images.task, sweep.search_space.images.outputs) == (TASK, 5)
    assert sweep.search.directions == {"mae": "minimize", "latency_ms": "minimize"}
    assert sweep.quality.name == "mae"
    assert sweep.override(trials=3).search.objectives == ("mae", "latency_ms")
    copy = Sweep.from_content(sweep.model_dump(mode="json"), tmp_path / "copy.yaml")
    assert copy.model_dump() == sweep.model_dump() and copy.digest == sweep.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"task": TASK, "search_space": OTHER, "search": {"constraints": {"mae": 0}}}, "constraints.mae must be > 0"),
        ({"task": TASK, "search_space": OTHER, "search": {"objectives": ["mea"]}}, "'mea' is not a known metric"),
        ({"task": TASK, "search_space": OTHER, "search": {"metrics": ["mae"]}}, "search.metrics must be a mapping"),
        ({"search_space": OTHER}, "search_space.input.classes must be given"),
        (
            {"search_space": {**OTHER, "input": {**OTHER["input"], "task": TASK}}},
            "task must be 'user_task:Regression', the search space's, but got 'classification'",
        ),
    ],
)
def test_a_task_that_does_not_fit_is_one_sentence(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        load(tmp_path, content)


@pytest.mark.parametrize("name", ["f1", "recall", "precision"])
def test_a_metric_of_a_user_module_may_have_the_name_of_one_of_a_class(tmp_path: Path, name: str) -> None:
    search = {"evaluator": "train", "metrics": {name: "maximize"}, "objectives": [name]}
    space = {"hyperparameters": {"module.depth": [1, 2]}}
    content = {"search_space": space, "module": {"class_path": "mine:Net"}, "search": search}
    assert load(tmp_path, yaml.safe_dump(content)).search.metric(name).direction == "maximize"


def test_a_class_path_may_be_spelled_with_dots_as_by_lightning(tmp_path: Path) -> None:
    space = {"hyperparameters": {"module.depth": [1, 2]}}
    search = {"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"]}
    content = {"search_space": space, "module": {"class_path": "mine.net.Net"}, "search": search}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    module = Sweep.from_yaml(path).module
    assert module is not None
    assert module.class_path == "mine.net:Net"
