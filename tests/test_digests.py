"""The digests of a sweep change with what the output of a stage depends on, and with nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sweep_content import TINY, digests, load, with_change

from ffnet_search.config.later_fields import LATER
from ffnet_search.config.sweep import Sweep
from ffnet_search.run.stages import STAGES


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("search_space.stages.0.width", [16, 48], STAGES),
        ("seed", 1, ("train", "search", "export")),
        ("data.batch_size", 32, ("train", "search", "export")),
        ("data.augment.crop", 2, ("train", "search", "export")),
        ("train.epochs", 3, ("train", "search", "export")),
        ("train.learning_rate", 0.1, ("train", "search", "export")),
        ("latency.threads", 2, ("profile", "search", "export")),
        ("latency.rounds", 9, ("profile", "search", "export")),
        ("search.objectives", ["accuracy", "macs_m"], ("search", "export")),
        ("search.constraints", {"params_m": 0.1}, ("search", "export")),
        ("search.sampler", {"class_path": "NSGAIISampler", "init_args": {}}, ("search", "export")),
        ("export.retrain.epochs", 2, ("export",)),
        ("export.retrain.candidates", 20, ()),
        ("search.trials", 999, ()),
        ("export.top", 3, ()),
        ("data.workers", 7, ()),
        ("data.download", True, ()),
        ("data.path", "elsewhere", ()),
        ("train.checkpoint_minutes", 9, ()),
        ("latency.noisy", True, ()),
        ("search_space.name", "renamed", ()),
        ("name", "renamed", ()),
        ("runs", "elsewhere", ()),
    ],
)
def test_digests_change_with_what_an_output_depends_on(path: str, value: Any, changed: tuple[str, ...]) -> None:
    before, after = Sweep.model_validate(TINY), Sweep.model_validate(with_change(path, value))
    assert {stage for stage in STAGES if digests(before)[stage] != digests(after)[stage]} == set(changed)


def test_more_is_told_apart_from_other() -> None:
    before, after = Sweep.model_validate(TINY), Sweep.model_validate(with_change("search.trials", 999))
    assert {name for name, stage in STAGES.items() if stage.amounts(before) != stage.amounts(after)} == {
        "search",
        "export",
    }
    after = Sweep.model_validate(with_change("export.top", 3))
    assert {name for name, stage in STAGES.items() if stage.amounts(before) != stage.amounts(after)} == {"export"}


def test_digests_do_not_depend_on_the_order_or_the_spelling_of_keys(tmp_path: Path) -> None:
    written_out = {**TINY, "train": {"weight_decay": 0.05, "epochs": 30}, "seed": 0}
    turned = dict(reversed(list(written_out.items())))
    assert {Sweep.model_validate(data).digest for data in (TINY, written_out, turned)} == {load(tmp_path, TINY).digest}


def sections(of: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for one in of.__subclasses__():
        yield one
        yield from sections(one)


def test_a_dump_is_the_same_for_each_pydantic_that_is_allowed() -> None:
    """2.11, which LiteRT's converter needs, knows no `exclude_if`: runs would be changed for it, and trained again."""
    fields = [field for section in sections() for field in section.model_fields.values()]
    assert not [field for field in fields if getattr(field, "exclude_if", None)]
    later = {name for one in sections() for name, field in one.model_fields.items() if LATER in field.metadata}
    assert {"turn", "folds", "columns", "loggers"} <= later
    content = Sweep.model_validate(TINY).model_dump()
    for section in (content["data"], content["data"]["augment"], content["export"], content["train"]):
        assert not (later - {"loggers"}) & set(section)
    assert "loggers" not in content["search"]
    changed = Sweep.model_validate(with_change("data.augment.turn", True))
    assert changed.model_dump()["data"]["augment"]["turn"] is True
