"""Strict reading of YAML: unknown keys and values of another type are errors, and every error is one sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, PydanticKnownError, core_schema

from ffnet_search.errors import AGAIN, NAME, SweepError, did_you_mean, error_context, io_reason, nearest_file, shown
from ffnet_search.files.bounded import KIB, read_bounded
from ffnet_search.files.yaml_loader import load_yaml
from ffnet_search.files.yaml_syntax import syntax_sentence
from ffnet_search.formatting import quoted

# Pydantic's words and ours, longer ones first.
COMPARISONS = {"greater than or equal to": ">=", "less than or equal to": "<=", "greater than": ">", "less than": "<"}
KINDS = {  # what a value must be, by the first word of Pydantic's kind of error
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "dict": "must be a mapping of keys to values",
    "model": "must be a mapping of keys to values",
    "mapping": "must be a mapping of keys to values",
    "tuple": "must be a list",
    "string": "must be text",
    "path": "must be text",
}
PLAIN = ("int", "float", "bool", "str")  # types that are a step of their own in a union
ModelT = TypeVar("ModelT", bound=BaseModel)
YAML_BYTES = 256 * KIB  # of a file: read within seconds, and 50 times the largest that is shipped
_INNER = {"schema", "items_schema", "keys_schema", "values_schema", "choices", "fields"}  # of a schema of pydantic
_UNION = re.compile(r"(literal|dict|list|tuple|constrained-\w+|function-\w+)\[")  # Pydantic's words in a place


def _must_be_number(value: Any) -> Any:
    if isinstance(value, bool | str):  # which pydantic reads as 1 and, of '10', 10
        raise PydanticKnownError("int_type")
    return value


def _inner_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """The schemas directly inside one of pydantic: of its fields, items, keys and values, or the types of a union."""
    for key in _INNER & schema.keys():
        found = schema[key]
        if key == "fields" and schema.get("type") == "model-fields":
            found = [*found.values()]
        for inner in found if isinstance(found, list | tuple) else (found,):
            inner = inner[0] if isinstance(inner, tuple) else inner  # of a type of a union with its label
            if isinstance(inner, dict):
                yield inner


def _take_numbers_alone(schema: Any, in_union: bool = False) -> None:
    """Change a schema of pydantic so that its numbers are read from numbers alone: 1e3 is a whole one, `true` is none.

    A union takes the type that fits exactly, so `in_union` 1e3 stays a float."""
    kind = schema.get("type")
    if kind == "float" or (kind == "int" and in_union):
        schema["strict"] = True
    elif kind == "int":
        whole = core_schema.no_info_before_validator_function(_must_be_number, {**schema})
        schema.clear()
        schema.update(whole)
    elif kind != "function-before" or schema["function"].get("function") is not _must_be_number:  # else it is changed
        for inner in _inner_schemas(schema):
            _take_numbers_alone(inner, in_union=kind == "union")


class Section(BaseModel):
    """A section of a YAML file: frozen; unknown keys are errors, and so are numbers that are not finite, and truth
    values and text in place of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _take_numbers_alone(handler.resolve_ref_schema(schema))
        return schema


def as_list(value: Any) -> Any:
    """A single value as a tuple of one, for fields where YAML may leave out the brackets."""
    return value if isinstance(value, list | tuple) else (value,)


