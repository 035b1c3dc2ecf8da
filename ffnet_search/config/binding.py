"""Hyper-parameters by name, each bound to a field of `train` or `data` or to an argument of a user-supplied class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from ffnet_search.config.schema import Augment, DataSection, ModuleSection, TrainSection
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.plugins import is_import_path
from ffnet_search.space.configuration import Value
from ffnet_search.space.hyperparameters import Hyperparameter
from ffnet_search.strict_yaml import Section, parse

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

# Fields of `train` that a supernet alone has, or that do not change the result.
NOT_SEARCHED = {"sampled", "start_from", "checkpoint_minutes", "callbacks", "loggers", "devices"}
OF_ANY_MODULE = {"epochs", "ema"}  # fields of `train` that apply to a user-supplied module too
SECTIONS: Mapping[str, type[Section]] = {"train": TrainSection, "data": DataSection, "module": ModuleSection}
ARGUMENTS = "init_args"  # the field of a section that holds the arguments of a user-supplied class


@dataclass(frozen=True)
class Binding:
    """The place of a hyper-parameter's value: the steps to a field within a section.

    `momentum` is Binding("train", ("momentum",)), `module.width` is Binding("module", ("init_args", "width")).
    """

    section: str
    steps: tuple[str, ...]

    @property
    def is_argument(self) -> bool:
        """Whether a user-supplied class gets the value, so that its type and range are unknown."""
        return self.steps[0] == ARGUMENTS

    @property
    def path(self) -> str:
        """The field as it is written in a sweep: `data.augment.crop`."""
        return ".".join((self.section, *self.steps))

    @property
    def annotation(self) -> Any:
        """The type of the field; not for arguments."""
        section: Any = SECTIONS[self.section]
        for step in self.steps[:-1]:
            section = section.model_fields[step].annotation
        return section.model_fields[self.steps[-1]].annotation

    def value(self, sweep: Sweep) -> Value:
        """The value that `sweep` gives; None for an argument that it leaves out."""
        value: Any = getattr(sweep, self.section)
        for step in self.steps:
            value = value.get(step) if isinstance(value, Mapping) else getattr(value, step)
            if value is None:
                break
        return value

    def write(self, content: dict[str, Any], value: Value) -> None:
        """Set the value in `content`, the section as plain data."""
        *steps, last = self.steps
        for step in steps:
            content[step] = dict(content.get(step) or {})
            content = content[step]
        content[last] = value


def bind(sweep: Sweep) -> dict[str, Binding]:
    """Name -> binding of the sweep's hyper-parameters. Raises ValueError where a name fits no field, or two fit one."""
    bindings: dict[str, Binding] = {}
    names: dict[Binding, str] = {}
    for name in sweep.search_space.hyperparameters:
        binding = _find(sweep, name)
        if binding in names:
            raise ValueError(f"hyperparameters: {names[binding]} and {name} are the same field; remove one")
        names[binding] = name
        bindings[name] = binding
    return bindings


def check_values(sweep: Sweep) -> None:
    """Raise ValueError where a hyper-parameter may take a value that its field does not allow."""
    for name, one in sweep.search_space.hyperparameters.items():
        binding = sweep.bindings[name]
        if binding.is_argument:
            continue
        _check_kind(name, one, binding.annotation)
        for value in one.extremes:
            try:
                _sections(sweep, {name: value}, f"hyperparameters.{name}")
            except SweepError as error:
                raise ValueError(str(error)) from None


def current_values(sweep: Sweep) -> dict[str, Value]:
    """The values that the sweep itself gives to its hyper-parameters: the search begins with them."""
    return {name: binding.value(sweep) for name, binding in sweep.bindings.items()}


def sections_with(sweep: Sweep, values: Mapping[str, Value]) -> dict[str, Section]:
    """The sections `train`, `data` and `module` that change where hyper-parameters take `values`.

    Raises SweepError for an unknown name, and where the values are not allowed together.
    """
    for name in values:
        if name not in sweep.bindings:
            raise SweepError(f"hyperparameters: {name!r} is not one of the sweep{did_you_mean(name, sweep.bindings)}")
    return _sections(sweep, values, "hyperparameters")


def _sections(sweep: Sweep, values: Mapping[str, Value], where: str) -> dict[str, Section]:
    contents: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        binding = sweep.bindings[name]
        if binding.section not in contents:
            contents[binding.section] = getattr(sweep, binding.section).model_dump()
        binding.write(contents[binding.section], value)
    return {section: parse(SECTIONS[section], content, where) for section, content in contents.items()}


def _find(sweep: Sweep, name: str) -> Binding:
    section, *steps = name.split(".")
    arguments = tuple(steps[1:] if steps[:1] == [ARGUMENTS] else steps)
    if section == "module" and sweep.module is not None and arguments:
        return Binding("module", (ARGUMENTS, *arguments))
    if section == "data" and is_import_path(sweep.data.name) and steps[:1] == [ARGUMENTS] and arguments:
        return Binding("data", (ARGUMENTS, *arguments))
    known = {}
    for binding in _fields(sweep):
        known[binding.steps[-1]] = known[binding.path] = binding
    if name not in known:
        raise ValueError(_unknown(sweep, name, known))
    return known[name]


def _unknown(sweep: Sweep, name: str, known: Mapping[str, Binding]) -> str:
    arguments = []
    if sweep.module is not None:
        arguments.append("module.NAME")
    if is_import_path(sweep.data.name):
        arguments.append("data.init_args.NAME")
    beside = f" (or an argument: {', '.join(arguments)})" if arguments else ""
    spelled_alike = [other for other in known if "." in name or "." not in other]
    return f"{name} is not a field of `train` or `data`{beside}{did_you_mean(name, spelled_alike)}"


def _fields(sweep: Sweep) -> Iterator[Binding]:
    """The fields that a hyper-parameter can set."""
    for field in TrainSection.model_fields:
        if field not in NOT_SEARCHED and (sweep.module is None or field in OF_ANY_MODULE):
            yield Binding("train", (field,))
    if not is_import_path(sweep.data.name):
        yield Binding("data", ("batch_size",))
        for field in Augment.model_fields:
            yield Binding("data", ("augment", field))


def _check_kind(name: str, one: Hyperparameter, annotation: Any) -> None:
    kinds = {annotation, *get_args(annotation)}
    if one.kind == "int" and float in kinds:
        raise ValueError(
            f"hyperparameters.{name}: low {one.low} and high {one.high} are whole numbers, but it is a number with "
            f"fractions: write {one.low}.0 and {one.high}.0, or list the choices"
        )
    if one.kind == "float" and float not in kinds:
        raise ValueError(f"hyperparameters.{name}: low and high must be whole numbers, but got {one.low} to {one.high}")
