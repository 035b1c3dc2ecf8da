"""Hyper-parameters: how they are written, which names and values are refused, and that a search draws them rightly."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from recipes import ALONE, INPUT, RECIPE, space_of

from ffnet_search.config.binding import current_values
from ffnet_search.config.schema import Augment, DataSection, TrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import PRESETS, Architecture
from ffnet_search.space.hyperparameters import Hyperparameter, combinations, settle
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse

ROOT = Path(__file__).parents[1]


def sweep_of(folder: Path, hyperparameters: Mapping[str, Any], **more: Any) -> Sweep:
    content: dict[str, Any] = {
        "search_space": {**ALONE, "hyperparameters": hyperparameters},
        "search": {"evaluator": "train", "objectives": ["accuracy"]},
    }
    (folder / "s.yaml").write_text(yaml.safe_dump({**content, **more}))
    return Sweep.from_yaml(folder / "s.yaml")


@pytest.mark.parametrize(
    ("one", "kind", "size"),
    [
        ({"low": 1, "high": 5}, "int", 5),
        ({"low": 2, "high": 9, "step": 3}, "int", 3),
        ({"low": 0.0, "high": 1.0}, "float", math.inf),
        ({"low": 0, "high": 1.0, "step": 0.25}, "float", 5),
        ({"low": 1e-4, "high": 1, "log": True}, "float", math.inf),
        ({"low": 1, "high": 16, "log": True}, "int", 16),
        (["adamw", "sgd"], "categorical", 2),
        ([None, 0.1, 1], "categorical", 3),
    ],
)
def test_what_is_drawn_is_one_of_its_values(one: Any, kind: str, size: float) -> None:
    found, rng = Hyperparameter.model_validate(one), random.Random(0)
    assert (found.kind, found.size) == (kind, size)
    drawn = [found.draw(rng) for _ in range(400)]
    if found.choices is None:
        low, high = found.range
        assert all(type(value).__name__ == kind and low <= value <= high for value in drawn)  # type: ignore[operator]
    assert all(found.nearest(value) == pytest.approx(value) for value in drawn if value is not None)
    if size < math.inf:
        assert len(set(drawn)) == size
    else:
        assert len(set(drawn)) > 300


@pytest.mark.parametrize("one", [{"low": 1, "high": 3}, {"low": 0.0, "high": 1.0, "step": 0.5}], ids=str)
def test_the_values_of_a_grid_are_equally_likely(one: Any) -> None:
    rng, hyperparameter = random.Random(0), Hyperparameter.model_validate(one)
    counts = Counter(hyperparameter.draw(rng) for _ in range(3000))
    assert len(counts) == 3 and all(900 < count < 1100 for count in counts.values())  # the seed is given


def test_the_nearest_of_what_is_not_in_it() -> None:
    rate = Hyperparameter(low=1e-4, high=1e-2, log=True)
    assert (rate.nearest(1.0), rate.nearest(0.0)) == (1e-2, 1e-4)
    assert rate.nearest(None) == pytest.approx(1e-3)  # the middle
    assert Hyperparameter(low=16, high=64, step=16).nearest(50) == 48
    assert Hyperparameter.model_validate(["a", "b"]).nearest("c") == "a"


def test_conditions_decide_what_there_is() -> None:
    hyperparameters = space_of(dict(reversed(RECIPE.items()))).hyperparameters  # whatever order they are written in
    rng, seen = random.Random(0), Counter[tuple[str, ...]]()
    for _ in range(50):
        values = settle(hyperparameters, lambda name, one: one.draw(rng))
        assert ("momentum" in values) == (values["optimizer"] == "sgd")
        seen[tuple(values)] += 1
    assert len(seen) == 2
    finite = {name: one for name, one in RECIPE.items() if name not in ("learning_rate", "momentum")}
    drawn = {
        tuple(settle(space_of(finite).hyperparameters, lambda name, one: one.draw(rng)).items()) for _ in range(2000)
    }
    assert combinations(space_of(finite).hyperparameters) == len(drawn) == (6 + 1) * 4


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"epochs": {"low": 5, "high": 5}}, r"epochs: low < high must hold, but got low=5, high=5"),
        ({"epochs": {"low": 5}}, r"epochs: must have low and high, or choices"),
        ({"epochs": {"low": 1, "high": 4, "choices": [1]}}, r"epochs: choices must stand alone"),
        ({"epochs": {"low": True, "high": 4}}, r"epochs.low must be a number, but got True$"),
        ({"epochs": {"low": 1, "high": "4"}}, r"epochs.high must be a number, but got '4'; remove the quotes$"),
        ({"epochs": {"low": 1, "hihg": 4}}, r"epochs.hihg is not a known key; did you mean 'high'"),
        ({"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, r"log must go with low > 0 and without step"),
        ({"epochs": {"low": 1, "high": 4, "step": 0.5}}, r"step must be a whole number between whole numbers"),
        ({"optimizer": ["sgd", "sgd"]}, r"must not repeat a value"),
        ({"momentum": {"low": 0.1, "high": 0.2, "when": {"optimizer": "sgd"}}}, r"momentum.when: 'optimizer' must be"),
        ({"optimizer": ["adamw", "sgd"], "momentum": {"low": 0.1, "high": 0.2, "when": {"optimiser": "sgd"}}},
         r"momentum.when: 'optimiser' must be another one that has choices; did you mean 'optimizer'"),
        ({"optimizer": ["adamw", "sgd"], "momentum": {"low": 0.1, "high": 0.2, "when": {"optimizer": "adam"}}},
         r"momentum.when: optimizer must be one of \['adamw', 'sgd'\], but got 'adam'"),
        ({"ema": {"choices": [0.0], "when": {"mixup": 0.0}}, "mixup": {"choices": [0.0], "when": {"ema": 0.0}}},
         r"the conditions of ema, mixup form a cycle"),
    ],
)  # fmt: skip
def test_what_is_written_wrongly_is_one_sentence(hyperparameters: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        space_of(hyperparameters)


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"learning_rat": [0.1]}, r"learning_rat is not a field of `train` or `data`.*did you mean 'learning_rate'"),
        ({"data.augment.cutuot": [1]}, r"did you mean 'data.augment.cutout'"),
        ({"module.hidden": [1]}, r"module.hidden is not a field"),
        ({"sampled": [1, 2]}, r"sampled is not a field"),  # of a supernet alone
        ({"minutes": [1.0, 2.0]}, r"minutes is not a field"),
        ({"cutout": [2, 4], "data.augment.cutout": [2]}, r"cutout and data.augment.cutout are the same field"),
        ({"epochs": {"low": 0, "high": 4}}, r"hyperparameters.epochs: epochs must be > 0, but got 0"),
        ({"momentum": [0.9, 1.5]}, r"hyperparameters.momentum: momentum must be < 1, but got 1.5"),
        ({"optimizer": ["adamw", "adam"]}, r"optimizer must be 'muon', 'adamw' or 'sgd', but got 'adam'"),
        ({"mixup": {"low": 0, "high": 1}}, r"mixup: low 0 and high 1 are whole numbers.*write 0.0 and 1.0"),
        ({"batch_size": {"low": 8.0, "high": 64.0}}, r"batch_size: low and high must be whole numbers"),
    ],
)
def test_a_name_or_value_that_the_recipe_lacks_is_one_sentence(
    tmp_path: Path, hyperparameters: Any, message: str
) -> None:
    with pytest.raises(SweepError, match=message):
        sweep_of(tmp_path, hyperparameters)


def test_every_field_has_one_short_name() -> None:
    fields = [*TrainSection.model_fields, "batch_size", *Augment.model_fields]
    assert len(set(fields)) == len(fields)


@pytest.mark.parametrize("place", ["", "long"])
def test_rules_know_a_field_by_both_its_names(tmp_path: Path, place: str) -> None:
    train, augment = ("train.", "data.augment.") if place else ("", "")
    sweep_of(tmp_path, {f"{train}optimizer": ["adamw", "sgd"]}, train={"optimizer": "adamw", "momentum": 0.8})
    sweep_of(tmp_path, {f"{augment}randaugment": [0, 1]}, data={"augment": {"magnitude": 5}})
    for name, value in (("branches", "none"), ("layer_scale", 0.1)):
        space = {"input": INPUT, "stages": [{"depth": 1, "width": [8, 16]}]}
        warm: dict[str, Any] = {"evaluator": "train", "warm_start": True}
        with pytest.raises(SweepError, match="branches and layer_scale are the supernet's under search.warm_start"):
            sweep_of(tmp_path, {}, search_space={**space, "hyperparameters": {f"{train}{name}": [value]}}, search=warm)


def test_values_come_to_their_places(tmp_path: Path) -> None:
    names = {**RECIPE, "cutout": [0, 2], "train.drop_path": [0.0, 0.1], "ema": [0.0, 0.9]}
    names |= {"cutmix": [0.0, 1.0], "magnitude": [5, 9]}  # which are written only where they are not the default
    sweep = sweep_of(tmp_path, names, train={"momentum": 0.95}, data={"augment": {"flip": True}})
    assert current_values(sweep) == {
        "learning_rate": 8e-3, "optimizer": "muon", "momentum": 0.95, "weight_decay": 0.05, "batch_size": 128,
        "cutout": 0, "train.drop_path": 0.0, "ema": 0.0, "cutmix": 0.0, "magnitude": 9,
    }  # fmt: skip
    trial = sweep.with_values({"learning_rate": 0.01, "batch_size": 32, "cutout": 2, "train.drop_path": 0.1})
    assert trial.train == TrainSection(learning_rate=0.01, drop_path=0.1, momentum=0.95)
    assert trial.data == DataSection(batch_size=32, augment=Augment(flip=True, cutout=2))
    assert trial.path == sweep.path
    assert sweep.train.learning_rate == 8e-3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"momentum": 1.5}, "hyperparameters: momentum must be < 1, but got 1.5"),
        ({"optimizer": "adam"}, "hyperparameters: optimizer must be 'muon', 'adamw' or 'sgd', but got 'adam'"),
        ({"momentun": 0.5}, "hyperparameters: 'momentun' is not one of the sweep; did you mean 'momentum'"),
    ],
)
def test_values_that_are_not_allowed_are_one_sentence(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        sweep_of(tmp_path, RECIPE).with_values(values)


def test_arguments_of_own_modules_are_named_by_their_path(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path,
        {},
        search_space={"hyperparameters": {"module.hidden": [8, 16], "data.init_args.size": [1, 2], "epochs": [1, 2]}},
        module={"class_path": "mine.net:Net", "init_args": {"depth": 3}},
        data={"name": "mine.data:Data"},
        search={"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss", "latency_ms"]},
    )
    trial = sweep.with_values({"module.hidden": 8, "data.init_args.size": 2, "epochs": 1})
    assert trial.module is not None
    assert trial.module.init_args == {"depth": 3, "hidden": 8}
    assert (trial.data.init_args, trial.train.epochs) == ({"size": 2}, 1)
    assert sweep.search.directions == {"val_loss": "minimize", "latency_ms": "minimize"}
    with pytest.raises(SweepError, match=r"learning_rate is not a field.*or an argument: module.NAME"):
        sweep_of(
            tmp_path,
            {},
            search_space={"hyperparameters": {"learning_rate": [0.1]}},
            module={"class_path": "a:B"},
            search={"evaluator": "train", "metrics": {"x": "minimize"}, "objectives": ["x"]},
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["module.depth.first"], r"module.depth.first must be inside a mapping, but module.init_args.depth is 3"),
        (["module.rates.0"], r"module.rates.0 must be inside a mapping, but module.init_args.rates is \[0.9\]"),
        (["module.a", "module.a.b"], r"module.a.b must be .* but module.init_args.a is a hyper-parameter itself"),
    ],
)
def test_an_argument_inside_a_plain_value_is_one_sentence(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        sweep_of(
            tmp_path,
            {},
            search_space={"hyperparameters": {name: [1, 2] for name in names}},
            module={"class_path": "mine.net:Net", "init_args": {"depth": 3, "rates": [0.9]}},
            search={"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"]},
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"search": {}}, r"search.evaluator must be 'train' where search_space.hyperparameters is given"),
        ({"search": {"evaluator": "train"}}, r"search.objectives must not have latency_ms, which would be the same"),
        ({"search": {"evaluator": "train", "objectives": ["accuracy"], "constraints": {"macs_m": 1}}},
         r"search.constraints must be left out where search_space has no stages"),
        ({"search": {"evaluator": "train", "objectives": ["accuracy"], "warm_start": True}},
         r"search.warm_start must be left out where search_space has no stages"),
        ({"search": {"evaluator": "train", "objectives": ["val_loss"]}}, r"'val_loss' is not a known metric"),
        ({"search": {"evaluator": "train", "objectives": ["accuracy"], "metrics": {"val_loss": "minimize"}}},
         r"search.metrics must be left out where no module"),
        ({"module": {"class_path": "mine:Net"}}, r"module must be given where search_space has neither"),
        ({"module": {"class_path": "mine"}}, r"module.class_path must match pattern"),
    ],
)  # fmt: skip
def test_sections_that_do_not_fit_together_are_one_sentence(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        sweep_of(tmp_path, RECIPE, **change)


def test_one_architecture_by_preset_file_or_content(tmp_path: Path) -> None:
    arch = Architecture.preset("ffnet_1", Input(1, 32, 10))
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(arch.to_dict()))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"architecture": "net.yaml", "hyperparameters": RECIPE}))
    (tmp_path / "sweep.yaml").write_text(
        yaml.safe_dump({"search_space": "space.yaml", "search": {"evaluator": "train", "objectives": ["accuracy"]}})
    )
    by_file = Sweep.from_yaml(tmp_path / "sweep.yaml").search_space
    for space in (space_of(RECIPE), by_file, SearchSpace.model_validate_json(by_file.model_dump_json())):
        assert space.architecture == space.largest == space.smallest == space.sample(random.Random(0)) == arch
        assert (space.size, space.axes(), space.images, arch in space) == (1, {}, arch.input, True)
    with pytest.raises(SweepError, match=r"no such file; architecture must be a preset .*; did you mean 'ffnet_1'"):
        SearchSpace.located({"architecture": "ffnet1"}, tmp_path)
    for content, message in (
        ({"architecture": {"class_path": "mine:Net"}}, "a network of your own is named by `module` in the sweep"),
        ({"architecture": "ffnet_1"}, "input must be given beside architecture 'ffnet_1'"),
        ({"architecture": "ffnet_1", "input": {**INPUT, "chanels": 1}}, "input.chanels is not a known key; did you"),
        ({"architecture": "ffnet_1", "input": {**INPUT, "task": None}}, "input.task must be text, but got nothing"),
        ({"architecture": arch.to_dict(), "input": INPUT}, "input must equal that of the architecture"),
        ({"architecture": arch.to_dict(), "stages": [{"depth": 1, "width": 8}]}, "stages and architecture cannot both"),
        ({}, "must have stages, an architecture or hyperparameters"),
        ({"stages": [{"depth": 1, "width": 8}]}, "input must be given: channels, resolution, classes"),
    ):
        with pytest.raises(SweepError, match=message):
            parse(SearchSpace, content, "space.yaml")
    assert "ffnet_1" in PRESETS
