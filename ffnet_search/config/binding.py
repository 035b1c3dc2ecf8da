"""What the names of hyper-parameters stand for: fields of the recipe and of the data, arguments of a user's module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, get_args

from ffnet_search.config.schema import Augment, DataSection, ModuleSection, TrainSection
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.plugins import find_module
from ffnet_search.space.configuration import Value
from ffnet_search.space.hyperparameters import Hyperparameter
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import Section, parse

# Of the recipe, what is of a supernet alone or says how and not what.
NOT_SEARCHED = {"sampled", "start_from", "checkpoint_minutes", "callbacks", "loggers", "devices"}
OF_ANY_MODULE = {"epochs", "ema"}  # of the recipe, what Lightning does with a module that is not ours
SECTIONS: Mapping[str, type[Section]] = {"train": TrainSection, "data": DataSection, "module": ModuleSection}

Path = tuple[str, ...]


class Tunable(Protocol):
    """What is asked of a `Sweep`."""

    @property
    def search_space(self) -> SearchSpace: ...
    @property
    def train(self) -> TrainSection: ...
    @property
    def data(self) -> DataSection: ...
    @property
    def module(self) -> ModuleSection | None: ...


def target(sweep: Tunable, name: str) -> Path:
    """Where in the sweep the value of hyper-parameter `name` goes: `momentum` is ("train", "momentum"). Raises
    ValueError for a name that stands for nothing."""
    steps = tuple(name.split("."))
    if sweep.module is not None and steps[0] == "module" and len(steps) > 1:
        return ("module", "init_args", *steps[2 if steps[1] == "init_args" else 1 :])
    if ":" in sweep.data.name and steps[:2] == ("data", "init_args") and len(steps) > 2:
        return steps
    paths = list(_fields(sweep))
    known = {path[-1]: path for path in paths} | {".".join(path): path for path in paths}
    if name not in known:
        arguments = ["module.NAME"] * (sweep.module is not None) + ["data.init_args.NAME"] * (":" in sweep.data.name)
        beside = f" (or an argument: {', '.join(arguments)})" if arguments else ""
        short = [name] if "." not in name else []
        hint = did_you_mean(name, [path[-1] for path in paths] if short else known)
        raise ValueError(f"{name} is no field of the training recipe or of the data{beside}{hint}")
    return known[name]


def _fields(sweep: Tunable) -> Iterator[Path]:
    for field in TrainSection.model_fields:
        if field not in NOT_SEARCHED and (sweep.module is None or field in OF_ANY_MODULE):
            yield "train", field
    if ":" not in sweep.data.name:
        yield "data", "batch_size"
        yield from (("data", "augment", field) for field in Augment.model_fields)


def check(sweep: Tunable) -> None:
    """Raises ValueError where a hyper-parameter stands for nothing, or may have a value that its field may not."""
    met: dict[Path, str] = {}
    for name, one in sweep.search_space.hyperparameters.items():
        path = target(sweep, name)
        if path in met:
            raise ValueError(f"hyperparameters: {met[path]} and {name} are the same field; remove one")
        met[path] = name
        if "init_args" not in path:
            _check_kind(name, one, _annotation(path))
            for value in one.extremes:
                _with(sweep, {name: value}, f"hyperparameters.{name}")


def _check_kind(name: str, one: Hyperparameter, annotation: Any) -> None:
    kinds = {annotation, *get_args(annotation)}
    if one.kind == "int" and float in kinds:
        raise ValueError(
            f"hyperparameters.{name}: low {one.low} and high {one.high} are whole numbers, but it is a number with "
            f"fractions: write {one.low}.0 and {one.high}.0, or list the choices"
        )
    if one.kind == "float" and float not in kinds:
        raise ValueError(f"hyperparameters.{name}: low and high must be whole numbers, but got {one.low} to {one.high}")


def check_imports(sweep: Tunable) -> None:
    """Raises SweepError where a module that the sweep names is not there; imports none."""
    if sweep.module is not None:
        find_module(sweep.module.class_path, "module.class_path")
        if ":" in sweep.data.name:
            find_module(sweep.data.name, "data.name")
    for field in ("callbacks", "loggers"):
        for index, one in enumerate(getattr(sweep.train, field)):
            find_module(one.class_path, f"train.{field}.{index}.path")


def _annotation(path: Path) -> Any:
    section: Any = SECTIONS[path[0]]
    for step in path[1:-1]:
        section = section.model_fields[step].annotation
    return section.model_fields[path[-1]].annotation


def current(sweep: Tunable) -> dict[str, Value]:
    """The values that the sweep itself gives to its hyper-parameters: where a search begins."""
    found: dict[str, Value] = {}
    for name in sweep.search_space.hyperparameters:
        path = target(sweep, name)
        value: Any = getattr(sweep, path[0])
        for step in path[1:]:
            value = value.get(step) if isinstance(value, Mapping) else getattr(value, step)
            if value is None:
                break
        found[name] = value
    return found


def sections(sweep: Tunable, values: Mapping[str, Value]) -> dict[str, Section]:
    """The sections `train`, `data` and `module` with other values. Raises SweepError where they are not allowed
    together."""
    return _with(sweep, values, "hyperparameters")


def _with(sweep: Tunable, values: Mapping[str, Value], where: str) -> dict[str, Section]:
    trees: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        first, *steps, last = target(sweep, name)
        tree = trees.setdefault(first, getattr(sweep, first).model_dump())
        for step in steps:
            tree[step] = dict(tree.get(step) or {})
            tree = tree[step]
        tree[last] = value
    try:
        return {name: parse(SECTIONS[name], tree, where) for name, tree in trees.items()}
    except SweepError as error:
        raise ValueError(str(error)) from None
