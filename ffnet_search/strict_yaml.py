"""Strict reading of YAML: unknown and repeated keys are errors, and every error is one sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ffnet_search.errors import SweepError, did_you_mean, error_context

# Pydantic's words and ours, longer ones first.
COMPARISONS = {"greater than or equal to": ">=", "less than or equal to": "<=", "greater than": ">", "less than": "<"}
ModelT = TypeVar("ModelT", bound=BaseModel)


class Section(BaseModel):
    """A section of a YAML file: frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class _Loader(yaml.SafeLoader):
    """A SafeLoader that reads `1e-4` as a number and refuses repeated keys."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    keys = [child.value for child, _ in node.value if child.tag != "tag:yaml.org,2002:merge"]
    repeated = next((key for key in keys if isinstance(key, str) and keys.count(key) > 1), None)
    if repeated is not None:
        raise SweepError(f"line {node.start_mark.line + 1}: the key {repeated!r} is given twice; remove one")
    if any(not isinstance(child, yaml.ScalarNode) for child, _ in node.value):
        raise SweepError(f"line {node.start_mark.line + 1}: keys must be words, but one is a list or a mapping")
    loader.flatten_mapping(node)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_repeats)


def as_list(value: Any) -> Any:
    """A single value as a tuple of one, for fields where YAML may leave out the brackets."""
    return value if isinstance(value, list | tuple) else (value,)


def read_yaml(path: Path, otherwise: str = "") -> dict[str, Any]:
    """Return the mapping in a YAML file.

    `otherwise` is the advice for a missing file that no other file resembles. Raises SweepError if the file is missing,
    invalid or not a mapping."""
    try:
        with error_context(path):
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise SweepError(f"{path}: no such file{_nearest_file(path) or otherwise}") from None
    except IsADirectoryError:
        run = path / "sweep.yaml"
        hint = f"its sweep is {run}" if run.exists() else f"for images, `ffnet-search init --data {path}` writes one"
        raise SweepError(f"{path}: must be a YAML file, but is a folder; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-30
        raise SweepError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise SweepError(f"{path}: must hold a mapping of keys to values, but holds {type(data).__name__}")
    return data


def parse(model: type[ModelT], data: Any, where: str, **context: Any) -> ModelT:
    """Validate `data` as `model`. Raises SweepError, whose sentence starts with `where` (a file or a section)."""
    try:
        return model.model_validate(data, context=context or None)
    except ValidationError as error:
        raise SweepError(f"{where}: " + "; ".join(_sentence(model, detail) for detail in error.errors())) from None


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    place = ".".join(str(step) for step in detail["loc"])
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"{place} is not a known key{did_you_mean(str(detail['loc'][-1]), _keys_at(model, detail['loc'][:-1]))}"
    if kind == "missing":
        return f"{place} must be given"
    if kind == "value_error":
        message = str(detail.get("ctx", {}).get("error", detail["msg"]))
        return f"{place}: {message}" if place else message
    rule = re.sub(r"^(Input|Value|Tuple|String) should ", "must ", detail["msg"])
    for words, sign in COMPARISONS.items():
        rule = rule.replace(words, sign)
    rule = re.sub(r" after validation, not \d+$", "", rule)
    return f"{place} {rule}, but got {_short(value)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        if field is None:  # a key of a mapping, whose values are of `model`
            continue
        candidates = _models_in(field.annotation)
        if not candidates:
            return ()
        model = candidates[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _nearest_file(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path()
    near = difflib.get_close_matches(path.name, [item.name for item in folder.glob("*.y*ml")], n=1, cutoff=0.6)
    return f"; did you mean {folder / near[0]}?" if near else ""
