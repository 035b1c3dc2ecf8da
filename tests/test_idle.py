"""A setting that differs from its default and has no effect beside the others of a sweep is refused, in a sentence."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError
from tiny_sweep import TINY

from ffnet_search.config.schema import DataSection, TrainSection
from ffnet_search.config.sweep import Sweep

FFNET: dict[str, Any] = {"name": "ours", "search_space": TINY}
MODULE: dict[str, Any] = {
    "name": "theirs",
    "module": {"class_path": "my_network:Small"},
    "data": {"name": "my_network:Waves"},
    "search_space": {"hyperparameters": {"module.width": [4, 8]}},
    "search": {"evaluator": "train", "metrics": {"val_error": "minimize"}, "objectives": ["val_error"]},
}
CHANGED: dict[str, Any] = {  # fields of `train` to which no number can be added
    "minutes": 1,
    "optimizer": "sgd",
    "class_weights": "auto",
    "branches": "all",
    "start_from": "ffnet_1",
    "callbacks": [{"class_path": "a:B"}],
    "loggers": [{"class_path": "a:B"}],
}


def with_values(content: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The content with values at dotted paths."""
    content = copy.deepcopy(content)
    for path, value in values.items():
        *steps, last = path.split(".")
        place = content
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("base", "idle", "cure"),
    [
        (FFNET, {"search.workers": 2}, {"search.engine": "ray"}),
        (FFNET, {"search.wait_minutes": 2}, {"search.engine": "tune"}),
        (FFNET, {"search.wait_minutes": 2}, {"train.devices": 2}),
        (FFNET, {"search.resources": {"cpu": 2}}, {"search.engine": "my_package:Engine"}),
        (
            FFNET,
            {"search.scheduler.init_args": {"a": 1}},
            {"search.engine": "tune", "search.scheduler.class_path": "A"},
        ),
        (FFNET, {"train.momentum": 0.5, "train.optimizer": "adamw"}, {"train.optimizer": "muon"}),
        (FFNET, {"train.labels": 0.2, "train.sampled": 0}, {"train.sampled": 1}),
        (FFNET, {"data.augment.magnitude": 3}, {"data.augment.randaugment": 1}),
        (FFNET, {"export.retrain": {"epochs": 0, "rate": 2.0}}, {"export.retrain.epochs": 1}),
        (FFNET, {"export.retrain": {"epochs": 0, "from": "scratch"}}, {"export.retrain.epochs": 1}),
        (FFNET, {"data": {"name": "a:B", "validation": 0.3}}, {"data": {"name": "digits", "validation": 0.3}}),
        (MODULE, {"latency.held_out": 30}, {"latency": {"rounds": 5}}),
        (MODULE, {"report.baselines": ["torch.nn:Identity"]}, {"report.baselines": []}),
    ],
)
def test_what_has_no_effect_is_refused(base: dict[str, Any], idle: dict[str, Any], cure: dict[str, Any]) -> None:
    place = next(iter(idle))
    with pytest.raises(ValidationError, match=rf"{place}[\w.]* must be left out .*; remove it"):
        Sweep.model_validate(with_values(base, idle))
    assert Sweep.model_validate(with_values(base, {**idle, **cure}))


def test_what_has_no_effect_for_one_reason_is_named_at_once() -> None:
    idle = {"search.workers": 2, "search.resources": {"cpu": 2}, "train.momentum": 0.5, "train.optimizer": "adamw"}
    wanted = "search.workers and search.resources must be left out where search.engine is 'local', .*; remove them"
    with pytest.raises(ValidationError, match=wanted):
        Sweep.model_validate(with_values(FFNET, {**idle, "train.optimizer": "sgd"}))
    with pytest.raises(ValidationError, match="train.momentum must be left out .*; remove it"):
        Sweep.model_validate(with_values(FFNET, idle))


@pytest.mark.parametrize("name", TrainSection.model_fields)
def test_of_train_a_module_takes_what_its_trainer_takes(name: str) -> None:
    """Every other field is its own business: its optimiser, its loss, its schedule."""
    default = TrainSection.model_fields[name].default
    changed = CHANGED[name] if name in CHANGED else default + (1 if isinstance(default, int) else 0.09)
    content = with_values(MODULE, {f"train.{name}": changed})
    if name in ("epochs", "ema", "callbacks", "loggers"):
        assert Sweep.model_validate(content)
    else:
        with pytest.raises(ValidationError, match=f"train.{name} must be left out"):
            Sweep.model_validate(content)


@pytest.mark.parametrize("name", ["batch_size", "calibration"])
def test_networks_of_ours_take_batches_and_calibration_from_a_user_s_data(name: str) -> None:
    content = {"data": {"name": "my_network:Waves", name: 64}}
    assert getattr(Sweep.model_validate({**FFNET, **content}).data, name) == 64
    with pytest.raises(ValidationError, match=f"data.{name} must be left out for my_network:Waves, which reads"):
        Sweep.model_validate({**MODULE, **content})


def test_what_was_resolved_is_read_again() -> None:
    """A run's folder holds every default: none of them is refused."""
    for content in (FFNET, MODULE):
        sweep = Sweep.model_validate(content)
        assert Sweep.model_validate(sweep.model_dump(mode="json")) == sweep
    assert set(DataSection.model_fields) > {"batch_size", "calibration"}
