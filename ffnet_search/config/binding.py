"""Hyper-parameters by name, each bound to a field of `train` or `data` or to an argument of a user-supplied class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ffnet_search.config.schema import Augment, TrainSection
from ffnet_search.errors import SweepError, did_you_mean, shown
from ffnet_search.plugins import is_import_path
from ffnet_search.space.hyperparameters import Hyperparameter, Value
from ffnet_search.space.registry import task_outputs
from ffnet_search.strict_yaml import Section, parse

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

# Fields of `train` that a supernet alone has, or that do not change the result.
NOT_SEARCHED = {"sampled", "labels", "minutes", "start_from", "checkpoint_minutes", "callbacks", "loggers", "devices"}
OF_ANY_MODULE = {"epochs", "ema"}  # fields of `train` that apply to a user-supplied module too
ARGUMENTS = "init_args"  # the field of a section that holds the arguments of a user-supplied class


class Binding(NamedTuple):
    """The place of a hyper-parameter's value: a field as it is written in a sweep, such as `data.augment.crop`."""

    path: str
    annotation: Any = None  # the type of the field; None for an argument, whose type and range are unknown


def bind(sweep: Sweep) -> dict[str, Binding]:
    """Name -> binding of the sweep's hyper-parameters. Raises ValueError if a name fits no field, or two fit one."""
    names: dict[Binding, str] = {}
    for name in sweep.search_space.hyperparameters:
        other = names.setdefault(_find(sweep, name), name)
        if other != name:
            raise ValueError(f"hyperparameters: {other} and {name} are the same field; remove one")
    bindings = {name: binding for binding, name in names.items()}
    _check_arguments(sweep, bindings)
    return bindings


def _check_arguments(sweep: Sweep, bindings: Mapping[str, Binding]) -> None:
    """Raise ValueError for an argument inside another hyper-parameter, or inside a value that is not a mapping."""
    paths = {binding.path for binding in bindings.values()}
    for name, binding in bindings.items():
        if binding.annotation is not None:
            continue
        section, field, *outer, _ = binding.path.split(".")
        place, value = f"{section}.{field}", getattr(getattr(sweep, section), field)
        for step in outer:
            place, value = f"{place}.{step}", value.get(step) or {}
            if place in paths or not isinstance(value, Mapping):
                found = "a hyper-parameter itself" if place in paths else shown(value)
                raise ValueError(f"hyperparameters: {name} must be inside a mapping, but {place} is {found}")


def searched_fields(sweep: Sweep) -> set[str]:
    """The fields that hyper-parameters set, such as `train.epochs`, however their names are spelled."""
    return {binding.path for binding in sweep.bindings.values()}


def check_values(sweep: Sweep) -> None:
    """Raise ValueError if a hyper-parameter may take a value that its field does not allow, or the networks of the
    task cannot be trained in the sweep's form."""
    _check_form(sweep)
    for name, one in sweep.search_space.hyperparameters.items():
        binding = sweep.bindings[name]
        if binding.annotation is None:
            continue
        _check_kind(name, one, binding.annotation)
        for value in one.extremes:
            try:
                sections_with(sweep, {name: value}, f"hyperparameters.{name}")
            except SweepError as error:
                raise ValueError(str(error)) from None


def _check_form(sweep: Sweep) -> None:
    """Raise ValueError if the networks of the task cannot be deployed from the form that they would train in."""
    forms, branches = task_outputs(sweep.task).forms, sweep.train.branches
    if branches not in forms or (len(forms) == 1 and "train.branches" in searched_fields(sweep)):
        raise ValueError(
            f"train.branches must be {' or '.join(map(repr, forms))} for task {sweep.task!r}, and no hyper-parameter, "
            f"but got {branches!r}"
        )


def current_values(sweep: Sweep) -> dict[str, Value]:
    """The values of the sweep itself, with which the search begins."""
    values = {}
    for name, binding in sweep.bindings.items():
        section, *steps = binding.path.split(".")
        value: Any = getattr(sweep, section)
        for step in steps:  # of arguments, None for one that the sweep leaves out
            value = getattr(value, step) if isinstance(value, Section) else (value or {}).get(step)
        values[name] = value
    return values


def with_searched_arguments(sweep: Sweep) -> Sweep:
    """The sweep with one value of each hyper-parameter that is an argument of a user-supplied class."""
    arguments = {name for name, binding in sweep.bindings.items() if binding.annotation is None}
    space = sweep.search_space.hyperparameters
    return sweep.with_values({name: one.extremes[0] for name, one in space.items() if name in arguments})


def sections_with(sweep: Sweep, values: Mapping[str, Value], where: str = "hyperparameters") -> dict[str, Section]:
    """The sections `train`, `data` and `module` that change where hyper-parameters take `values`.

    Raises SweepError for an unknown name, and where the values are not allowed together."""
    contents: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name not in sweep.bindings:
            raise SweepError(f"{where}: {name!r} is not one of the sweep{did_you_mean(name, sweep.bindings)}")
        section, *steps, last = sweep.bindings[name].path.split(".")
        content = contents.setdefault(section, getattr(sweep, section).model_dump())
        for step in steps:
            content[step] = dict(content.get(step) or {})
            content = content[step]
        content[last] = value
    return {section: parse(type(getattr(sweep, section)), content, where) for section, content in contents.items()}


def _find(sweep: Sweep, name: str) -> Binding:
    """The binding of one name. Raises ValueError if it fits no field."""
    section, *steps = name.split(".")
    arguments = steps[1:] if steps[:1] == [ARGUMENTS] else steps
    if section == "module" and sweep.module is not None and arguments:
        return Binding(".".join(("module", ARGUMENTS, *arguments)))
    if section == "data" and is_import_path(sweep.data.name) and steps[:1] == [ARGUMENTS] and arguments:
        return Binding(name)
    known = {}
    for binding in _fields(sweep):
        known[binding.path.rpartition(".")[2]] = known[binding.path] = binding
    if name in known:
        return known[name]
    others = []
    if sweep.module is not None:
        others.append("module.NAME")
    if is_import_path(sweep.data.name):
        others.append("data.init_args.NAME")
    beside = f" (or an argument: {', '.join(others)})" if others else ""
    spelled_alike = [other for other in known if "." in name or "." not in other]
    raise ValueError(f"{name} is not a field of `train` or `data`{beside}{did_you_mean(name, spelled_alike)}")


def _fields(sweep: Sweep) -> Iterator[Binding]:
    """The fields of `train` and `data` that a search may choose."""
    for name, field in TrainSection.model_fields.items():
        if name not in NOT_SEARCHED and (sweep.module is None or name in OF_ANY_MODULE):
            yield Binding(f"train.{name}", field.annotation)
    if not is_import_path(sweep.data.name):
        yield Binding("data.batch_size", int)
        for name, field in Augment.model_fields.items():
            if name != "transforms":
                yield Binding(f"data.augment.{name}", field.annotation)


def _check_kind(name: str, one: Hyperparameter, annotation: Any) -> None:
    """Raise ValueError if a range has whole numbers where its field has fractions, or the reverse."""
    kinds = {annotation, *get_args(annotation)}
    if one.kind == "int" and float in kinds:
        raise ValueError(
            f"hyperparameters.{name}: low {one.low} and high {one.high} are whole numbers, but it is a number with "
            f"fractions: write {one.low}.0 and {one.high}.0, or list the choices"
        )
    if one.kind == "float" and float not in kinds:
        raise ValueError(f"hyperparameters.{name}: low and high must be whole numbers, but got {one.low} to {one.high}")
