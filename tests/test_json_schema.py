"""The JSON Schema of sweeps and search spaces takes every file that is read, and refuses what is misspelt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ffnet_search.config.json_schema import json_schema
from ffnet_search.config.sweep import Sweep

ROOT = Path(__file__).parents[1]
SPACE = {"input": {"resolution": 8, "classes": 10}, "stages": [{"depth": [1, 2], "width": 16}]}
SPELLINGS: list[dict[str, Any]] = [
    {"search_space": "space.yaml"},
    {
        "search_space": {**SPACE, "input": {"resolution": 8, "classes": 2, "task": "segmentation"}},
        "task": "segmentation",
    },
    {"search_space": {"architecture": "ffnet_1", "input": {"resolution": 64, "classes": 3}, "hyperparameters": {}}},
    {
        "search_space": {
            "hyperparameters": {"learning_rate": {"low": 1e-4, "high": 1e-1}, "optimizer": ["adamw", "sgd"]}
        }
    },
    {"latency": [{"name": "a"}, {"name": "b", "threads": 2}]},
    {"latency": {"backend": "onnxruntime", "noisy": True}},
    {"search": {"sampler": "TPESampler", "constraints": {"latency_ms": 5}}},
    {"search": {"sampler": {"class_path": "my:Sampler", "init_args": {"a": 1}}}},
    {"train": {"callbacks": ["my:Callback", {"class_path": "my:Other"}], "loggers": []}},
    {"export": {"top": 3, "retrain": {"from": "scratch", "epochs": 0}}},
]
WRONG = [
    {"sead": 1},
    {"train": {"epocs": 3}},
    {"train": {"epochs": "many"}},
    {"data": {"augment": {"flip": 3.5}}},
    {"search_space": {"stages": [{"depth": [1], "widht": [16]}]}},
    {"latency": [{"threds": 2}]},
]


def contents() -> dict[str, dict[str, Any]]:
    read = {path.stem: yaml.safe_load(path.read_text()) for path in ROOT.glob("sweeps/*.yaml")}
    return {name: content.get("metadata", {}).get("sweep", content) for name, content in read.items()}


def errors(kind: Any, content: Any) -> list[str]:
    schema = json_schema(kind)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    return [error.message for error in validator.iter_errors(content)]


@pytest.mark.parametrize(("name", "content"), contents().items())
def test_every_shipped_sweep_is_valid(name: str, content: dict[str, Any]) -> None:
    assert errors("sweep", content) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("search_spaces/*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_search_space_is_valid(path: Path) -> None:
    assert errors("space", yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("content", SPELLINGS, ids=str)
def test_every_spelling_is_valid(content: dict[str, Any]) -> None:
    assert errors("sweep", {"search_space": SPACE, **content}) == []


def test_a_resolved_sweep_is_valid() -> None:
    sweep = Sweep.from_yaml(ROOT / "sweeps" / "digits.yaml")
    assert errors("sweep", sweep.model_dump(mode="json")) == []


@pytest.mark.parametrize("content", WRONG, ids=str)
def test_a_wrong_key_or_value_is_not_valid(content: dict[str, Any]) -> None:
    assert errors("sweep", {"search_space": SPACE, **content})


def test_sections_are_described() -> None:
    definitions = json_schema("sweep")["$defs"]
    assert "sandwich rule" in definitions["TrainSection"]["description"]
    assert definitions["TrainSection"]["properties"]["epochs"]["default"] == 30