def read_yaml(path: Path, otherwise: str = "") -> dict[str, Any]:
    """Return the mapping in a YAML file.

    `otherwise` is the advice for a missing file that no other file resembles. Raises SweepError if the file is missing,
    invalid or not a mapping."""
    text = ""
    try:
        text = read_bounded(path, YAML_BYTES).decode("utf-8")
        with error_context(path):
            data = load_yaml(text)
    except FileNotFoundError:
        raise SweepError(f"{path}: no such file{nearest_file(path) or otherwise}") from None
    except IsADirectoryError:
        run, init = path / "sweep.yaml", f"for images, `ffnet-search init --data {quoted(path)}` writes one"
        hint = f"its sweep is {run}" if run.exists() else init
        raise SweepError(f"{path}: must be a YAML file, but is a folder; {hint}") from None
    except OSError as error:
        raise SweepError(f"{path}: cannot be read: {io_reason(error) or error}; {AGAIN}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SweepError(f"{path}: is not valid YAML: {syntax_sentence(error, text)}") from None
    if not isinstance(data, dict):
        held = {type(None): "is empty", list: "holds a list"}.get(type(data), "holds none")  # which may be a secret
        raise SweepError(f"{path}: must hold a mapping of keys to values, but {held}")
    return data


def parse(model: type[ModelT], data: Any, where: str, **context: Any) -> ModelT:
    """Validate `data` as `model`. Raises SweepError, whose sentence starts with `where` (a file or a section)."""
    try:
        return model.model_validate(data, context=context or None)
    except ValidationError as error:
        raise SweepError(f"{where}: " + "; ".join(_sentences(model, _deepest(error.errors())))) from None


def _deepest(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """The errors, without what other types of a union say of a value where an error is inside the value."""
    places = [_steps(detail) for detail in details]
    return [
        detail for detail, place in zip(details, places, strict=True)
        if not any(other[: len(place)] == place != other for other in places)
    ]  # fmt: skip


def _steps(detail: ErrorDetails) -> list[str]:
    """The keys and indices that lead to a value, without Pydantic's words for the types of a union."""
    steps = [str(step)[:NAME] for step in detail["loc"] if not _UNION.match(str(step))]
    return steps[:-1] if steps and steps[-1] in PLAIN and detail["type"].startswith(steps[-1]) else steps


def _sentences(model: type[BaseModel], details: Sequence[ErrorDetails]) -> Iterator[str]:
    """A sentence for each value: what all types of a union want of it is one."""
    by_place: dict[str, list[ErrorDetails]] = {}
    for detail in details:
        by_place.setdefault(".".join(_steps(detail)), []).append(detail)
    for place, alternatives in by_place.items():
        rules, value = list(dict.fromkeys(map(_rule, alternatives))), alternatives[0]["input"]
        if len(rules) > 1 and all(rules):
            hint = next(filter(None, (_hint(rule, value) for rule in rules if rule != KINDS["string"])), "")
            others = [rule.removeprefix("must be ") for rule in rules[1:]]
            yield f"{place} {', or '.join([rules[0], *others])}, but got {shown(value)}{hint}"
        else:
            yield from dict.fromkeys(_sentence(model, detail) for detail in alternatives)


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    steps = _steps(detail)
    place = ".".join(steps)
    if kind == "invalid_key" or (kind == "string_type" and steps[-1:] == ["[key]"]):
        steps = [step for step in steps if step != "[key]"]
        return f"{'.'.join([*steps[:-1], 'keys'])} must be text, but one is {shown(value)}; put it in quotes"
    if kind == "extra_forbidden":
        key, keys = str(detail["loc"][-1]), list(_keys_at(model, detail["loc"][:-1]))
        return f"{place} is not a known key{_belongs(model, key, detail['loc'], keys) or did_you_mean(key, keys)}"
    if kind == "missing":
        return f"{place} must be given"
    if kind == "value_error":
        message = str(detail.get("ctx", {}).get("error", detail["msg"]))
        return f"{place}: {message}" if place else message
    rule = _rule(detail)
    return f"{place} {rule}, but got {shown(value)}{_hint(rule, value)}"


def _hint(rule: str, value: object) -> str:
    """The end of a sentence where quotes or brackets are what is wrong with a value; else empty."""
    if rule == KINDS["string"] and isinstance(value, bool | int | float | date):
        return "; put it in quotes"  # YAML reads yes, 12 and 2026-11-26 as a truth value, a number and a date
    if rule in (KINDS["int"], KINDS["float"]) and isinstance(value, str) and _reads_as_number(value):
        return "; remove the quotes"
    if rule == KINDS["tuple"] and isinstance(value, str):
        return "; put it in brackets"
    return ""


def _rule(detail: ErrorDetails) -> str:
    """The rule that a value must keep, "must be a number"; empty where the error is of keys, or says so itself."""
    kind = detail["type"]
    if kind in ("invalid_key", "extra_forbidden", "missing", "value_error") or detail["loc"][-1:] == ("[key]",):
        return ""
    rule = re.sub(r"^(Input|Value|Tuple|String) should ", "must ", detail["msg"])
    for words, sign in COMPARISONS.items():
        rule = rule.replace(words, sign)
    rule = re.sub(r" after validation, not \d+$", "", rule)
    if kind.endswith(("_type", "_parsing", "_from_float")):
        rule = KINDS.get(kind.partition("_")[0], rule)
    return rule


def _reads_as_number(text: str) -> bool:
    """True for text that YAML would read as a number if it were not quoted."""
    try:
        number = load_yaml(text)
    except (SweepError, yaml.YAMLError):
        return False
    return isinstance(number, int | float) and not isinstance(number, bool)


def _belongs(model: type[BaseModel], key: str, path: tuple[int | str, ...], keys: Iterable[str]) -> str:
    """A hint for a misplaced key: the section that it belongs to. Empty if no section has it, or if it looks more like
    one of the `keys` allowed here."""
    if difflib.get_close_matches(key, keys, n=1, cutoff=0.55):
        return ""
    if len(path) > 1 and key in model.model_fields:
        return f"; {key!r} belongs at the top of the file"
    homes = [
        name for name, field in model.model_fields.items()
        if name != path[0] and any(key in inner.model_fields for inner in _models_in(field.annotation))
    ]  # fmt: skip
    return f"; {key!r} belongs in {' or '.join(homes)}" if homes else ""


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
