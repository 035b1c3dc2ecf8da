"""How a class and its arguments are spelled in a sweep, today and before."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch.loggers import Logger
from optuna.samplers import BaseSampler

from ffnet_search.config.search_schema import SamplerSection
from ffnet_search.errors import SweepError
from ffnet_search.export.formats.base import Format
from ffnet_search.plugins import Plugin, find_class, import_path


@pytest.mark.parametrize(
    "content",
    [
        {"class_path": "a:B", "init_args": {"c": 1}},
        {"name": "a:B", "args": {"c": 1}},
        {"path": "a:B", "args": {"c": 1}},
        {"class_path": "a.B", "args": {"c": 1}},
    ],
)
def test_former_spellings_are_read(content: dict[str, Any]) -> None:
    assert Plugin.model_validate(content) == Plugin(class_path="a:B", init_args={"c": 1})


def test_two_spellings_of_one_are_refused() -> None:
    with pytest.raises(ValueError, match="name"):
        Plugin.model_validate({"class_path": "a:B", "name": "c:D"})


@pytest.mark.parametrize("content", ["TPESampler", {"class_path": "TPESampler"}, {"name": "TPESampler"}])
def test_tpe_is_multivariate_however_it_is_spelled(content: Any) -> None:
    assert SamplerSection.model_validate(content).init_args == {"multivariate": True}


def test_a_class_after_a_dot_is_answered_with_its_import_path() -> None:
    with pytest.raises(
        SweepError, match=r"must be one of pool or .*, but got 'my.blocks.Blur'; did you mean 'my.blocks:"
    ):
        import_path("my.blocks.Blur", "mixer", {"pool": "a:Pool"})


@pytest.mark.parametrize(
    ("path", "base", "lacking"),
    [
        ("lightning.pytorch.loggers:Logger", Logger, "log_hyperparams, log_metrics, name and version"),
        (
            "optuna.samplers:BaseSampler",
            BaseSampler,
            "infer_relative_search_space, sample_independent and sample_relative",
        ),
        ("ffnet_search.export.formats.base:Format", Format, "forward and write"),
    ],
)
def test_a_class_that_cannot_be_made_is_refused_where_it_is_named(path: str, base: type[Any], lacking: str) -> None:
    with pytest.raises(
        SweepError, match=f"^place: '{path}' must define {lacking}, as a subclass of {base.__name__} does$"
    ):
        find_class(path, "place", base)
