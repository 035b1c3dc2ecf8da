"""The classes that a sweep names by import path, checked by their source: nothing is imported.

What a source shows to be wrong is refused in the sentence of a run, which imports the classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ffnet_search.config.binding import with_searched_arguments
from ffnet_search.config.sweep import Sweep
from ffnet_search.imports.module_source import syntax_error
from ffnet_search.imports.modules import find_module
from ffnet_search.imports.required_methods import DATA, MODULE, refuse_lacking, source_names
from ffnet_search.imports.source_class import MissingClass, SourceClass, source_class
from ffnet_search.plugins import Plugin, fit_arguments, is_import_path, not_importable, wrong_class
from ffnet_search.search.samplers.arguments import check_sampler_arguments

Fits = Callable[[str, inspect.Signature], None]  # of a class: its name, and what it is made with


class Named(NamedTuple):
    """A class that `field` names by import path. `base`: the class that it must be one of, in words; `fits` raises
    SweepError where it does not take the arguments of the sweep, None where it takes none, or judges them itself."""

    field: str
    path: str
    base: str = "class"
    fits: Fits | None = None


def check_sources(sweep: Sweep) -> None:
    """Raise SweepError where the source of a class that the sweep names shows that a run would refuse it."""
    for one in named_classes(sweep):
        find_module(one.path, one.field)
        error = syntax_error(one.path)
        if error is not None:
            raise not_importable(one.path, one.field, error)
        found = source_class(one.path)
        if isinstance(found, MissingClass):
            raise wrong_class(one.path, one.field, one.base, "does not exist", found.siblings(one.base))
        if isinstance(found, SourceClass) and one.fits is not None and found.signature is not None:
            one.fits(found.node.name, found.signature)
    if sweep.module is not None:
        _check_methods(sweep.module.class_path, sweep.data.name)


def _check_methods(module: str, data: str) -> None:
    """Raise SweepError where a user-supplied module or its data module lacks a method that a training calls."""
    defined = _names(module, "LightningModule", MODULE, "module.class_path")
    of_data = _names(data, "LightningDataModule", {}, "data.name")
    if defined is not None and of_data is not None:
        refuse_lacking("data.name", data.partition(":")[2], DATA, defined | of_data)


def _names(path: str, base: str, methods: Mapping[str, str], field: str) -> set[str] | None:
    """The names that the source of a class defines, which must have `methods`; None if they are not known."""
    found = source_class(path) if is_import_path(path) else None
    names = source_names(found, base) if isinstance(found, SourceClass) else None
    refuse_lacking(field, path.partition(":")[2], methods, names)
    return names


def named_classes(sweep: Sweep) -> Iterator[Named]:
    """The classes that a sweep names by import path, but for its task and mixers, which are imported with it."""
    for one in (*_of_data_and_search(sweep), *_of_training(sweep)):
        if is_import_path(one.path):
            yield one


def _of_data_and_search(sweep: Sweep) -> Iterator[Named]:
    trial, search = with_searched_arguments(sweep), sweep.search
    yield Named("data.name", trial.data.name, "LightningDataModule", _fitting(trial.data.init_args, "data"))
    if trial.module is not None:
        fits = _fitting(trial.module.init_args, "module")
        yield Named("module.class_path", trial.module.class_path, "LightningModule", fits)
    yield Named("search.engine", search.engine, "Engine")
    yield Named("search.early_stopping.rule", search.early_stopping.rule)
    yield Named("search.scheduler.class_path", search.scheduler.class_path, "TrialScheduler")
    takes = partial(_takes_sampler_arguments, sweep)
    yield Named("search.sampler.class_path", search.sampler.class_path, "BaseSampler", takes)
    for device in sweep.latency:
        yield Named("latency.backend", device.backend, "Backend")
    for name in sweep.export.formats:
        yield Named("export.formats", name, "Format")


def _of_training(sweep: Sweep) -> Iterator[Named]:
    for index, transform in enumerate(sweep.data.augment.transforms):
        field = f"data.augment.transforms.{index}"
        yield Named(f"{field}.class_path", transform.class_path, fits=_fitting(transform.init_args, field))
    yield from _plugins("train.callbacks", sweep.train.callbacks, "Callback")
    for section, loggers in (("train", sweep.train.loggers), ("search", sweep.search.loggers)):
        yield from _plugins(f"{section}.loggers", loggers, "Logger", {"save_dir": ""})
    yield from _plugins("report.baselines", sweep.report.baselines, "Module")


def _plugins(
    place: str, plugins: tuple[Plugin, ...], base: str, defaults: Mapping[str, Any] | None = None
) -> Iterator[Named]:
    for index, plugin in enumerate(plugins):
        fits = _fitting(plugin.init_args, f"{place}.{index}", defaults or {})
        yield Named(f"{place}.{index}.class_path", plugin.class_path, base, fits)


def _fitting(arguments: Mapping[str, Any], place: str, defaults: Mapping[str, Any] | None = None) -> Fits:
    """`defaults`: what a class is given, if it takes it, where the sweep does not say otherwise."""

    def fits(name: str, signature: inspect.Signature) -> None:
        taken = {key: value for key, value in (defaults or {}).items() if key in signature.parameters}
        fit_arguments(name, signature, {**taken, **arguments}, f"{place}.init_args")

    return fits


def _takes_sampler_arguments(sweep: Sweep, name: str, signature: inspect.Signature) -> None:
    check_sampler_arguments(sweep.search.sampler, signature.parameters)
