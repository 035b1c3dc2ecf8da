"""Callbacks and loggers that a sweep names by import path: checked before anything runs, and made."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from lightning import Callback
from lightning.pytorch.loggers import Logger

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.plugins import Plugin, check_arguments, find_class


def check_named(sweep: Sweep) -> None:
    """Raise SweepError if a callback or a logger of a sweep does not exist, or does not take its arguments."""
    for field, base, plugin in _named(sweep):
        kind = find_class(plugin.class_path, f"{field}.class_path", base)
        check_arguments(kind, _with_defaults(kind, plugin, {"save_dir": ""}), f"{field}.init_args")


def make_named(plugin: Plugin, field: str, base: type[Any], defaults: Mapping[str, str]) -> Any:
    """An object of the class that a plugin names, with its arguments, and those of `defaults` that it takes.

    Raises SweepError if the class does not exist, lacks a package, or does not take its arguments."""
    kind = find_class(plugin.class_path, f"{field}.class_path", base)
    arguments = _with_defaults(kind, plugin, defaults)
    check_arguments(kind, arguments, f"{field}.init_args")
    try:
        return kind(**arguments)
    except ImportError as error:
        raise SweepError(f"{field}.class_path {plugin.class_path!r} needs a package: {error}") from None


def _named(sweep: Sweep) -> Iterator[tuple[str, type[Any], Plugin]]:
    for index, plugin in enumerate(sweep.train.callbacks):
        yield f"train.callbacks.{index}", Callback, plugin
    for section, loggers in (("train", sweep.train.loggers), ("search", sweep.search.loggers)):
        for index, plugin in enumerate(loggers):
            yield f"{section}.loggers.{index}", Logger, plugin


def _with_defaults(kind: type[Any], plugin: Plugin, defaults: Mapping[str, str]) -> dict[str, Any]:
    known = inspect.signature(kind).parameters
    return {name: value for name, value in defaults.items() if name in known} | dict(plugin.init_args)
